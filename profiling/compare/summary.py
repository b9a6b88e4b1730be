#!/usr/bin/env python3
"""Prints the table of a results file of run.sh: medians over the rounds, and speed ratios taken within each round."""

import json
import statistics
import sys
from collections import defaultdict
from pathlib import Path


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: summary.py RESULTS.jsonl")
    times = defaultdict(dict)  # set-up -> round -> ms
    sample = None
    for line in Path(sys.argv[1]).read_text().splitlines():
        row = json.loads(line)
        result = row["result"]
        times[row["setup"]][row["round"]] = result.get("ms_per_step_median", result["ms_per_step"])
        sample = sample or result
    if "quern" not in times:
        sys.exit(f"no run of quern succeeded: see {sys.argv[1]}")
    quern = times["quern"]
    rounds = len(quern)
    print(f"{sample['model']}, batch {sample['batch_size']}, {rounds} rounds in alternation; median step of each run")
    print()
    print("| set-up | ms a step: median (range) | quern is faster by: median (range) |")
    print("|---|---|---|")
    for setup, by_round in sorted(times.items(), key=lambda item: statistics.median(item[1].values())):
        values = by_round.values()
        row = f"| {setup} | {statistics.median(values):.1f} ({min(values):.1f}-{max(values):.1f}) |"
        ratios = [by_round[r] / quern[r] for r in by_round if r in quern]
        if setup == "quern" or not ratios:
            print(row + " |")
        else:
            print(f"{row} {statistics.median(ratios):.2f}x ({min(ratios):.2f}-{max(ratios):.2f}) |")
    others = {setup: by_round for setup, by_round in times.items() if setup != "quern"}
    if others:
        best = min(others, key=lambda setup: statistics.median(others[setup].values()))
        print(f"\nPyTorch's best set-up here: {best}")


if __name__ == "__main__":
    main()
