#!/usr/bin/env bash
# Packs what a GPU machine without our packages, a network or a compiler needs to train, check and test:
#   bin/quern   tests/ (every test program, and `run`, which runs them)   lib/   data/
#   profiling/gpu_acceptance.sh, which accepts the machine in one call
# zlib, libpng and fmt are linked in; oneDNN, OpenMP and the C++ library travel in lib/, found relative to the programs.
# What the machine must bring is x86-64 Linux with this machine's glibc or a newer one, and, for its GPU, a driver.
# Usage: profiling/portable.sh [GPU-ARCHITECTURES]     default 90 (Hopper); "80;90" for several
set -euo pipefail
root=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/.." && pwd)
cd -- "$root"
readonly build=build-portable limit_mib=64
readonly package=$build/quern-portable archive=$build/quern-portable.tar.xz

# The static forms of Debian's libraries, wherever this architecture keeps them.
static() {
  local path
  path=$(g++ -print-file-name="$1")
  [[ $path == /* ]] || { echo "portable.sh: $1 was not found: install zlib1g-dev and libpng-dev" >&2; exit 3; }
  printf '%s\n' "$path"
}

cmake --preset portable "-DCMAKE_CUDA_ARCHITECTURES=${1:-90}" -DZLIB_LIBRARY="$(static libz.a)" \
  -DPNG_LIBRARY="$(static libpng16.a)" >"$build.log" 2>&1 || { tail -n 30 "$build.log"; exit 3; }
ninja -C "$build" -j "$(nproc)" >>"$build.log" 2>&1 || { tail -n 40 "$build.log"; exit 3; }

rm -rf -- "$package"
mkdir -p "$package"/{bin,lib,tests}
cp "$build/bin/quern" "$package/bin/"
cp -r data "$package/"
mkdir -p "$package/profiling"
cp -r profiling/gpu_acceptance.sh profiling/compare "$package/profiling/"
mapfile -t tests < <(ctest --test-dir "$build" --show-only=json-v1 |
  grep -oE "\"$root/$build/tests/[^\"]+\"" | tr -d '"' | sort -u)
for program in "${tests[@]}"; do
  [[ -f $program && -x $program ]] && cp -- "$program" "$package/tests/"
done
strip "$package"/bin/* "$package"/tests/*

# The libraries that are not part of every Linux.
ldd "$package"/bin/* "$package"/tests/* | awk '$2 == "=>" && $3 ~ /^\// { print $3 }' | sort -u |
  grep -vE '/(libc|libm|libdl|libpthread|librt|ld-linux.*)\.so' | xargs -r cp -L -t "$package/lib/"

cat >"$package/tests/run" <<RUN
#!/usr/bin/env bash
# Runs every test program; their test data is looked for at the place where they were built, so a link is made there.
set -uo pipefail
here=\$(cd -- "\$(dirname -- "\$0")/.." && pwd)
[[ -e "$root" ]] || { mkdir -p "$(dirname -- "$root")" && ln -s -- "\$here" "$root"; }
failed=()
for program in "\$here"/tests/*; do
  name=\${program##*/}
  [[ \$name == run ]] && continue
  "\$program" --gtest_brief=1 || failed+=("\$name")
done
if ((\${#failed[@]})); then echo "FAILED: \${failed[*]}"; exit 1; fi
echo "all test programs passed"
RUN
chmod +x "$package/tests/run"
# Test data that the programs read from the tree.
find tests -type d -name data -exec cp -r --parents -t "$package" {} + 2>/dev/null || true

glibc=$(objdump -T "$package"/bin/* "$package"/lib/* 2>/dev/null | grep -oE 'GLIBC_[0-9.]+' | sort -uV | tail -n 1)
tar -C "$build" -cJf "$archive" quern-portable
size=$(stat -c %s -- "$archive")
printf '%s: %d MiB packed, %d MiB unpacked; needs %s\n' "$archive" $((size >> 20)) \
  "$(du -sm -- "$package" | cut -f1)" "$glibc"
if ((size > limit_mib << 20)); then
  echo "portable.sh: more than $limit_mib MiB: compile for fewer architectures" >&2
  exit 1
fi
