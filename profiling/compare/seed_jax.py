#!/usr/bin/env python3
"""Times training steps of the seed networks in JAX, one variant a process; prints one JSON object.

The same network, batch, optimizer and precision as seed_pytorch.py's; common.py says what a step is. Adam is written
out in Keras' form, as optax users would have it traced. Pooling takes the maximum of a reshaped array, which XLA turns
into faster code than reduce_window's gradient (select_and_scatter); among equal values it shares the gradient out,
which changes nothing after a ReLU: equal values are zeros, or as rare as equal floats.
"""

import functools
import os

import common
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

VARIANTS = {
    "scan": "jit of lax.scan over the steps; on a CPU it took many times as long as step",
    "step": "jit of one step, called from Python",
}


def initial(start, batchnorm, key):
    """Weights by name; convolutions [R, S, C, K], dense layers [in, out]."""
    if start:
        return {name: jnp.asarray(common.channels_last(values)) for name, values in start.weights.items()}
    glorot = jax.nn.initializers.glorot_uniform()
    shapes = {"conv1": (3, 3, 1, 32), "conv2": (3, 3, 32, 64), "dense1": (3136, 128), "logits": (128, 10)}
    weights = {}
    for (name, shape), layer_key in zip(shapes.items(), jax.random.split(key, len(shapes))):
        weights[name + ".weight"] = glorot(layer_key, shape)
        weights[name + ".bias"] = jnp.zeros(shape[-1])
    for name, channels in (("bn1", 32), ("bn2", 64), ("bn3", 128)) if batchnorm else ():
        weights[name + ".gamma"], weights[name + ".beta"] = jnp.ones(channels), jnp.zeros(channels)
    return weights


def forward(weights, moving, pixels, batchnorm, dtype):
    """Logits, and the moving means and variances after this batch."""
    after = {}

    def conv(x, name):
        kernel, bias = weights[name + ".weight"].astype(dtype), weights[name + ".bias"].astype(dtype)
        return lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")) + bias

    def dense(x, name):
        return x @ weights[name + ".weight"].astype(dtype) + weights[name + ".bias"].astype(dtype)

    def norm(x, name):
        if not batchnorm:
            return x
        x, axes = x.astype(jnp.float32), tuple(range(x.ndim - 1))
        mean = x.mean(axes)
        variance = jnp.square(x - mean).mean(axes)
        decay = common.BATCHNORM_MOMENTUM
        after[name] = tuple(decay * old + (1 - decay) * new for old, new in zip(moving[name], (mean, variance)))
        scale = weights[name + ".gamma"] * lax.rsqrt(variance + common.BATCHNORM_EPSILON)
        return ((x - mean) * scale + weights[name + ".beta"]).astype(dtype)

    def pool(x):
        n, h, w, c = x.shape
        return x.reshape(n, h // 2, 2, w // 2, 2, c).max((2, 4))

    x = pixels.astype(dtype) / 255
    x = pool(norm(jax.nn.relu(conv(x, "conv1")), "bn1"))
    x = pool(norm(jax.nn.relu(conv(x, "conv2")), "bn2"))
    x = norm(jax.nn.relu(dense(x.reshape(len(x), -1), "dense1")), "bn3")
    return dense(x, "logits").astype(jnp.float32), after


def adam(weights, gradients, first, second, step, rate):
    """Kingma and Ba's efficient form, with epsilon added to the root of the uncorrected second moment as in Keras."""
    b1, b2 = common.BETA1, common.BETA2
    alpha = rate * jnp.sqrt(1 - b2**step) / (1 - b1**step)
    first = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, first, gradients)
    second = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g * g, second, gradients)
    move = lambda p, m, v: p - alpha * m / (jnp.sqrt(v) + common.EPSILON)  # noqa: E731
    return jax.tree.map(move, weights, first, second), first, second


class Training:
    def __init__(self, args, images, labels, start):
        batchnorm = args.model == "seed-bn"
        dtype = jnp.bfloat16 if args.precision == "bf16" else jnp.float32
        rate = start.learning_rate if start else common.LEARNING_RATE
        weights = initial(start, batchnorm, jax.random.key(1))
        zeros = jax.tree.map(jnp.zeros_like, weights)
        moving = {f"bn{i}": (jnp.zeros(c), jnp.ones(c)) for i, c in enumerate((32, 64, 128), 1)} if batchnorm else {}
        self.state = (weights, moving, zeros, jax.tree.map(jnp.zeros_like, weights), jnp.float32(0))
        self.data = jnp.asarray(images), jnp.asarray(labels.astype(np.int32))
        self.scanned = args.variant == "scan"

        def loss_of(weights, moving, pixels, labels):
            logits, moving = forward(weights, moving, pixels, batchnorm, dtype)
            picked = jnp.take_along_axis(logits, labels[:, None], 1)[:, 0]
            return (jax.nn.logsumexp(logits, 1) - picked).mean(), moving

        def step(data, state, index):
            weights, moving, first, second, count = state
            pixels, labels = (array[index] for array in data)
            (loss, moving), gradients = jax.value_and_grad(loss_of, has_aux=True)(weights, moving, pixels, labels)
            weights, first, second = adam(weights, gradients, first, second, count + 1, rate)
            return (weights, moving, first, second, count + 1), loss

        # The state's buffers are reused, as they are in quern.
        self.step = jax.jit(step, donate_argnums=1)
        self.scan = jax.jit(lambda data, state, batches: lax.scan(functools.partial(step, data), state, batches),
                            donate_argnums=1)  # fmt: skip

    def take_steps(self, batches):
        batches = jnp.asarray(batches.astype(np.int32))
        if self.scanned:
            self.state, losses = self.scan(self.data, self.state, batches)
            return np.asarray(jax.block_until_ready((self.state, losses))[1])
        losses = []
        for index in batches:
            self.state, loss = self.step(self.data, self.state, index)
            losses.append(loss)
        return np.asarray(jax.block_until_ready((self.state, jnp.stack(losses)))[1])


def main():
    args = common.arguments(__doc__, VARIANTS)
    # XLA takes as many threads as there are processors to run on.
    if args.device == "cpu":
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.threads])
    jax.config.update("jax_platforms", args.device)
    jax.config.update("jax_default_matmul_precision", {"fp32": "highest", "tf32": "tensorfloat32"}.get(args.precision))
    training, count = common.begin(args, Training)
    chunk = 20 if args.device == "cpu" else 500
    if args.variant == "step":
        chunk = 1 if args.device == "cpu" else 50
    common.measure(args, f"JAX {jax.__version__}", training.take_steps, count, chunk)


if __name__ == "__main__":
    main()
