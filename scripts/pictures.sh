#!/bin/sh
# Makes the screenshots of docs/reference/keys.md: runs the program in a terminal and draws what it shows.
#
#   scripts/pictures.sh                 with the random model of the tests
#   scripts/pictures.sh models/house    with the model in this directory
set -e
cd "$(dirname "$0")/.."
mkdir -p docs/pictures
# The test profile is optimised, and builds faster than a release.
cargo build -q --profile test -p sideman --bin sideman --example picture
if [ $# -gt 0 ]; then set -- --model "$1"; fi
target/debug/examples/picture examples/funk.flac docs/pictures "$@"
