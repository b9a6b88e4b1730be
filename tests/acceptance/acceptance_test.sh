#!/usr/bin/env bash
# One case of the acceptance script's test: acceptance_test.sh CASE SCRIPT QUERN CMAKE
set -euo pipefail
case=$1 script=$2 quern=$3 cmake=$4
scratch=$(mktemp -d)
trap 'rm -rf -- "$scratch"' EXIT
cd -- "$scratch"

fail() {
  echo "$case: $*" >&2
  tail -n 40 out/*.err log 2>/dev/null >&2
  exit 1
}
# run STATUS ARGUMENTS...: the script's exit status must be this one.
run() {
  local want=$1 got=0
  shift
  "$script" "$@" >table 2>log || got=$?
  ((got == want)) || { cat table >&2; fail "exit status $got, not $want"; }
}
# state STAGE: what results.json says of it, and that the file is JSON.
state() {
  cat >read.cmake <<'CMAKE'
file(READ out/results.json json)
string(JSON count LENGTH "${json}" stages)
math(EXPR last "${count} - 1")
foreach(i RANGE ${last})
  string(JSON name GET "${json}" stages ${i} name)
  if(name STREQUAL stage)
    string(JSON state GET "${json}" stages ${i} state)
    string(JSON note GET "${json}" stages ${i} note)
    message("${state}: ${note}")
  endif()
endforeach()
CMAKE
  "$cmake" -Dstage="$1" -P read.cmake 2>&1
}
expect() { [[ $(state "$1") == "$2"* ]] || { cat table >&2; fail "$1 is '$(state "$1")', not '$2'"; }; }

# A program that is quern but for one command.
stand_in() { # COMMAND WHAT
  printf '#!/usr/bin/env bash\n[[ $1 != %s ]] || { %s; }\nexec "%s" "$@"\n' "$1" "$2" "$quern" >stand_in
  chmod +x stand_in
}

case $case in
  cpu)
    run 0 --device cpu --tiny --seconds 250 --out out --quern "$quern"
    for stage in device check-fp32 live-check seed-fp32 seed-bn-fp32 profile-fp32 bench-train bench-fp32; do
      expect "$stage" pass
    done
    for stage in gpu-tests memcheck initcheck; do expect "$stage" "not run: not a GPU"; done
    grep -q '^check-fp32 *pass' table || fail "no table"
    tail -n 1 table | grep -q '^pass in ' || fail "no verdict"
    ;;
  wrong_result)
    stand_in check 'echo "an element is wrong" >&2; exit 1'
    run 1 --device cpu --tiny --seconds 250 --out out --quern ./stand_in
    expect check-fp32 "FAIL: exit 1: an element is wrong"
    expect seed-fp32 pass
    for stage in profile-fp32 bench-train bench-fp32; do expect "$stage" "not run: skipped: check-fp32 failed"; done
    ;;
  out_of_time)
    stand_in check 'sleep 60'
    run 1 --device cpu --tiny --seconds 9 --out out --quern ./stand_in
    expect check-fp32 "OUT OF TIME"
    expect bench-fp32 "not run: no time left"
    ;;
  no_device)
    stand_in info 'echo "cuda: this machine has no GPU" >&2; exit 3'
    run 3 --device cuda --tiny --out out --quern ./stand_in
    grep -q 'this machine has no GPU' log || fail "does not say why"
    ;;
  usage)
    run 2 --device tpu
    run 2 --seconds soon
    run 2 --frobnicate
    run 2 --out
    ;;
  *) fail "no such case" ;;
esac
