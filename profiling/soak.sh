#!/usr/bin/env bash
# A soak: trains with interruptions for so many minutes, and looks whether anything was lost.
#
#   profiling/soak.sh MINUTES [MODEL] [DEVICE]
#
# The same run is made twice, once undisturbed, and once stopped again and again by SIGTERM or SIGKILL at random moments
# and resumed; the weights of both must be equal, bit for bit. That is repeated, with another seed each time, until the
# minutes are over. A tenth of the time goes to one long training, whose resident memory is read twice a second: what it
# grew by in its last two thirds is printed. QUERN names another program than the tree's; OMP_NUM_THREADS holds.
# Exit status: 0 all was equal, 1 something was lost, 2 bad usage.
set -euo pipefail
cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/.."

minutes=${1:-}
[[ $minutes =~ ^[0-9]+$ && $minutes -gt 0 ]] || { echo "usage: profiling/soak.sh MINUTES [MODEL] [DEVICE]" >&2; exit 2; }
model=${2:-seed-bn} device=${3:-cpu}
program=${QUERN:-./quern}
folder=$(mktemp -d)
child=0
trap '((child)) && kill -KILL "$child" 2>/dev/null; rm -rf -- "$folder"' EXIT

flags=(--quiet --json)
new=(--model "$model" --device "$device" --limit-train 2000 --limit-test 500 --epochs 4)
resident_kib() { awk '/^VmRSS/ { print $2 }' "/proc/$1/status" 2>/dev/null || true; }

hash_of() { sed -n 's/.*"weights_hash":"\([0-9a-f]*\)".*/\1/p' "$1"; }

runs=0 resumes=0 terms=0 kills=0 lost=0
begin=$SECONDS

"$program" train "${flags[@]}" "${new[@]}" --epochs 100000 --run-dir "$folder/long" >/dev/null &
child=$!
while ((SECONDS - begin < minutes * 6)) && kill -0 "$child" 2>/dev/null; do
  sleep 0.5
  resident_kib "$child" >>"$folder/memory"
done
kill -KILL "$child" 2>/dev/null || lost=1 # it must still be there
wait "$child" 2>/dev/null || true
child=0
read -r peak growth < <(awk '{ v[NR] = $1; if ($1 > m) m = $1 } END { print m, v[NR] - v[int(NR / 3)] }' "$folder/memory")

while ((SECONDS - begin < minutes * 60)); do
  seed=$((runs + 1))
  run=$folder/$seed
  "$program" train "${flags[@]}" "${new[@]}" --seed "$seed" --run-dir "$run-whole" >"$run.whole"
  command=("$program" train "${flags[@]}" "${new[@]}" --seed "$seed" --run-dir "$run-cut")
  while :; do
    "${command[@]}" >"$run.cut" 2>"$run.errors" &
    child=$!
    lifetime=$((RANDOM % 60 + 5)) # tenths of a second
    for ((tenth = 0; tenth < lifetime; ++tenth)); do
      sleep 0.1
      kill -0 "$child" 2>/dev/null || break
    done
    if kill -0 "$child" 2>/dev/null; then
      if ((RANDOM % 2)); then
        kill -TERM "$child" 2>/dev/null && terms=$((terms + 1)) || true
      else
        kill -KILL "$child" 2>/dev/null && kills=$((kills + 1)) || true
      fi
    fi
    status=0
    wait "$child" 2>/dev/null || status=$?
    child=0
    ((status == 0)) && break
    if ((status != 137 && status != 143)); then
      echo "seed $seed: exit status $status:"
      cat "$run.errors"
      lost=$((lost + 1))
      break
    fi
    # Before the first checkpoint there is nothing to go on from.
    if [[ -f $run-cut/last.safetensors ]]; then
      command=("$program" train "${flags[@]}" --resume "$run-cut")
      resumes=$((resumes + 1))
    else
      rm -rf -- "$run-cut"
    fi
  done
  runs=$((runs + 1))
  if [[ $(hash_of "$run.whole") != "$(hash_of "$run.cut")" || -z $(hash_of "$run.cut") ]]; then
    echo "seed $seed: the weights differ: $(hash_of "$run.whole") undisturbed, $(hash_of "$run.cut") resumed"
    lost=$((lost + 1))
  fi
  rm -rf -- "$run"*
done

printf '%-46s %s\n' "minutes" $(((SECONDS - begin + 30) / 60)) "model, device" "$model, $device" \
  "runs, each compared with an undisturbed one" "$runs" "SIGTERM sent" "$terms" "SIGKILL sent" "$kills" \
  "times resumed" "$resumes" "runs whose weights differed or that failed" "$lost" \
  "largest resident memory, KiB" "$peak" "grown in the last two thirds of the long run, KiB" "$growth"
((lost == 0))
