#!/usr/bin/env python3
"""Predicts a training step's time on a GPU that was not measured, from its plan; writes profiling/results/predicted-h200.md.

    profiling/predict_step.py build/bin/quern [--model seed-bn] [--check] [--output FILE]

The program must be built with CUDA; a GPU is not needed, as `quern info --plan --assume` plans for one that is absent.
--check writes nothing and exits with 1 where the page is no longer what the plan predicts.

Every figure about the GPU stands in ASSUMED below, and on the page. Nothing on the page was measured.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

ASSUMED = {
    "name": "H200 (SXM)",
    "capability": "sm_90",
    # NVIDIA's data sheet of the H200: dense rates, without sparsity.
    "hbm": (4.8e12, "bytes/s, HBM3e, data sheet"),
    "fp32": (67e12, "FLOP/s, fp32 outside of tensor cores, data sheet"),
    "tf32": (494e12, "FLOP/s, tf32, dense, data sheet"),
    "bf16": (989e12, "FLOP/s, bf16, dense, data sheet"),
    "l2_size": (50e6, "bytes of L2, data sheet"),
    # Not in a data sheet.
    "l2": (5.5e12, "bytes/s from L2; assumed, no data sheet gives it"),
    "launch_floor": (1.0e-6, "s a kernel node in a replayed graph at the very least; assumed"),
    "launch": (1.8e-6, "s a kernel node in a replayed graph usually takes from its predecessor's end; assumed"),
    "memory_share": (0.7, "of the bandwidth that a kernel of ours reaches; assumed"),
    "arithmetic_share": (0.35, "of the peak that a kernel of ours reaches: mma.sync, whole tiles; assumed"),
}
BATCHES = (64, 256, 1024)
PRECISIONS = ("tf32", "bf16", "fp32")


def figure(name):
    return ASSUMED[name][0]


def plan_of(quern, model, batch, precision):
    command = [quern, "info", "--plan", "--device", "cuda", "--assume", ASSUMED["capability"], "--model", model,
               "--batch", str(batch), "--precision", precision, "--json"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stderr.strip()}")
    return json.loads(done.stdout.splitlines()[-1])


def working_set(plan):
    """Bytes that a step comes back to: the arena, and what the optimizer reads and writes."""
    update = sum(node["bytes"] for node in plan["nodes"] if node["op"] == "optimizer.forward")
    return plan["arena_bytes"] + update


class Node:
    def __init__(self, node, bandwidth):
        self.name, self.implementation, self.launches = node["name"], node["implementation"], node["launches"]
        # What a kernel multiplies with is the end of its name; without one it is plain fp32.
        peak = next((figure(kind) for kind in ("tf32", "bf16") if self.implementation.endswith(kind)), figure("fp32"))
        memory, arithmetic = node["bytes"] / bandwidth, node["flops"] / peak
        self.bytes, self.flops = node["bytes"], node["flops"]
        self.bound = "bytes" if memory >= arithmetic else "arithmetic"
        launch_floor = self.launches * figure("launch_floor")
        self.floor = max(launch_floor, memory, arithmetic)
        if self.floor == launch_floor:
            self.bound = "launch"
        self.predicted = self.launches * figure("launch") + max(
            memory / figure("memory_share"), arithmetic / figure("arithmetic_share")
        )


def nodes_of(plan):
    in_l2 = working_set(plan) <= figure("l2_size")
    return [Node(node, figure("l2" if in_l2 else "hbm")) for node in plan["nodes"]], in_l2


def page(quern, model):
    lines = [
        f"# A training step of {model} on one {ASSUMED['name']}: predicted, not measured yet",
        "",
        "Written by `profiling/predict_step.py`; `--check` tells whether it still is what the plan predicts. **No figure on",
        "this page was measured.** A measurement goes beside it in [../README.md](../README.md), once there is one.",
        "",
        "- Floor of a node: the longest of its launch, its bytes (each operand once) over the bandwidth, and its floating-point",
        "  operations over the peak. A step's floor is the sum over its nodes, one after the other.",
        "- Predicted: a launch gap a node, and the slower of bytes and arithmetic at the share of the hardware's limit given",
        "  below. Left out: blocks too few to fill the GPU (at batch 64 several nodes have fewer than 132), and overlap of nodes.",
        "- Bandwidth is L2's where the arena and the optimizer's state fit into it, else HBM's.",
        "",
        "| assumed | value | of what |",
        "|---|---:|---|",
    ]
    for name, value in ASSUMED.items():
        if isinstance(value, tuple):
            lines.append(f"| {name} | {value[0]:.4g} | {value[1]} |")
    lines += ["", "## Steps", "", "| precision | batch | nodes | launches | MFLOP | MiB moved | working set | floor, us | predicted, us |",
              "|---|---:|---:|---:|---:|---:|---|---:|---:|"]  # fmt: skip
    detail = []
    for precision in PRECISIONS:
        for batch in BATCHES:
            plan = plan_of(quern, model, batch, precision)
            nodes, in_l2 = nodes_of(plan)
            flops, moved = sum(node.flops for node in nodes), sum(node.bytes for node in nodes)
            floor, predicted = sum(node.floor for node in nodes), sum(node.predicted for node in nodes)
            lines.append(
                f"| {precision} | {batch} | {len(nodes)} | {plan['launches']} | {flops / 1e6:.0f} | {moved / 2**20:.1f} "
                f"| {working_set(plan) / 2**20:.1f} MiB, {'L2' if in_l2 else 'HBM'} | {floor * 1e6:.1f} | {predicted * 1e6:.1f} |"
            )
            if batch == BATCHES[0]:
                detail.append((precision, batch, nodes))
    for precision, batch, nodes in detail:
        lines += ["", f"## Nodes at batch {batch}, {precision}", "",
                  "| node | implementation | MFLOP | KiB | bound by | floor, us | predicted, us |",
                  "|---|---|---:|---:|---|---:|---:|"]  # fmt: skip
        for node in nodes:
            lines.append(
                f"| {node.name} | {node.implementation} | {node.flops / 1e6:.3f} | {node.bytes / 1024:.1f} | {node.bound} "
                f"| {node.floor * 1e6:.2f} | {node.predicted * 1e6:.2f} |"
            )
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("quern", help="the built program")
    parser.add_argument("--model", default="seed-bn")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "predicted-h200.md")
    args = parser.parse_args()
    text = page(args.quern, args.model)
    if args.check:
        if not args.output.exists() or args.output.read_text() != text:
            sys.exit(f"{args.output} is not what the plan predicts: run {Path(sys.argv[0]).name} without --check")
        print(f"{args.output} is what the plan predicts")
        return
    args.output.write_text(text)
    print(args.output)


if __name__ == "__main__":
    main()
