#!/bin/sh
# Unpacks each file of the folder $1 and compares its SHA-256 with the list in the folder's README.md.
set -eu
cd "$1"
count=0
list=$(grep -E '^[0-9a-f]{64}  [a-z0-9-]+$' README.md)
while read -r hash name; do
  found=$(gzip -dc "$name.gz" | sha256sum | cut -d' ' -f1)
  if [ "$found" != "$hash" ]; then
    echo "$name: SHA-256 is $found, README.md lists $hash" >&2
    exit 1
  fi
  count=$((count + 1))
done <<LIST
$list
LIST
if [ "$count" -ne 4 ]; then
  echo "README.md lists $count files, expected 4" >&2
  exit 1
fi
