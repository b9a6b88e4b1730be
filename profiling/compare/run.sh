#!/usr/bin/env bash
# Quern beside PyTorch on this machine's CPU: the same network, batch, threads and optimizer, fp32, data in memory.
# Each round runs every set-up once, one after the other, because the speed of a shared machine drifts; compare only
# figures of one session. Usage: profiling/compare/run.sh [--model seed|seed-bn] [--rounds N] [--steps N] [--batch N]
#
# PyTorch is Debian's python3-torch and any other that `python3` finds, each plain and in its best set-up (threads that
# are pinned and wait actively, no mmap in malloc, jemalloc where it is installed, channels_last, torch.compile where
# it exists). Further interpreters: QUERN_COMPARE_PYTHON="/path/to/python ...". Results go to runs/compare-*.jsonl.
set -euo pipefail
here=$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")
root=$here/../..

model=seed-bn rounds=5 steps=200 batch=64
while (($# > 0)); do
  case $1 in
    --model | --rounds | --steps | --batch)
      (($# > 1)) || { echo "run.sh: $1 needs a value" >&2; exit 2; }
      printf -v "${1#--}" '%s' "$2"
      shift 2
      ;;
    *) echo "run.sh: unknown argument $1 (see the head of $0)" >&2; exit 2 ;;
  esac
done

threads=${OMP_NUM_THREADS:-$(nproc)}
export OMP_NUM_THREADS=$threads

# Interpreters that import torch, one for each version of it.
pythons=() versions=()
for python in ${QUERN_COMPARE_PYTHON:-} python3 /usr/bin/python3; do
  version=$("$python" -c 'import torch; print(torch.__version__)' 2>/dev/null) || continue
  [[ " ${versions[*]} " == *" $version "* ]] && continue
  pythons+=("$python")
  versions+=("$version")
done
if ((${#pythons[@]} == 0)); then
  echo "PyTorch: not installed (Debian: apt-get install python3-torch libopenblas0-openmp)"
elif [[ " ${pythons[*]} " == *" /usr/bin/python3 "* ]] && command -v update-alternatives >/dev/null &&
  update-alternatives --query libblas.so.3-x86_64-linux-gnu 2>/dev/null | grep -q '^Value:.*/blas/libblas'; then
  echo "PyTorch: Debian's build multiplies matrices with the slow reference BLAS here; for a fair comparison:" \
    "apt-get install libopenblas0-openmp"
fi

plain=(env)
tuned=(env OMP_WAIT_POLICY=active OMP_PROC_BIND=true OMP_PLACES=cores MALLOC_MMAP_THRESHOLD_=1073741824
  MALLOC_TRIM_THRESHOLD_=1073741824 MALLOC_TOP_PAD_=268435456)
jemalloc=$(compgen -G '/usr/lib/*/libjemalloc.so.2' | head -n 1 || true)

mkdir -p "$root/runs"
results=$root/runs/compare-$(date -u +%Y%m%dT%H%M%SZ)-$model.jsonl
scratch=$(mktemp -d)
trap 'rm -rf -- "$scratch"' EXIT

# record ROUND SET-UP COMMAND...: appends the last line of the command's output, with round and set-up.
record() {
  local round=$1 setup=$2
  shift 2
  if ! "$@" >"$scratch/out" 2>"$scratch/err"; then
    printf '%s: failed: %s\n' "$setup" "$(tail -n 1 "$scratch/err")" >&2
    return
  fi
  printf '{"round": %d, "setup": "%s", "result": %s}\n' "$round" "$setup" "$(tail -n 1 "$scratch/out")" >>"$results"
}

quern() {
  record "$1" "quern" "$root/quern" train --device cpu --model "$model" --batch "$batch" --epochs 1 \
    --limit-train $((steps * batch)) --seed 1 --no-save --json --quiet
}

pytorch() { # ROUND PYTHON VERSION
  local common=("$2" "$here/seed_pytorch.py" --model "$model" --batch "$batch" --steps "$steps" --threads "$threads")
  record "$1" "PyTorch $3 eager" "${plain[@]}" "${common[@]}" --variant eager
  record "$1" "PyTorch $3 eager, tuned" "${tuned[@]}" "${common[@]}" --variant eager
  record "$1" "PyTorch $3 channels_last, tuned" "${tuned[@]}" "${common[@]}" --variant channels_last
  if [[ -n $jemalloc ]]; then
    record "$1" "PyTorch $3 channels_last, tuned, jemalloc" "${tuned[@]}" \
      LD_PRELOAD="$jemalloc${LD_PRELOAD:+:$LD_PRELOAD}" "${common[@]}" --variant channels_last
  fi
  if "$2" -c 'import sys, torch; sys.exit(not hasattr(torch, "compile"))'; then
    record "$1" "PyTorch $3 compile, tuned" "${tuned[@]}" "${common[@]}" --variant compile
  fi
}

"$root/quern" check --list >/dev/null # builds, so that no round does

# The same work: from the same weights over the same batches the first losses are the same.
if ((${#pythons[@]} > 0)); then
  "$root/quern" bench train --first-steps "$scratch/start.json" --device cpu --model "$model" --batch "$batch" --steps 10 \
    --schedule constant --lr 0.001
  for i in "${!pythons[@]}"; do
    if "${pythons[i]}" "$here/seed_pytorch.py" --threads "$threads" --start "$scratch/start.json" >"$scratch/losses"; then
      printf 'PyTorch %s: the first 10 losses are those of quern: %s\n' "${versions[i]}" "$(<"$scratch/losses")"
    else
      printf 'PyTorch %s: the first 10 losses DIFFER from those of quern: %s\n' "${versions[i]}" "$(<"$scratch/losses")" >&2
      exit 1
    fi
  done
fi
for ((round = 1; round <= rounds; ++round)); do
  [[ -t 2 ]] && printf '\rround %d of %d ' "$round" "$rounds" >&2
  quern "$round"
  for i in "${!pythons[@]}"; do pytorch "$round" "${pythons[i]}" "${versions[i]}"; done
done
[[ -t 2 ]] && printf '\r\033[K' >&2
"$(command -v python3 || echo /usr/bin/python3)" "$here/summary.py" "$results"
