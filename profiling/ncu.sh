#!/usr/bin/env bash
# Hardware counters of the kernels of training steps by Nsight Compute.
#
#   profiling/ncu.sh [--steps A:B] [--kernel REGEX] [--set basic|detailed|full] [--out FILE] [FLAGS OF quern train...]
#
# Measures the kernels of the steps from A up to B (default 20:21, one step after warm-up). Kernels are launched one by
# one (--no-graph), since the profiler replays each of them. --kernel keeps those whose name matches. Writes
# FILE.ncu-rep (default runs/ncu-<time>) and prints a summary. Clocks are left as they are. What to look at:
# profiling/nsight.md.
set -euo pipefail
root=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/.." && pwd)

steps=20:21 kernel=".*" set=detailed out=""
while (($# > 0)); do
  case $1 in
    --steps | --kernel | --set | --out)
      (($# > 1)) || { echo "ncu.sh: $1 needs a value" >&2; exit 2; }
      case $1 in --steps) steps=$2 ;; --kernel) kernel=$2 ;; --set) set=$2 ;; --out) out=$2 ;; esac
      shift 2
      ;;
    *) break ;;
  esac
done
command -v ncu >/dev/null || { echo "ncu.sh: ncu is missing: install NVIDIA Nsight Compute" >&2; exit 3; }

quern=${QUERN:-$root/build/bin/quern}
[[ -x $quern ]] || { echo "ncu.sh: $quern is not built: run ./quern info first, or set QUERN" >&2; exit 3; }
export QUERN_DATA=${QUERN_DATA:-$root/data}
out=${out:-runs/ncu-$(date -u +%Y%m%dT%H%M%SZ)}
mkdir -p -- "$(dirname -- "$out")"

ncu --profile-from-start off --clock-control none --set "$set" --nvtx --kernel-name "regex:$kernel" \
  --force-overwrite --export "$out" \
  "$quern" train --device cuda --epochs 1 --no-save --no-graph --profile-steps "$steps" "$@"
ncu --import "$out.ncu-rep" --page raw --csv \
  --metrics gpu__time_duration.sum,dram__bytes.sum,lts__t_bytes.sum,sm__throughput.avg.pct_of_peak_sustained_elapsed \
  >"$out.csv"
echo "written: $out.ncu-rep, $out.csv"
