#!/usr/bin/env bash
# prediction_test.sh check|stale PYTHON PROFILING QUERN: the page of predicted step times is what the plan predicts, and one
# that is not is found out.
set -euo pipefail
case=$1 python=$2 profiling=$3 quern=$4
page=$profiling/results/predicted-h200.md
predict() { "$python" "$profiling/predict_step.py" "$quern" --check "$@"; }
case $case in
  check) predict ;;
  stale)
    scratch=$(mktemp -d)
    trap 'rm -rf -- "$scratch"' EXIT
    # One more launch in one row.
    sed '0,/| tf32 | 64 | \([0-9]*\) |/s//| tf32 | 64 | 1\1 |/' "$page" >"$scratch/page.md"
    for stale in "$scratch/page.md" "$scratch/missing.md"; do
      if predict --output "$stale"; then
        echo "$stale passed"
        exit 1
      fi
    done
    predict --output "$page" # so that it is the page that was refused
    ;;
  *) echo "no such case: $case" >&2; exit 2 ;;
esac
