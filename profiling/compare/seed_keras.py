#!/usr/bin/env python3
"""Times training steps of the seed networks in Keras on TensorFlow, one variant a process; prints one JSON object.

The same network, batch, optimizer and precision as seed_pytorch.py's; common.py says what a step is. Keras' Adam and
batch normalisation are the ones that the models were specified after.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["KERAS_BACKEND"] = "tensorflow"

import common  # noqa: E402
import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

VARIANTS = {
    "fit": "model.fit from arrays in memory, as most programs have it; no metrics but the loss",
    "function": "a loop over the steps inside one tf.function, data on the device",
    "function_jit": "the same, compiled by XLA",
}


def build(batchnorm):
    def norm(name):
        if not batchnorm:
            return []
        return [keras.layers.BatchNormalization(
            momentum=common.BATCHNORM_MOMENTUM, epsilon=common.BATCHNORM_EPSILON, name=name)]  # fmt: skip

    layers = keras.layers
    return keras.Sequential([
        keras.Input((28, 28, 1), dtype="uint8"), layers.Rescaling(1 / 255),
        layers.Conv2D(32, 3, padding="same", activation="relu", name="conv1"), *norm("bn1"), layers.MaxPooling2D(2),
        layers.Conv2D(64, 3, padding="same", activation="relu", name="conv2"), *norm("bn2"), layers.MaxPooling2D(2),
        layers.Flatten(),
        layers.Dense(128, activation="relu", name="dense1"), *norm("bn3"),
        layers.Dense(10, name="logits", dtype="float32"),
    ])  # fmt: skip


def set_weights(model, start):
    theirs = {"kernel": "weight"}
    for variable in model.trainable_variables:
        layer, name = variable.path.split("/")[-2:]
        values = start.weights[f"{layer}.{theirs.get(name, name)}"]
        variable.assign(common.channels_last(values))


class Training:
    def __init__(self, args, images, labels, start):
        self.args, self.repeats = args, start is not None
        self.model = build(args.model == "seed-bn")
        if start:
            set_weights(self.model, start)
        self.criterion = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        self.adam = keras.optimizers.Adam(
            start.learning_rate if start else common.LEARNING_RATE,
            beta_1=common.BETA1, beta_2=common.BETA2, epsilon=common.EPSILON,
        )  # fmt: skip
        if args.variant == "fit":
            self.images, self.labels = images, labels
            self.model.compile(optimizer=self.adam, loss=self.criterion)
        else:
            with tf.device("GPU" if args.device == "cuda" else "CPU"):
                self.images, self.labels = tf.constant(images), tf.constant(labels)
            self.adam.build(self.model.trainable_variables)
            self.loop = tf.function(self.loop_over, jit_compile=args.variant == "function_jit")

    def loop_over(self, images, labels, batches):
        steps = batches.shape[0]
        losses = tf.TensorArray(tf.float32, size=steps, element_shape=())
        for number in tf.range(steps):
            index = batches[number]
            with tf.GradientTape() as tape:
                logits = self.model(tf.gather(images, index), training=True)
                loss = self.criterion(tf.gather(labels, index), logits)
            variables = self.model.trainable_variables
            self.adam.apply(tape.gradient(loss, variables), variables)
            losses = losses.write(number, loss)
        return losses.stack()

    def take_steps(self, batches):
        if self.args.variant != "fit":
            return self.loop(self.images, self.labels, tf.constant(batches.astype(np.int32))).numpy()
        if self.repeats:  # the training function of fit, a batch at a time, for the sake of the losses
            losses = []
            for index in batches:
                self.model.reset_metrics()
                losses.append(self.model.train_on_batch(self.images[index], self.labels[index]))
            return np.asarray(losses)
        index = batches.reshape(-1)
        history = self.model.fit(
            self.images[index], self.labels[index], batch_size=self.args.batch, shuffle=False, verbose=0
        )
        return np.asarray(history.history["loss"])


def main():
    args = common.arguments(__doc__, VARIANTS)
    keras.utils.set_random_seed(1)
    tf.config.threading.set_intra_op_parallelism_threads(args.threads)
    tf.config.threading.set_inter_op_parallelism_threads(args.threads)
    if args.device == "cpu":
        tf.config.set_visible_devices([], "GPU")
    tf.config.experimental.enable_tensor_float_32_execution(args.precision != "fp32")
    keras.mixed_precision.set_global_policy("mixed_bfloat16" if args.precision == "bf16" else "float32")
    training, count = common.begin(args, Training, other_batchnorm=True)
    # fit() sets up its pipeline anew in each call, as it does for an epoch of more steps than these.
    chunk = 100 if args.variant == "fit" else 20 if args.device == "cpu" else 500
    common.measure(
        args, f"Keras {keras.__version__} on TensorFlow {tf.__version__}", training.take_steps, count, chunk
    )


if __name__ == "__main__":
    main()
