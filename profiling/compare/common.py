"""What the seed_*.py scripts share: arguments, MNIST, the start that quern gives, the clock, the result.

A script hands over `take_steps`, a function of batches of image indices, [steps, batch], that trains one step a row and
returns the loss of each. It returns when the device is done. On a CPU most of them are given one row at a time, so
that the median is one over steps; where a call costs more than a step (a GPU's queue, lax.scan, model.fit), more.

A step is the same everywhere: gather bytes by index, x / 255, forward, softmax cross-entropy, backward, Adam. The
images stay bytes in memory, on a GPU in the GPU's, as in quern. Nothing is printed and no metric is kept.
"""

import argparse
import gzip
import json
import os
import statistics
import sys
import time
from pathlib import Path

import numpy as np

from same_losses import largest_relative_difference

LEARNING_RATE, BETA1, BETA2, EPSILON = 1e-3, 0.9, 0.999, 1e-7  # Keras' defaults, as data/models has them
BATCHNORM_MOMENTUM, BATCHNORM_EPSILON = 0.99, 1e-3

# The first ten losses at --lr 1e-4 agree to about 6e-7. At 1e-3 they do not, though the work is the same: Adam's first
# steps move every weight by the learning rate whatever its gradient, so that a rounding difference in a gradient near
# zero becomes a step in the other direction; seed-bn's losses are 7e-3 apart by the tenth step.
TOLERANCE = 1e-5

# Keras, and PyTorch in channels_last, differ more on seed-bn: the first loss by 1e-5, the tenth by 3e-4 (Keras' sixth by
# 6e-4), while the same programs agree to 2e-7 throughout on seed, which has no batch normalisation. Keras computes a
# batch's variance as E(x^2) - E(x)^2, which loses digits to cancellation; that this is the whole cause is not shown.
BATCHNORM_TOLERANCE = 2e-3


def arguments(description, variants, cuda_only=()):
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=["seed", "seed-bn"], default="seed-bn")
    parser.add_argument(
        "--variant", choices=list(variants), default=next(iter(variants)),
        help="; ".join(f"{name}: {text}" for name, text in variants.items()),
    )  # fmt: skip
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--precision", choices=["fp32", "tf32", "bf16"], default="fp32")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--warmup", type=int, default=30)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[2] / "data" / "mnist")
    parser.add_argument("--start", type=Path, help="instead of timing, repeat quern's first steps and compare losses")
    args = parser.parse_args()
    if args.device == "cpu" and args.precision != "fp32":
        parser.error("--precision: fp32 alone is compared on a CPU")
    if args.device == "cpu" and args.variant in cuda_only:
        parser.error(f"--variant {args.variant} needs --device cuda")
    return args


def load(folder):
    """MNIST's training set: images uint8 [60000, 28, 28, 1], labels int64."""

    def read(stem):
        path = next(path for path in (folder / stem, folder / (stem + ".gz")) if path.exists())
        with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
            data = file.read()
        extents = np.frombuffer(data, ">u4", count=data[3], offset=4)
        return np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).reshape(extents)

    return read("train-images-idx3-ubyte")[..., None], read("train-labels-idx1-ubyte").astype(np.int64)


def channels_last(values):
    """Weights as JAX and TensorFlow have them: KRSC -> RSCK, [out, in] -> [in, out]."""
    return values.transpose({4: (1, 2, 3, 0), 2: (1, 0), 1: (0,)}[values.ndim])


class Start:
    """The start of a run, as `quern bench train --first-steps` wrote it."""

    def __init__(self, path):
        content = json.loads(path.read_text())
        self.model, self.learning_rate, self.losses = content["model"], content["learning_rate"], content["losses"]
        self.weights = {
            name: np.asarray(entry["values"], np.float32).reshape(entry["shape"])
            for name, entry in content["weights"].items()
        }
        self.order = np.asarray(content["order"], np.int64).reshape(-1, content["batch_size"])

    def repeat(self, take_steps, other_batchnorm=False):
        """Ends the program: 0 if the losses of the same steps are quern's, 1 if not."""
        loose = other_batchnorm and self.model == "seed-bn"
        tolerance = BATCHNORM_TOLERANCE if loose else TOLERANCE
        losses = [float(loss) for loss in take_steps(self.order)]
        worst = largest_relative_difference(losses, self.losses)
        print(json.dumps({
            "losses": losses,
            "quern_losses": self.losses,
            "largest_relative_difference": worst,
            "tolerance": tolerance,
        }))  # fmt: skip
        sys.exit(0 if len(losses) == len(self.losses) and worst < tolerance else 1)


def begin(args, training, other_batchnorm=False):
    """A Training(args, images, labels, start) of MNIST and the number of images; with --start it only repeats quern's
    steps and ends the program. `other_batchnorm`: its batch normalisation rounds differently (BATCHNORM_TOLERANCE)."""
    images, labels = load(args.data)
    start = Start(args.start) if args.start else None
    begun = training(args, images, labels, start)
    if start:
        start.repeat(begun.take_steps, other_batchnorm)
    return begun, len(images)


def seconds_since_start():
    """Since the kernel started this process, to 10 ms: the interpreter's own start counts."""
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")


def peak_rss_mib():
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def measure(args, program, take_steps, count, chunk, **more):
    """Times take_steps over shuffled batches of `count` images, `chunk` steps a call; prints the result."""
    rows = np.random.default_rng(1).permutation(count)[: count // args.batch * args.batch].reshape(-1, args.batch)
    done = 0

    def advance():
        nonlocal done
        batches = rows[np.arange(done, done + chunk) % len(rows)]
        done += chunk
        return take_steps(batches)

    advance()
    first = seconds_since_start()
    while done < args.warmup:
        advance()
    times, losses = [], []
    while len(times) * chunk < args.steps or len(times) < 2:
        begin = time.perf_counter()
        losses = advance()
        times.append(1e3 * (time.perf_counter() - begin) / chunk)
    # A network that does not learn would be no comparison.
    loss = float(np.mean(losses))
    if not loss < 0.6:
        sys.exit(f"the loss is {loss:.3f} after {done} steps: this network does not learn")
    quartiles = statistics.quantiles(times, n=4)
    print(json.dumps({
        "program": program,
        "variant": args.variant,
        "model": args.model,
        "device": args.device,
        "precision": args.precision,
        "batch_size": args.batch,
        "threads": args.threads,
        "steps": len(times) * chunk,
        "steps_a_call": chunk,
        "ms_per_step": statistics.median(times),
        "ms_quartiles": [quartiles[0], quartiles[2]],
        "ms_mean": statistics.fmean(times),
        "final_loss": loss,
        # Compilation included; of the first call's steps, all but one taken off.
        "first_step_seconds": first - (chunk - 1) * statistics.median(times) / 1e3,
        "peak_rss_mib": peak_rss_mib(),
        **more,
    }))  # fmt: skip
