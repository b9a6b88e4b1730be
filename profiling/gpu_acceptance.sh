#!/usr/bin/env bash
# Accepts a GPU: everything that needs one, in one call that ends in time, without a network. Correctness first; timing
# is skipped, and says so, if anything was wrong. Runs from a package of profiling/portable.sh or from a source tree.
#
#   profiling/gpu_acceptance.sh [--device cuda|cpu|emu] [--seconds N] [--out DIR] [--quern PROGRAM] [--tiny]
#
#   --seconds   for everything (default 520); each stage also has a limit of its own, and what no time is left for
#               reads "not run"
#   --device    cpu and emu stand in where there is no GPU, to test this script
#   --tiny      the smallest amount of work that still passes through every stage
#
# Writes DIR (default runs/acceptance-<time>): a log a stage, and results.json. The table is printed last. Exit status:
# 0 all that was run passed, 1 something failed or ran out of time, 2 bad usage, 3 there is no such device.
set -uo pipefail
here=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")" && pwd)
root=$(dirname -- "$here")

device=cuda total=520 out="" quern="" tiny=""
while (($# > 0)); do
  case $1 in
    --device | --seconds | --out | --quern)
      (($# > 1)) || { echo "gpu_acceptance.sh: $1 needs a value" >&2; exit 2; }
      case $1 in --device) device=$2 ;; --seconds) total=$2 ;; --out) out=$2 ;; --quern) quern=$2 ;; esac
      shift 2
      ;;
    --tiny) tiny=yes; shift ;;
    *) echo "gpu_acceptance.sh: unknown argument $1 (see the head of $0)" >&2; exit 2 ;;
  esac
done
[[ $total =~ ^[0-9]+$ ]] || { echo "gpu_acceptance.sh: --seconds $total: give whole seconds" >&2; exit 2; }
[[ $device =~ ^(cpu|emu|cuda(:[0-9]+)?)$ ]] || { echo "gpu_acceptance.sh: unknown device $device" >&2; exit 2; }

SECONDS=0
out=${out:-runs/acceptance-$(date -u +%Y%m%dT%H%M%SZ)}
mkdir -p -- "$out" || exit 3
out=$(cd -- "$out" && pwd)

# The program: given, of the package, of a build in the tree, or built now.
if [[ -z $quern ]]; then
  for candidate in "$root/bin/quern" "$root/build/bin/quern"; do
    [[ -x $candidate ]] && { quern=$candidate; break; }
  done
fi
if [[ -z $quern ]]; then
  echo "building (not counted among the stages)" >&2
  "$root/quern" check --list >"$out/build.log" 2>&1 || { tail "$out/build.log" >&2; exit 3; }
  quern=$root/build/bin/quern
fi
quern=$(readlink -f -- "$quern")
export QUERN_DATA=${QUERN_DATA:-$root/data}

# --- stages -------------------------------------------------------------------------------------------

names=() states=() times=() notes=()
wrong="" # a correctness stage that failed

note_stage() { names+=("$1"); states+=("$2"); times+=("$3"); notes+=("$4"); }
not_run() { note_stage "$1" "not run" 0 "$2"; }

# stage NAME LIMIT COMMAND...: standard output to NAME.out, errors to NAME.err. 0 if it passed.
stage() {
  local name=$1 limit=$2 left=$((total - SECONDS)) start=$SECONDS status
  shift 2
  ((left >= 5)) || { not_run "$name" "no time left"; return 1; }
  ((limit <= left)) || limit=$left
  printf '%s ...\n' "$name" >&2
  timeout -k 5 "$limit" "$@" >"$out/$name.out" 2>"$out/$name.err"
  status=$?
  case $status in
    0) note_stage "$name" pass $((SECONDS - start)) "" ;;
    124 | 137) note_stage "$name" "OUT OF TIME" $((SECONDS - start)) "limit $limit s" ;;
    *) note_stage "$name" FAIL $((SECONDS - start)) "exit $status: $(tail -n 1 "$out/$name.err" | tr -d '\\"' | cut -c1-120)" ;;
  esac
  return "$status"
}
# A stage whose failure makes times worthless. One that only ran out of time has found nothing wrong.
correct() {
  stage "$@"
  local status=$?
  [[ ${states[-1]} != FAIL ]] || wrong+=" $1"
  return "$status"
}
timing() {
  if [[ -n $wrong ]]; then not_run "$1" "skipped:$wrong failed"; else stage "$@"; fi
}

# --- the device ---------------------------------------------------------------------------------------

if ! stage device 30 "$quern" info --plan --json --device "$device"; then
  cat "$out/device.err" >&2
  exit 3
fi
"$quern" info --json >"$out/info.json" 2>/dev/null
if [[ $device == cuda* ]] && command -v nvidia-smi >/dev/null; then
  stage nvidia-smi 20 nvidia-smi --format=csv \
    --query-gpu=name,driver_version,compute_cap,clocks.max.sm,clocks.max.mem,power.limit,memory.total
else
  not_run nvidia-smi "no nvidia-smi, or not a GPU"
fi

precisions=(fp32)
[[ $device == cpu ]] || precisions=(fp32 tf32 bf16)
live_args=(--limit-train 640 --batch 64) accuracy_args=(--require-accuracy 0.985)
check_args=() seed_args=(--epochs 5) profile_args=(--steps 50) bench_args=(--batch '64,256,1024') train_args=()
if [[ -n $tiny ]]; then
  live_args=(--limit-train 32 --batch 16) accuracy_args=()
  check_args=(--op dense --shard 0/8)
  seed_args=(--epochs 1 --limit-train 32 --batch 16 --limit-test 20)
  profile_args=(--steps 2 --warmup 1 --batch 16)
  bench_args=(--batch 4 --op dense.forward --samples 3)
  train_args=(--model mlp --batch 64 --steps 2)
fi

# --- correctness --------------------------------------------------------------------------------------

for precision in "${precisions[@]}"; do
  correct "check-$precision" 90 "$quern" check --device "$device" --precision "$precision" "${check_args[@]}" --json
done
correct live-check 60 "$quern" train --device "$device" --no-save --quiet --check-every 5 --epochs 1 \
  --limit-test 20 "${live_args[@]}"

# Test programs of the GPU: of a package, or of the build that the program comes from.
gpu_programs=$(compgen -G "$root/tests/*gpu_test" || compgen -G "$(dirname -- "$quern")/../tests/*/*gpu_test" || true)
gpu_tests() {
  local failed=0 program
  for program in $gpu_programs; do "$program" --gtest_brief=1 || failed=1; done
  return "$failed"
}
if [[ $device != cuda* ]]; then
  not_run gpu-tests "not a GPU"
elif [[ -n $gpu_programs ]]; then
  export -f gpu_tests
  export gpu_programs
  correct gpu-tests 60 bash -c gpu_tests
else
  not_run gpu-tests "no test programs here"
fi

sanitizer=$(command -v compute-sanitizer || compgen -G '/usr/local/cuda*/bin/compute-sanitizer' | head -n 1)
for tool in memcheck racecheck synccheck initcheck; do
  if [[ $device == cuda* && -n $sanitizer ]]; then
    correct "$tool" 30 "$sanitizer" --tool "$tool" --error-exitcode 9 --launch-timeout 60 "$quern" check --device "$device" \
      --case n3_ --shard 0/8 --json
  else
    not_run "$tool" "$([[ $device == cuda* ]] && echo "no compute-sanitizer" || echo "not a GPU")"
  fi
done

for model in seed seed-bn; do
  for precision in "${precisions[@]}"; do
    correct "$model-$precision" 40 "$quern" train --device "$device" --model "$model" --precision "$precision" --seed 1 \
      --no-save --quiet --json "${accuracy_args[@]}" "${seed_args[@]}"
  done
done

# --- timing -------------------------------------------------------------------------------------------

for precision in "${precisions[@]}"; do
  timing "profile-$precision" 30 "$quern" profile --device "$device" --precision "$precision" "${profile_args[@]}" --json
done
if [[ $device == emu ]]; then
  not_run bench "the emulator makes no claim about speed"
  not_run bench-train "the emulator makes no claim about speed"
else
  timing bench-train 40 "$quern" bench train --device "$device" "${train_args[@]}" --json
  for precision in "${precisions[@]}"; do
    timing "bench-$precision" 90 "$quern" bench --device "$device" --precision "$precision" "${bench_args[@]}" --json
  done
fi
# Beside the other frameworks: first the same ten losses from the same weights, in fp32, which proves that it is the same
# work; then every precision, each with Quern's own step in front of it. Fastest set-ups first, as time may end.
milliseconds() { grep -oE '"ms_per_step": *[0-9.e+-]+' "$out/$1.out" 2>/dev/null | tail -n 1 | grep -oE '[0-9.e+-]+$'; }
frameworks=()
for framework in pytorch jax keras; do
  module=${framework/pytorch/torch}
  [[ $framework == keras ]] && module='tensorflow, keras'
  if [[ ! -f $here/compare/seed_$framework.py ]] || ! python3 -c "import numpy, $module" 2>/dev/null; then
    not_run "$framework" "not installed"
  elif [[ -n $tiny ]]; then
    not_run "$framework" "left out by --tiny"
  elif [[ $device == emu ]]; then
    not_run "$framework" "the emulator makes no claim about speed"
  else
    frameworks+=("$framework")
  fi
done
# framework NAME VARIANT ARGUMENTS...
framework() {
  python3 "$here/compare/seed_$1.py" --variant "$2" --model seed-bn --batch 64 --threads "$(nproc)" \
    --device "${device%%:*}" --data "$QUERN_DATA/mnist" "${@:3}"
}
export -f framework
export here device XLA_PYTHON_CLIENT_PREALLOCATE=false TF_FORCE_GPU_ALLOW_GROWTH=true
same_work=()
if ((${#frameworks[@]})) && timing first-steps 30 "$quern" bench train --first-steps "$out/start.json" --device "$device" \
  --precision fp32 --model seed-bn --batch 64 --steps 10 --schedule constant --lr 0.0001; then
  declare -A first_variant=([pytorch]=eager [jax]=step [keras]=function)
  for framework in "${frameworks[@]}"; do
    timing "$framework-losses" 60 bash -c 'framework "$@"' - "$framework" "${first_variant[$framework]}" \
      --start "$out/start.json" && same_work+=("$framework")
  done
fi
if [[ $device == cpu ]]; then
  declare -A variants=([pytorch]=compile [jax]=step [keras]=function)
  by_worth=(fp32)
else
  declare -A variants=([pytorch]="compile_graph graph eager" [jax]=scan [keras]=function_jit)
  by_worth=(tf32 bf16 fp32)
fi
((${#same_work[@]})) && for precision in "${by_worth[@]}"; do
  timing "quern-$precision" 30 "$quern" bench train --device "$device" --precision "$precision" --model seed-bn --batch 64 \
    --steps 500 --json
  ours=$(milliseconds "quern-$precision")
  for framework in "${same_work[@]}"; do
    for variant in ${variants[$framework]}; do
      name=$framework-$variant-$precision
      timing "$name" 90 bash -c 'framework "$@"' - "$framework" "$variant" --precision "$precision" --steps 500 || continue
      theirs=$(milliseconds "$name")
      notes[-1]=$(awk -v a="$theirs" -v b="$ours" 'BEGIN { printf "%.4g ms a step; %.2f times quern", a, b > 0 ? a / b : 0 }')
    done
  done
done

# --- results ------------------------------------------------------------------------------------------

state=pass
for i in "${!names[@]}"; do
  [[ ${states[i]} == FAIL || ${states[i]} == "OUT OF TIME" ]] && state=FAIL
done
{
  printf '{"device": "%s", "state": "%s", "seconds": %d, "tiny": %s, "stages": [' "$device" "$state" "$SECONDS" \
    "$([[ -n $tiny ]] && echo true || echo false)"
  for i in "${!names[@]}"; do
    ((i == 0)) || printf ', '
    printf '{"name": "%s", "state": "%s", "seconds": %d, "note": "%s"' "${names[i]}" "${states[i]}" "${times[i]}" "${notes[i]}"
    last=$(tail -n 1 "$out/${names[i]}.out" 2>/dev/null)
    [[ ${states[i]} == pass && $last == '{'*'}' ]] && printf ', "result": %s' "$last"
    printf '}'
  done
  printf ']}\n'
} >"$out/results.json"

printf '\n%-27s %-12s %8s  %s\n' stage state seconds note
for i in "${!names[@]}"; do
  printf '%-27s %-12s %8d  %s\n' "${names[i]}" "${states[i]}" "${times[i]}" "${notes[i]}"
done
printf '%s in %d s; results in %s\n' "$state" "$SECONDS" "$out/results.json"
[[ $state == pass ]]
