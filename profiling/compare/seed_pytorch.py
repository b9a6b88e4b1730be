#!/usr/bin/env python3
"""Times training steps of the seed networks in PyTorch, one variant a process; prints one JSON object.

The network, the batch, the optimizer and the precision are those of data/models/seed.json and seed-bn.json: "same"
padding, batch normalisation after each ReLU with Keras' momentum and epsilon, Adam. common.py says what a step is.
run.sh sets the environment (threads, pinning, allocator) and runs the variants in alternation.
"""

import math
import sys

import common
import numpy as np
import torch
from torch import nn

VARIANTS = {
    "eager": "NCHW, as in most tutorials",
    "channels_last": "channels_last memory format, optimizer over all parameters at once, denormals flushed",
    "compile": 'as channels_last, network and loss through torch.compile; on a GPU mode="max-autotune" (CUDA graphs)',
    "graph": "as channels_last, the whole step with its optimizer captured in one CUDA graph",
    "compile_graph": "as graph, of the compiled network and loss",
}


def build(batchnorm):
    def norm(kind, channels):
        return [kind(channels, eps=common.BATCHNORM_EPSILON, momentum=1 - common.BATCHNORM_MOMENTUM)] if batchnorm else []

    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), *norm(nn.BatchNorm2d, 32), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), *norm(nn.BatchNorm2d, 64), nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(7 * 7 * 64, 128), nn.ReLU(), *norm(nn.BatchNorm1d, 128),
        nn.Linear(128, 10),
    )  # fmt: skip


def set_weights(model, start):
    weights = {name: torch.from_numpy(values) for name, values in start.weights.items()}
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
            module.weight.copy_(weights[f"conv{i}.weight"].permute(0, 3, 1, 2))  # KRSC -> KCRS
            module.bias.copy_(weights[f"conv{i}.bias"])
        first = weights["dense1.weight"]  # over features in the order h, w, c -> c, h, w
        layers["dense"][0].weight.copy_(first.reshape(-1, 7, 7, 64).permute(0, 3, 1, 2).reshape(first.shape))
        layers["dense"][0].bias.copy_(weights["dense1.bias"])
        layers["dense"][1].weight.copy_(weights["logits.weight"])
        layers["dense"][1].bias.copy_(weights["logits.bias"])
        for i, module in enumerate(layers["bn"], 1):
            module.weight.copy_(weights[f"bn{i}.gamma"])
            module.bias.copy_(weights[f"bn{i}.beta"])


def make_adam(parameters, args, rate):
    """Adam with Keras' epsilon; where it is not the plain variant, in the form that runs fastest here."""
    options = [{}] if args.variant == "eager" else [{"fused": True}, {"foreach": True}, {}]
    if "graph" in args.variant:
        options = [{"fused": True, "capturable": True}, {"foreach": True, "capturable": True}]
    for option in options:
        try:
            return torch.optim.Adam(parameters, lr=rate, eps=common.EPSILON, **option), option
        except (TypeError, RuntimeError, ValueError):
            continue
    sys.exit(f"PyTorch {torch.__version__} has no Adam for --variant {args.variant}")


class Training:
    def __init__(self, args, images, labels, start):
        self.args = args
        self.device = torch.device(args.device)
        self.tuned = args.variant != "eager"
        self.matched_epsilon = start is not None
        self.images = torch.from_numpy(images.transpose(0, 3, 1, 2).copy()).to(self.device)
        self.labels = torch.from_numpy(labels).to(self.device)
        self.model = build(args.model == "seed-bn")
        if start:
            set_weights(self.model, start)
        self.model.to(self.device).train()
        if self.tuned:
            self.model.to(memory_format=torch.channels_last)
        rate = start.learning_rate if start else common.LEARNING_RATE
        self.adam, self.adam_form = make_adam(list(self.model.parameters()), args, rate)
        self.criterion = nn.CrossEntropyLoss()
        self.loss_of = self.forward
        if "compile" in args.variant:
            mode = "default"
            if args.device == "cuda":
                mode = "max-autotune" if args.variant == "compile" else "max-autotune-no-cudagraphs"
            self.loss_of = torch.compile(self.forward, mode=mode)
        self.steps_done = 0
        self.graph = None

    def forward(self, pixels, labels):
        x = pixels.float().div(255)
        if self.tuned:
            x = x.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.args.precision == "bf16"):
            logits = self.model(x)
        return self.criterion(logits.float(), labels)

    def step(self, index):
        self.steps_done += 1
        if self.matched_epsilon:
            # PyTorch adds epsilon to the root of the corrected second moment, Keras and quern to that of the plain one.
            for group in self.adam.param_groups:
                group["eps"] = common.EPSILON / math.sqrt(1 - common.BETA2**self.steps_done)
        loss = self.loss_of(self.images.index_select(0, index), self.labels.index_select(0, index))
        self.adam.zero_grad(set_to_none=True)
        loss.backward()
        self.adam.step()
        # The compiled network's graph writes every loss to one place.
        return loss.detach().clone() if self.args.device == "cuda" else loss.detach()

    def capture(self, index):
        """Three steps on a stream of their own, as capturing asks for, then one recorded."""
        self.index = index.clone()
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                self.step(self.index)
        torch.cuda.current_stream().wait_stream(stream)
        self.adam.zero_grad(set_to_none=True)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.loss = self.step(self.index)

    def replay(self, index):
        self.index.copy_(index)
        self.graph.replay()
        return self.loss.clone()

    def take_steps(self, batches):
        indices = torch.from_numpy(np.ascontiguousarray(batches)).to(self.device)
        # While the losses are compared nothing is captured: the epsilon changes from step to step.
        step = self.step
        if "graph" in self.args.variant and not self.matched_epsilon:
            if self.graph is None:
                self.capture(indices[0])
            step = self.replay
        return torch.stack([step(index) for index in indices]).cpu().numpy()


def main():
    args = common.arguments(__doc__, VARIANTS, cuda_only=("graph", "compile_graph"))
    if "compile" in args.variant and not hasattr(torch, "compile"):
        sys.exit(f"PyTorch {torch.__version__} has no torch.compile")
    torch.manual_seed(1)
    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(args.variant != "eager" and not args.start)
    if args.device == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = args.precision != "fp32"
        torch.backends.cudnn.benchmark = True
    training, count = common.begin(args, Training, other_batchnorm=args.variant in ("channels_last", "graph"))
    common.measure(
        args, f"PyTorch {torch.__version__}", training.take_steps, count,
        chunk=1 if args.device == "cpu" else 50, adam="+".join(training.adam_form) or "plain",
    )  # fmt: skip


if __name__ == "__main__":
    main()
