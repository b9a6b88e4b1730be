#!/usr/bin/env bash
# Quern beside PyTorch, JAX and Keras on this machine: the same network, batch, threads, optimizer and precision, data in
# memory. Usage:
#   profiling/compare/run.sh [--device cpu|cuda] [--model seed|seed-bn] [--rounds N] [--steps N] [--batch N]
#                            [--precisions fp32,tf32,bf16] [--set-ups REGEX] [--check-only]
# --device cpu is the default; on a GPU, precisions are tf32,bf16 unless named. --set-ups picks set-ups by name
# (PyTorch, "JAX.*scan"); quern always runs. --check-only ends after the losses were compared.
#
# Whatever is installed takes part: every interpreter of QUERN_COMPARE_PYTHON="/path/to/python ...", python3 and
# /usr/bin/python3 is asked for torch, jax and keras with TensorFlow; the first one that has a version runs it.
# QUERN_COMPARE_QUERN is a built program to run instead of the launcher.
#
# First each set-up repeats ten steps of quern's from the same weights over the same batches: losses that differ end the
# comparison with status 1. Then each round runs every set-up once, one after the other, because the speed of a shared
# machine drifts; compare only figures of one session. On a CPU, PyTorch runs plain and in its best set-up (threads that
# are pinned and wait actively, no mmap in malloc, jemalloc where it is installed). Results: runs/compare-*.jsonl.
set -euo pipefail
here=$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")
root=$here/../..

quern=${QUERN_COMPARE_QUERN:-$root/quern}
device=cpu model=seed-bn rounds=5 steps=200 batch=64 precisions='' set_ups='' check_only=''
while (($# > 0)); do
  case $1 in
    --device | --model | --rounds | --steps | --batch | --precisions | --set-ups)
      (($# > 1)) || { echo "run.sh: $1 needs a value" >&2; exit 2; }
      name=${1#--}
      printf -v "${name//-/_}" '%s' "$2"
      shift 2
      ;;
    --check-only) check_only=yes; shift ;;
    *) echo "run.sh: unknown argument $1 (see the head of $0)" >&2; exit 2 ;;
  esac
done
[[ $device == cpu || $device == cuda ]] || { echo "run.sh: --device cpu or cuda, not $device" >&2; exit 2; }
[[ $device == cpu ]] && precisions=fp32
read -ra precisions <<<"$(tr , ' ' <<<"${precisions:-tf32,bf16}")"

threads=${OMP_NUM_THREADS:-$(nproc)}
export OMP_NUM_THREADS=$threads XLA_PYTHON_CLIENT_PREALLOCATE=false TF_FORCE_GPU_ALLOW_GROWTH=true
export PYTHONDONTWRITEBYTECODE=1
scratch=$(mktemp -d)
trap 'rm -rf -- "$scratch"' EXIT

# --- set-ups ------------------------------------------------------------------------------------------

# A set-up is a name, a precision and a command; the environment it runs in is part of the command.
names=() kinds=() commands=()
# A command that compares losses, once for each program, variant and precision that a set-up runs.
checks=() check_names=()

# add NAME PRECISION VARIANT ENVIRONMENT... -- SCRIPT_COMMAND...
add() {
  local name=$1 precision=$2 variant=$3 environment=()
  shift 3
  while [[ $1 != -- ]]; do environment+=("$1"); shift; done
  shift
  [[ $name =~ $set_ups ]] || return 0
  local command=("$@" --variant "$variant" --device "$device" --precision "$precision" --threads "$threads")
  names+=("$name") kinds+=("$precision")
  commands+=("$(printf '%q ' env "${environment[@]}" "${command[@]}" --model "$model" --batch "$batch" --steps "$steps")")
  # Lower precisions have other losses; their set-ups are held to quern's in fp32.
  local check
  check=$(printf '%q ' "${command[@]/%"$precision"/fp32}" --model "$model" --start "$scratch/start.json")
  [[ " ${checks[*]} " == *" $check"* ]] && return 0
  checks+=("$check") check_names+=("${name%%, *}")
}

tuned=(OMP_WAIT_POLICY=active OMP_PROC_BIND=true OMP_PLACES=cores MALLOC_MMAP_THRESHOLD_=1073741824
  MALLOC_TRIM_THRESHOLD_=1073741824 MALLOC_TOP_PAD_=268435456)
malloc=("${tuned[@]:3}")
jemalloc=$(compgen -G '/usr/lib/*/libjemalloc.so.2' | head -n 1 || true)
preload=("LD_PRELOAD=$jemalloc${LD_PRELOAD:+:$LD_PRELOAD}")

pytorch() { # PYTHON VERSION
  local variant precision program=(-- "$1" "$here/seed_pytorch.py")
  local compiles=''
  "$1" -c 'import sys, torch; sys.exit(not hasattr(torch, "compile"))' && compiles=yes
  if [[ $device == cuda ]]; then
    for precision in "${precisions[@]}"; do
      for variant in eager channels_last graph ${compiles:+compile compile_graph}; do
        add "PyTorch $2 $variant, $precision" "$precision" "$variant" "${program[@]}"
      done
    done
    return
  fi
  add "PyTorch $2 eager" fp32 eager "${program[@]}"
  add "PyTorch $2 eager, tuned" fp32 eager "${tuned[@]}" "${program[@]}"
  add "PyTorch $2 channels_last, tuned" fp32 channels_last "${tuned[@]}" "${program[@]}"
  [[ -z $jemalloc ]] ||
    add "PyTorch $2 channels_last, tuned, jemalloc" fp32 channels_last "${tuned[@]}" "${preload[@]}" "${program[@]}"
  [[ -z $compiles ]] || add "PyTorch $2 compile, tuned" fp32 compile "${tuned[@]}" "${program[@]}"
}

# others NAME PYTHON SCRIPT VARIANT...: one set-up a variant and precision; on a CPU with malloc tuned as PyTorch's.
others() {
  local name=$1 python=$2 script=$3 variant precision suffix=''
  shift 3
  for precision in "${precisions[@]}"; do
    [[ $device == cuda ]] && suffix=", $precision"
    for variant; do
      if [[ $device == cpu ]]; then
        add "$name $variant, tuned" "$precision" "$variant" "${malloc[@]}" -- "$python" "$here/$script"
      else
        add "$name $variant$suffix" "$precision" "$variant" -- "$python" "$here/$script"
      fi
    done
  done
}

found=' '
# version_of PYTHON MODULE...: what the last module calls itself, if all of them can be imported.
version_of() {
  local python=$1 imports
  shift
  imports=$(printf 'import %s; ' "$@")
  TF_CPP_MIN_LOG_LEVEL=3 KERAS_BACKEND=tensorflow "$python" -c "${imports}print(${!#}.__version__)" 2>/dev/null | tail -n 1
}
# The first interpreter that has a version of a program runs it.
new() {
  [[ -n $2 && $found != *" $1-$2 "* ]] || return 1
  found+="$1-$2 "
}
for python in ${QUERN_COMPARE_PYTHON:-} python3 /usr/bin/python3; do
  command -v "$python" >/dev/null || continue
  version=$(version_of "$python" numpy torch || true)
  if new torch "$version"; then
    if [[ $python == /usr/bin/python3 ]] && command -v update-alternatives >/dev/null &&
      update-alternatives --query libblas.so.3-x86_64-linux-gnu 2>/dev/null | grep -q '^Value:.*/blas/libblas'; then
      echo "PyTorch: Debian's build multiplies matrices with the slow reference BLAS here; for a fair comparison:" \
        "apt-get install libopenblas0-openmp"
    fi
    pytorch "$python" "$version"
  fi
  version=$(version_of "$python" numpy jax || true)
  # On a CPU lax.scan over the steps took many times as long as the jitted step, which is JAX's best there.
  variants=(step)
  [[ $device == cuda ]] && variants=(scan step)
  new jax "$version" && others "JAX $version" "$python" seed_jax.py "${variants[@]}"
  version=$(version_of "$python" tensorflow keras || true)
  new keras "$version" && others "Keras $version" "$python" seed_keras.py fit function function_jit
done
for name in torch jax keras; do
  [[ $found == *" $name-"* ]] || echo "$name: not installed in any interpreter (QUERN_COMPARE_PYTHON names more)"
done

# --- the same work ------------------------------------------------------------------------------------

"$quern" models >/dev/null # the launcher builds, so that no round does
# first_steps FILE FLAG...: quern's first losses, at a low learning rate: common.py says why.
first_steps() {
  "$quern" bench train --first-steps "$1" --device "$device" --precision fp32 --model "$model" \
    --batch "$batch" --steps 10 --schedule constant --lr 0.0001 "${@:2}"
}
# On a CPU the convolutions of the rounds (Winograd's, with large tiles) round more than direct sums do. The others are
# held to the losses of direct sums, and the rounds' convolutions to those within their own rounding.
if [[ $device == cpu ]]; then
  first_steps "$scratch/start.json" --impl conv2d=onednn:direct
  first_steps "$scratch/rounds.json"
  python3 "$here/same_losses.py" "$scratch/rounds.json" "$scratch/start.json"
else
  first_steps "$scratch/start.json"
fi
for i in "${!checks[@]}"; do
  status=0
  eval "${checks[i]}" >"$scratch/losses" 2>"$scratch/err" || status=$?
  if ((status == 0)); then
    printf '%s: the first 10 losses are those of quern: %s\n' "${check_names[i]}" "$(tail -n 1 "$scratch/losses")"
  elif [[ $(tail -n 1 "$scratch/losses") == *largest_relative_difference* ]]; then
    printf '%s: the first 10 losses DIFFER from those of quern: %s\n' "${check_names[i]}" "$(tail -n 1 "$scratch/losses")" >&2
    exit 1
  else
    printf '%s: failed: %s\n' "${check_names[i]}" "$(tail -n 1 "$scratch/err")" >&2
    exit 1
  fi
done
[[ -z $check_only ]] || exit 0

# --- rounds -------------------------------------------------------------------------------------------

mkdir -p "$root/runs"
results=$root/runs/compare-$(date -u +%Y%m%dT%H%M%SZ)-$device-$model.jsonl

# record ROUND SET-UP PRECISION COMMAND: appends the last line of the command's output.
record() {
  if ! eval "$4" >"$scratch/out" 2>"$scratch/err"; then
    printf '%s: failed: %s\n' "$2" "$(tail -n 1 "$scratch/err")" >&2
    return
  fi
  printf '{"round": %d, "setup": "%s", "precision": "%s", "result": %s}\n' "$1" "$2" "$3" "$(tail -n 1 "$scratch/out")" >>"$results"
}

# Steps on the CPU, whole epochs on a GPU, which makes one in a moment.
length=(--epochs 1 --limit-train $((steps * batch)))
((steps * batch <= 60000)) || length=(--epochs $(((steps * batch + 59999) / 60000)))
[[ $device == cuda ]] && length=(--epochs 5)
for ((round = 1; round <= rounds; ++round)); do
  [[ -t 2 ]] && printf '\rround %d of %d ' "$round" "$rounds" >&2
  for precision in "${precisions[@]}"; do
    name=quern
    [[ $device == cuda ]] && name="quern, $precision"
    record "$round" "$name" "$precision" "$(printf '%q ' "$quern" train --device "$device" --precision "$precision" \
      --model "$model" --batch "$batch" "${length[@]}" --seed 1 --no-save --json --quiet)"
  done
  for i in "${!names[@]}"; do record "$round" "${names[i]}" "${kinds[i]}" "${commands[i]}"; done
done
[[ -t 2 ]] && printf '\r\033[K' >&2
"$(command -v python3 || echo /usr/bin/python3)" "$here/summary.py" "$results"
