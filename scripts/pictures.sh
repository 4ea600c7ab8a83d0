#!/bin/sh
# Takes the pictures of docs/reference/keys.md from the real program in a real terminal. Without an argument the random model of the tests
# plays; with one, the model of that directory: scripts/pictures.sh models/house
set -e
cd "$(dirname "$0")/.."
mkdir -p docs/pictures
# As the tests build it: optimised, without the wait of a release.
cargo build -q --profile test -p sideman --bin sideman --example picture
if [ $# -gt 0 ]; then set -- --model "$1"; fi
target/debug/examples/picture examples/funk.flac docs/pictures "$@"
