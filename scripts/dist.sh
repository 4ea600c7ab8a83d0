#!/bin/sh
# Builds the program and makes an archive for machines without Rust, in dist/: program, house model, examples and documentation, and
# beside it the checksum. The archive holds what is committed, and runs where the C library is not older than this machine's.
set -eu
cd "$(dirname "$0")/.."
PATH="$HOME/.cargo/bin:$PATH"

if [ -n "$(git status --porcelain)" ]; then
    echo "dist: there are changes that are not committed: commit or remove them first (git status)" >&2
    exit 1
fi
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
name=sideman-$version-$(uname -m)-linux

cargo build --release --locked -p sideman
rm -rf "dist/$name"
mkdir -p "dist/$name"
git archive HEAD README.md CHANGELOG.md LICENSE-MIT LICENSE-APACHE docs examples models/house | tar -x -C "dist/$name"
strip -o "dist/$name/sideman" target/release/sideman
# The oldest C library that has all functions that the program uses.
glibc=$(objdump -T "dist/$name/sideman" | grep -o "GLIBC_[0-9.]*" | sort -Vu | tail -n 1 | sed s/GLIBC_//)
# The licence of each crate in the program.
cargo tree --locked -p sideman -e normal --prefix none --format '{p}: {l}, {r}' | sed -E 's/ \((\/[^)]*|\*)\)//g' | sort -u >"dist/$name/DEPENDENCIES.txt"
cat >"dist/$name/START.txt" <<EOF
Sideman $version, commit $(git rev-parse --short HEAD). It needs Linux on $(uname -m), a C library of version $glibc or later, and ALSA:

    sudo apt-get install libasound2      # newer systems call it libasound2t64

In this folder:

    ./sideman --demo                                                 # shows the band, without a sound card
    ./sideman render --bass examples/funk.flac --out band            # writes drums and other for a bass line; hear band/mix.wav
    ./sideman doctor                                                 # how to hear it here, and whether the computer is fast enough
    ./sideman live                                                   # plays with you

Start with docs/guides/first-jam.md; where it says target/release/sideman, use ./sideman.
EOF
tar --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$(git log -1 --format=%ct)" -C dist -czf "dist/$name.tar.gz" "$name"
rm -rf "dist/$name"
(cd dist && sha256sum "$name.tar.gz" >"$name.tar.gz.sha256")
ls -l "dist/$name.tar.gz"
