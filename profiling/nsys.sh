#!/usr/bin/env bash
# A timeline of training steps by Nsight Systems: every launch and graph node, under the names of the graph's nodes.
#
#   profiling/nsys.sh [--steps A:B] [--out FILE] [FLAGS OF quern train...]
#
# Records the steps from A up to B (default 100:140, after warm-up) and nothing before or after them; the flags behind
# are passed on (--model, --batch, --precision, --no-graph ...). Writes FILE.nsys-rep (default runs/nsys-<time>) and
# prints the time by kernel and by NVTX range. What to look at: profiling/nsight.md.
set -euo pipefail
root=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/.." && pwd)

steps=100:140 out=""
while (($# > 0)); do
  case $1 in
    --steps | --out)
      (($# > 1)) || { echo "nsys.sh: $1 needs a value" >&2; exit 2; }
      case $1 in --steps) steps=$2 ;; --out) out=$2 ;; esac
      shift 2
      ;;
    *) break ;;
  esac
done
command -v nsys >/dev/null || { echo "nsys.sh: nsys is missing: install NVIDIA Nsight Systems" >&2; exit 3; }

quern=${QUERN:-$root/build/bin/quern}
[[ -x $quern ]] || { echo "nsys.sh: $quern is not built: run ./quern info first, or set QUERN" >&2; exit 3; }
export QUERN_DATA=${QUERN_DATA:-$root/data}
out=${out:-runs/nsys-$(date -u +%Y%m%dT%H%M%SZ)}
mkdir -p -- "$(dirname -- "$out")"

# Nodes of a graph one by one: without it a replay is a single bar.
nsys profile --capture-range=cudaProfilerApi --capture-range-end=stop --cuda-graph-trace=node --trace=cuda,nvtx,osrt \
  --force-overwrite=true --output="$out" \
  "$quern" train --device cuda --epochs 1 --no-save --profile-steps "$steps" "$@"
nsys stats --force-export=true --report cuda_gpu_kern_sum --report nvtx_pushpop_sum "$out.nsys-rep"
