"""Ends with status 1 unless two files of `quern bench train --first-steps` hold the same losses within rounding.

Usage: same_losses.py FILE REFERENCE
"""

import json
import sys
from pathlib import Path

# Losses of ten steps at the learning rate 1e-4 with convolutions that round to 1e-6 where direct sums round to 1e-7:
# measured 4e-5 apart on seed and 3e-4 on seed-bn. Why rounding grows so: common.py.
TOLERANCE = 2e-3


def largest_relative_difference(losses, reference):
    return max(abs(a - b) / max(abs(b), 1e-3) for a, b in zip(losses, reference))


def main():
    losses, reference = (json.loads(Path(path).read_text())["losses"] for path in sys.argv[1:3])
    worst = largest_relative_difference(losses, reference)
    same = len(losses) == len(reference) and worst < TOLERANCE
    print(f"quern with the convolutions of the rounds: the first {len(losses)} losses {'are' if same else 'are NOT'} those "
          f"of direct sums: largest relative difference {worst:.1e}, allowed {TOLERANCE:.0e}")  # fmt: skip
    sys.exit(0 if same else 1)


if __name__ == "__main__":
    main()
