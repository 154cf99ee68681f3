#!/bin/sh
# Makes keys for two nodes and writes a.toml and b.toml with them, beside this script. Existing keys are kept.
# usage: prepare.sh [PATH OF tidewire]
set -eu
tidewire=$(command -v "${1:-tidewire}")
cd "$(dirname "$0")"
for node in a b; do
  [ -e "$node.key" ] || "$tidewire" keygen --out "$node.key"
done
fill() { # template, the other node's key file, its letter
  node=$("$tidewire" pubkey < "$2" | grep '^nodekey:')
  disco=$("$tidewire" pubkey < "$2" | grep '^discokey:')
  sed -e "s/@$3_NODE@/$node/" -e "s/@$3_DISCO@/$disco/" "$1.in" > "$1"
}
fill a.toml b.key B
fill b.toml a.key A
echo "a.toml and b.toml are ready"
