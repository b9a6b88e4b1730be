#!/usr/bin/env python3
"""Times training steps of the seed networks in PyTorch on the CPU, one variant a process; prints one JSON object.

The network, the batch, the optimizer and the precision are those of data/models/seed.json and seed-bn.json: "same"
padding, batch normalisation after each ReLU with Keras' momentum and epsilon, Adam, fp32. The images are in memory,
normalised to float beforehand (quern does that inside its step), and a batch is one index_select. A step is: gather,
forward, loss, backward, Adam; no metrics are kept, no loss is read, nothing is printed. run.sh sets the environment
(threads, pinning, allocator) and runs the variants in alternation.
"""

import argparse
import gzip
import json
import statistics
import struct
import sys
import time
from pathlib import Path

import torch
from torch import nn

VARIANTS = {
    "eager": "NCHW, as in most tutorials",
    "channels_last": "channels_last memory format, optimizer over all parameters at once, denormals flushed",
    "compile": "as channels_last, through torch.compile",
}


def read_idx(path):
    """The array of an IDX file of bytes, plain or gzip, as a uint8 tensor."""
    with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
        data = file.read()
    rank = data[3]
    shape = struct.unpack(f">{rank}I", data[4 : 4 + 4 * rank])
    return torch.frombuffer(bytearray(data[4 + 4 * rank :]), dtype=torch.uint8).reshape(shape)


def load(folder):
    def find(stem):
        return next(path for path in (folder / stem, folder / (stem + ".gz")) if path.exists())

    images = read_idx(find("train-images-idx3-ubyte")).unsqueeze(1).float().div_(255)
    return images, read_idx(find("train-labels-idx1-ubyte")).long()


def build(batchnorm):
    def norm(kind, channels):
        return [kind(channels, eps=1e-3, momentum=0.01)] if batchnorm else []

    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), *norm(nn.BatchNorm2d, 32), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), *norm(nn.BatchNorm2d, 64), nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(7 * 7 * 64, 128), nn.ReLU(), *norm(nn.BatchNorm1d, 128),
        nn.Linear(128, 10),
    )  # fmt: skip


def make_adam(parameters, variant):
    """Adam with Keras' epsilon; where it is not the plain variant, in the form that runs fastest here."""
    options = [{}] if variant == "eager" else [{"fused": True}, {"foreach": True}, {}]
    for option in options:
        try:
            return torch.optim.Adam(parameters, lr=1e-3, eps=1e-7, **option), option
        except (TypeError, RuntimeError, ValueError):
            continue
    raise AssertionError("plain Adam always exists")


def repeat_start(path, images, labels):
    """Takes quern's first steps from the same weights over the same batches; True if the losses agree.

    Written by `quern bench train --first-steps`. Adam's epsilon stands inside the bias correction here and outside of
    it there, and sums are added up in another order, so the losses drift apart slowly: 1e-3 holds for ten steps.
    """
    start = json.loads(path.read_text())
    tensors = {
        name: torch.tensor(entry["values"]).reshape(entry["shape"]) for name, entry in start["weights"].items()
    }
    model = build(start["model"] == "seed-bn")
    layers = {"conv": [], "bn": [], "dense": []}
    for module in model:
        if isinstance(module, nn.Conv2d):
            layers["conv"].append(module)
        elif isinstance(module, nn.Linear):
            layers["dense"].append(module)
        elif isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            layers["bn"].append(module)
    with torch.no_grad():
        for i, module in enumerate(layers["conv"], 1):
            module.weight.copy_(tensors[f"conv{i}.weight"].permute(0, 3, 1, 2))  # KRSC -> KCRS
            module.bias.copy_(tensors[f"conv{i}.bias"])
        first = tensors["dense1.weight"]  # over features in the order h, w, c -> c, h, w
        layers["dense"][0].weight.copy_(first.reshape(-1, 7, 7, 64).permute(0, 3, 1, 2).reshape(first.shape))
        layers["dense"][0].bias.copy_(tensors["dense1.bias"])
        layers["dense"][1].weight.copy_(tensors["logits.weight"])
        layers["dense"][1].bias.copy_(tensors["logits.bias"])
        for i, module in enumerate(layers["bn"], 1):
            module.weight.copy_(tensors[f"bn{i}.gamma"])
            module.bias.copy_(tensors[f"bn{i}.beta"])
    adam = torch.optim.Adam(model.parameters(), lr=start["learning_rate"], eps=1e-7)
    criterion = nn.CrossEntropyLoss()
    model.train()
    order, batch, losses = torch.tensor(start["order"]), start["batch_size"], []
    for number in range(len(start["losses"])):
        index = order[number * batch : (number + 1) * batch]
        loss = criterion(model(images.index_select(0, index)), labels.index_select(0, index))
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses.append(loss.item())
    worst = max(abs(a - b) / max(abs(b), 1e-3) for a, b in zip(losses, start["losses"]))
    print(json.dumps({"losses": losses, "quern_losses": start["losses"], "largest_relative_difference": worst}))
    return worst < 1e-3


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=["seed", "seed-bn"], default="seed-bn")
    parser.add_argument("--variant", choices=list(VARIANTS), default="eager")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--warmup", type=int, default=30)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[2] / "data" / "mnist")
    parser.add_argument("--start", type=Path, help="instead of timing, repeat quern's first steps and compare losses")
    args = parser.parse_args()

    if args.variant == "compile" and not hasattr(torch, "compile"):
        sys.exit(f"PyTorch {torch.__version__} has no torch.compile")
    torch.manual_seed(1)
    torch.set_num_threads(args.threads)
    tuned = args.variant != "eager"
    torch.set_flush_denormal(tuned)

    images, labels = load(args.data)
    if args.start:
        sys.exit(0 if repeat_start(args.start, images, labels) else 1)
    model = build(args.model == "seed-bn")
    if tuned:
        model = model.to(memory_format=torch.channels_last)
        images = images.contiguous(memory_format=torch.channels_last)
    adam, adam_form = make_adam(list(model.parameters()), args.variant)
    criterion = nn.CrossEntropyLoss()
    model.train()
    run = torch.compile(model) if args.variant == "compile" else model

    order = torch.randperm(len(images))

    def step(number):
        start = number * args.batch % (len(images) - args.batch + 1)
        index = order[start : start + args.batch]
        x, y = images.index_select(0, index), labels.index_select(0, index)
        if tuned:
            x = x.contiguous(memory_format=torch.channels_last)
        loss = criterion(run(x), y)
        adam.zero_grad(set_to_none=True)
        loss.backward()
        adam.step()
        return loss

    for number in range(args.warmup):
        step(number)
    times = []
    for number in range(args.warmup, args.warmup + args.steps):
        begin = time.perf_counter()
        loss = step(number)
        times.append(1e3 * (time.perf_counter() - begin))

    # A network that does not learn would be no comparison.
    if not loss.item() < 0.6:
        sys.exit(f"the loss is {loss.item():.3f} after {args.warmup + args.steps} steps: this network does not learn")
    quartiles = statistics.quantiles(times, n=4)
    print(json.dumps({
        "program": f"PyTorch {torch.__version__}",
        "variant": args.variant,
        "model": args.model,
        "batch_size": args.batch,
        "threads": torch.get_num_threads(),
        "steps": args.steps,
        "ms_per_step": quartiles[1],
        "ms_quartiles": [quartiles[0], quartiles[2]],
        "ms_mean": statistics.fmean(times),
        "final_loss": loss.item(),
        "adam": "+".join(adam_form) or "plain",
    }))  # fmt: skip


if __name__ == "__main__":
    main()
