#!/usr/bin/env python3
"""Prints the tables of a results file of run.sh, one a precision: medians over the rounds, and ratios to quern taken
within each round."""

import json
import statistics
import sys
from collections import defaultdict
from pathlib import Path


def milliseconds(value):
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 1 else f"{value:.4f}"


def median_and_range(values, text):
    values = list(values)
    return f"{text(statistics.median(values))} ({text(min(values))}-{text(max(values))})"


def in_pairs(theirs, ours):
    """Theirs over ours, round by round."""
    return [theirs[r] / ours[r] for r in theirs if ours.get(r)]


def print_table(setups, quern):
    """`setups`: name -> field -> round -> value."""
    print("| set-up | ms a step: median (range) | quern is faster by: median (range) | start to first step, s | peak memory, MiB | of quern's |")
    print("|---|---|---|---|---|---|")
    for setup, fields in sorted(setups.items(), key=lambda item: statistics.median(item[1]["ms"].values())):
        row = [setup, median_and_range(fields["ms"].values(), milliseconds)]
        ratios = [] if setup == quern else in_pairs(fields["ms"], setups[quern]["ms"])
        row.append(median_and_range(ratios, lambda ratio: f"{ratio:.2f}x") if ratios else "")
        row += [f"{statistics.median(fields[name].values()):{form}}" if fields[name] else "" for name, form in
                (("first_step_seconds", ".2f"), ("peak_rss_mib", ".0f"))]  # fmt: skip
        ratios = [] if setup == quern else in_pairs(fields["peak_rss_mib"], setups[quern]["peak_rss_mib"])
        row.append(f"{statistics.median(ratios):.1f}x" if ratios else "")
        print(f"| {' | '.join(row)} |")
    others = [setup for setup in setups if setup != quern]
    if others:
        best = min(others, key=lambda setup: statistics.median(setups[setup]["ms"].values()))
        print(f"\nThe fastest other set-up here: {best}")
    print()


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: summary.py RESULTS.jsonl")
    tables = defaultdict(lambda: defaultdict(lambda: defaultdict(dict)))  # precision -> set-up -> field -> round -> value
    sample, rounds = None, set()
    for line in Path(sys.argv[1]).read_text().splitlines():
        row = json.loads(line)
        result, rounds = row["result"], rounds | {row["round"]}
        fields = tables[row["precision"]][row["setup"]]
        fields["ms"][row["round"]] = result.get("ms_per_step_median", result["ms_per_step"])
        for name in ("first_step_seconds", "peak_rss_mib"):
            if name in result:
                fields[name][row["round"]] = result[name]
        if row["setup"].startswith("quern"):
            sample = result
    if sample is None:
        sys.exit(f"no run of quern succeeded: see {sys.argv[1]}")
    threads = "" if sample["device"].startswith("cuda") else f", {sample['threads']} threads"
    print(f"{sample['model']}, batch {sample['batch_size']}, on {sample['device_name']}{threads}, quern "
          f"{sample['quern_version']}; {len(rounds)} rounds in alternation; median step of each run\n")  # fmt: skip
    for precision, setups in tables.items():
        quern = next((setup for setup in setups if setup.startswith("quern")), None)
        if quern is None:
            print(f"{precision}: no run of quern succeeded\n")
            continue
        print(f"{precision}\n")
        print_table(setups, quern)


if __name__ == "__main__":
    main()
