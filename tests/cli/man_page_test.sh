#!/usr/bin/env bash
# man_page_test.sh QUERN: the manual page that QUERN prints is formatted without a warning, by groff and, where it is
# installed, by mandoc; it has the usual sections and every command and flag that --help-all shows. Ends with 77
# where there is no groff.
set -euo pipefail
quern=$1
command -v groff >/dev/null || { echo "no groff here: not run"; exit 77; }
folder=$(mktemp -d)
trap 'rm -rf -- "$folder"' EXIT
cd -- "$folder"

fail() {
  printf 'FAILED: %s\n' "$*" >&2
  exit 1
}

"$quern" man >quern.1
groff -man -Tutf8 -ww -z quern.1 2>warnings || fail "groff: $(<warnings)"
[[ ! -s warnings ]] || fail "groff warns: $(<warnings)"
if command -v mandoc >/dev/null; then
  # A page without a date is meant: it would be that of the build.
  mandoc -Tlint -W warning quern.1 2>&1 | grep -v 'missing date' >warnings || true
  [[ ! -s warnings ]] || fail "mandoc warns: $(<warnings)"
fi

# As it is read, without overstrikes and escapes, in lines that nothing is broken in.
groff -man -Tascii -P-c -rLL=2000n quern.1 | sed 's/.\x08//g' >page
for section in NAME SYNOPSIS DESCRIPTION COMMANDS EXAMPLES ENVIRONMENT FILES "EXIT STATUS"; do
  grep -qx "$section" page || fail "no section $section"
done
"$quern" --help-all >help
commands=$(sed -n 's/^quern \([a-z ]*\): .*/\1/p' help)
[[ -n $commands ]] || fail "--help-all shows no command"
while IFS= read -r command; do
  grep -qE "^ +quern $command$" page || fail "no part about 'quern $command'"
done <<<"$commands"
flags=$(sed -n 's/^  \(-[a-z], \)\?\(--[a-z0-9-]*\).*/\2/p' help | sort -u | grep -vxE -- '--help(-all)?|--version')
(($(wc -l <<<"$flags") > 30)) || fail "--help-all shows hardly a flag"
while IFS= read -r flag; do
  grep -qE -- "^ +(-[a-z], )?$flag( |$)" page || fail "the page does not have $flag"
done <<<"$flags"
# What an example shows can be copied: hyphens are hyphens, quotes are quotes.
groff -man -Tutf8 -P-c -rLL=2000n quern.1 | sed 's/.\x08//g' | grep "quern predict '#7' --checkpoint" >/dev/null ||
  fail "an example is not what was typed"
echo "$(wc -l <<<"$commands") commands and $(wc -l <<<"$flags") flags"
