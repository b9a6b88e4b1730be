#!/usr/bin/env bash
# launcher_test.sh LAUNCHER CASE: runs one case in a folder of its own; exit 0 passed, 1 failed, 77 cannot run here.
#
# The launcher is copied into a project of one source file, whose program prints its arguments one a line. dpkg-query,
# apt-get, sudo, cmake and nvidia-smi are stand-ins that write down how they were called.
set -euo pipefail

launcher=$1
case_name=$2
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
tree=$work/tree
calls=$work/calls
mkdir -p "$tree" "$work/stand-ins" "$work/elsewhere"
: >"$calls"

fail() {
  printf 'FAILED (%s): %s\n' "$case_name" "$*" >&2
  for file in "$work"/out "$work"/err "$calls"; do
    [[ -f $file ]] && { printf -- '--- %s\n' "${file##*/}"; cat -- "$file"; } >&2
  done
  exit 1
}

stand_in() { # NAME BODY
  printf '#!/usr/bin/env bash\n%s\n' "$2" >"$work/stand-ins/$1"
  chmod +x "$work/stand-ins/$1"
}

# launch STATUS ARGUMENTS...: runs the launcher and holds its exit status against STATUS; output in $work/out and err.
launch() {
  local expected=$1 status=0
  shift
  "$tree/quern" "$@" >"$work/out" 2>"$work/err" </dev/null || status=$?
  ((status == expected)) || fail "'quern $*' ended with $status, not $expected"
}

called() { grep -q -- "$1" "$calls"; }
said() { grep -qF -- "$1" "$work/err" || fail "did not say: $1"; }

cp -- "$launcher" "$tree/quern"
cat >"$tree/CMakeLists.txt" <<'CMAKE'
cmake_minimum_required(VERSION 3.25)
project(miniature LANGUAGES CXX)
add_executable(quern-cli main.cpp)
set_target_properties(quern-cli PROPERTIES OUTPUT_NAME quern RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
add_custom_target(not_wanted ALL COMMAND ${CMAKE_COMMAND} -E touch ${CMAKE_BINARY_DIR}/everything-was-built)
if(QUERN_TESTS)
  enable_testing()
  add_test(NAME first COMMAND quern-cli)
  add_test(NAME second COMMAND quern-cli)
endif()
file(WRITE ${CMAKE_BINARY_DIR}/settings "cuda=${QUERN_CUDA} tests=${QUERN_TESTS} emu=${QUERN_EMU} extra=${EXTRA}")
CMAKE
cat >"$tree/main.cpp" <<'CPP'
#include <cstdio>
#include <cstdlib>
#include <cstring>
int main(int argc, char** argv) {
  std::fprintf(stderr, "QUERN_DATA=%s\n", std::getenv("QUERN_DATA"));
  for (int i = 1; i < argc; ++i) std::puts(argv[i]);
  return argc > 1 && std::strcmp(argv[1], "fail") == 0 ? 7 : 0;
}
CPP

# Every package is installed, unless a case says otherwise; cmake is the real one, written down.
# shellcheck disable=SC2016
stand_in dpkg-query 'for package; do case $package in -*|*\$*) ;; *) printf "%s:amd64 installed\n" "$package";; esac; done'
stand_in apt-get "echo apt-get \"\$@\" >>'$calls'"
stand_in sudo "echo sudo \"\$@\" >>'$calls'; exit 1"
stand_in nvidia-smi 'exit 9'
stand_in cmake "echo cmake \"\$@\" >>'$calls'; exec '$(command -v cmake)' \"\$@\""
export PATH=$work/stand-ins:$PATH CUDACXX=/nonexistent/nvcc
unset QUERN_DATA QUERN_BUILD_DIR QUERN_CMAKE_ARGS QUERN_JOBS CXXFLAGS LDFLAGS

# Takes the named packages away from dpkg-query until apt-get has been called to install them.
packages_missing() { # REGEX
  stand_in dpkg-query "for package; do case \$package in -*|*\\\$*) ;; *)
    grep -q 'install.*'\"\$package\" '$work/installed' 2>/dev/null || ! [[ \$package =~ ^($1)\$ ]] || continue
    printf '%s installed\n' \"\$package\";; esac; done"
}

# Runs the launcher as a user who is not root, with a sudo that refuses.
launch_unprivileged() {
  local expected=$1 status=0
  shift
  local -a as_user=()
  if ((EUID == 0)); then
    command -v setpriv >/dev/null || exit 77
    chmod -R a+rwX "$work"
    as_user=(setpriv --reuid=65534 --regid=65534 --clear-groups)
  fi
  "${as_user[@]}" "$tree/quern" "$@" >"$work/out" 2>"$work/err" </dev/null || status=$?
  ((status == expected)) || fail "'quern $*' ended with $status, not $expected"
}

case_usage() {
  launch 0
  grep -q './quern train' "$work/out" || fail "the usage does not name train"
  [[ ! -e $tree/build ]] || fail "showing the usage built something"
}

case_arguments() {
  ln -s "$tree/quern" "$work/elsewhere/link"
  cd "$work/elsewhere"
  local status=0
  ./link fail 'two words' '' '*' >"$work/out" 2>"$work/err" </dev/null || status=$?
  ((status == 7)) || fail "the program's exit status 7 became $status"
  diff <(printf '%s\n' fail 'two words' '' '*') "$work/out" || fail "arguments were changed on the way"
  said "QUERN_DATA=$tree/data"
  [[ -x $tree/build/bin/quern ]] || fail "the program is not at build/bin/quern"
  [[ ! -e $tree/build/everything-was-built ]] || fail "more than the program was built"
  [[ $(<"$tree/build/settings") == "cuda=OFF tests=OFF emu=ON extra=" ]] || fail "settings: $(<"$tree/build/settings")"
}

case_unchanged() {
  launch 0 train
  : >"$calls"
  launch 0 train
  ! called cmake || fail "configured again although nothing had changed"
  ! grep -q '^quern:' "$work/err" || fail "something was said although nothing had changed"
  grep -q 'no work to do' "$tree/build/quern-build.log" || fail "ninja found work although nothing had changed"
}

case_broken_build() {
  sed -i 's/std::puts/std::no_such_function/' "$tree/main.cpp"
  launch 3 train
  said "building failed"
  said "$tree/build/quern-build.log"
  said "no_such_function"
  sed -i 's/std::no_such_function/std::puts/' "$tree/main.cpp"
  launch 0 train
}

case_settings() {
  export QUERN_BUILD_DIR=$work/elsewhere/b QUERN_CMAKE_ARGS='-DEXTRA=one -DOTHER=x'
  launch 0 train
  [[ $(<"$QUERN_BUILD_DIR/settings") == *extra=one ]] || fail "QUERN_CMAKE_ARGS did not reach CMake"
  QUERN_CMAKE_ARGS=-DEXTRA=two
  launch 0 train
  [[ $(<"$QUERN_BUILD_DIR/settings") == *extra=two ]] || fail "changed QUERN_CMAKE_ARGS did not reach CMake"
  [[ ! -e $tree/build ]] || fail "build/ was made in spite of QUERN_BUILD_DIR"
  QUERN_CMAKE_ARGS=-DCMAKE_CXX_COMPILER=/nonexistent/c++
  launch 3 train
  said "configuring failed"
}

# Training on the CPU builds without the emulator; what asks for it gets it, and it stays.
case_emulator() {
  launch 0 train --model seed
  [[ $(<"$tree/build/settings") == *emu=OFF* ]] || fail "training on the CPU built the emulator"
  launch 0 train --device emu
  [[ $(<"$tree/build/settings") == *emu=ON* ]] || fail "training on the emulator was built without it"
  : >"$calls"
  launch 0 train --model seed
  launch 0 check
  ! called cmake || fail "configured again although the emulator is there"
}

case_moved_tree() {
  launch 0 train
  mv -- "$tree" "$work/moved"
  tree=$work/moved
  launch 0 train
}

case_test_command() {
  launch 0 train
  launch 0 test -R second
  grep -q '100% tests passed, 0 tests failed out of 1' "$work/out" || fail "ctest did not get its arguments"
  [[ -e $tree/build/everything-was-built ]] || fail "the tests were run without everything built"
  : >"$calls"
  launch 0 train
  ! called cmake || fail "going back from test to train configured again"
  sed -i 's/return argc.*/return 1;/' "$tree/main.cpp"
  launch 8 test
}

case_packages_present() {
  launch 0 train
  ! called 'apt-get' || fail "apt-get was called although nothing is missing"
}

case_packages_installed() {
  ((EUID == 0)) || exit 77
  packages_missing 'libfmt-dev|libgtest-dev'
  # The first try fails, as with package lists that are too old.
  stand_in apt-get "echo apt-get \"\$@\" >>'$calls'
    case \" \$* \" in
      *' update '*) touch '$work/updated';;
      *) [[ -e $work/updated ]] || exit 100; echo \"\$@\" >>'$work/installed';;
    esac"
  launch 0 train
  called 'install .*libfmt-dev' || fail "libfmt-dev was not installed"
  ! called 'libgtest-dev' || fail "test packages were installed for a training run"
  ! called 'install .*g++' || fail "a package that is here was installed again"
  tail -n 2 "$calls" | grep -q cmake || fail "no configuring after the installation"
  launch 0 test
  called 'install .*libgtest-dev' || fail "the test packages were not installed for the tests"
}

case_packages_unprivileged() {
  packages_missing 'libfmt-dev|libpng-dev'
  launch_unprivileged 3 train
  said 'apt-get update && apt-get install -y --no-install-recommends libpng-dev libfmt-dev'
  ! called '^apt-get' || fail "apt-get was called without the right to"
}

case_packages_unavailable() {
  ((EUID == 0)) || exit 77
  packages_missing 'libfmt-dev'
  stand_in apt-get 'echo "E: Unable to locate package libfmt-dev"; case " $* " in *" update "*) exit 0;; esac; exit 100'
  launch 3 train
  said 'apt-get could not install libfmt-dev'
  said 'E: Unable to locate package'
}

case_gpu_without_nvcc() {
  stand_in nvidia-smi 'echo "GPU 0: Some GPU (UUID: GPU-0)"'
  launch 0 train
  said 'no CUDA compiler (nvcc)'
  [[ $(<"$tree/build/settings") == cuda=OFF* ]] || fail "configured for CUDA without a compiler"
  launch 0 train --device cpu
  ! grep -q 'GPU' "$work/err" || fail "the GPU was mentioned to one who asked for the CPU"
}

case_two_at_once() {
  "$tree/quern" first >"$work/first" 2>&1 </dev/null &
  local pid=$!
  launch 0 second
  wait "$pid" || fail "the other launcher failed: $(<"$work/first")"
  grep -qx first "$work/first" || fail "the other launcher's program did not run"
}

"case_$case_name"
