#!/usr/bin/env bash
# browser_test.sh QUERN SOURCE_DIR: opens the report of a short run in headless Chromium, as wide as a screen and as a
# phone, light and dark: it must be drawn, and nothing may be refused or complained about on the console.
# Exit status 77: there is no Chromium.
set -euo pipefail
quern=$1 source=$2
browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)
[[ -n $browser ]] || { echo "skipped: no chromium (apt-get install chromium)"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
cd -- "$work"
export HOME=$work QUERN_DATA=$source/data
for run in a b; do
  "$quern" train --model lenet5 --limit-train 1280 --limit-test 500 --epochs 2 --validation 500 --device cpu --run-dir $run --quiet
done
"$quern" report a b -o compare.html --quiet

# open PAGE NAME FLAG...
open() {
  local page=$1 name=$2
  shift 2
  timeout 120 "$browser" --headless=new --no-sandbox --disable-gpu --enable-logging=stderr --hide-scrollbars \
    --user-data-dir="$work/profile" --screenshot="$work/$name.png" "$@" "file://$work/$page" >"$name.log" 2>&1
  if grep -E 'CONSOLE' "$name.log"; then
    echo "$name: the console complains"
    exit 1
  fi
  local bytes
  bytes=$(stat -c %s "$name.png")
  echo "$page $name: $bytes bytes of picture"
  ((bytes > 20000)) # an empty page has fewer
}
open a/report.html screen --window-size=1100,3000
open a/report.html phone --window-size=500,3000
open a/report.html dark --window-size=1100,3000 --blink-settings=preferredColorScheme=0
open compare.html compare --window-size=1100,900
! cmp -s screen.png dark.png || { echo "dark mode looks like light mode"; exit 1; }
