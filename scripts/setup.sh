#!/bin/sh
# What building and testing Sideman needs on Debian or Ubuntu: a linker with the C library's headers (build-essential), ALSA's and JACK's headers (the
# program itself opens libjack only where it is asked to), a JACK server with ALSA's plugin for it and liblo's OSC clients for the tests of live play, and a Rust that is new enough.
# Installs what is missing, by sudo where the user isn't root; does nothing, quickly, where all is there.
set -eu

NEED=$(sed -n 's/^rust-version = "\([0-9.]*\)"/\1/p' "$(dirname "$0")/../Cargo.toml")

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null 2>&1; then
        sudo "$@"
    else
        echo "setup: '$*' needs root, and there is no sudo: run it as root, then again" >&2
        exit 1
    fi
}

install() {
    if ! command -v apt-get >/dev/null 2>&1; then
        echo "setup: $* missing; this isn't Debian or Ubuntu: install them your system's way, then again" >&2
        exit 1
    fi
    as_root apt-get update -q
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@"
}

PATH="$HOME/.cargo/bin:$PATH"

if ! command -v cc >/dev/null 2>&1; then
    install build-essential
fi

if ! pkg-config --exists alsa jack 2>/dev/null || ! command -v jackd >/dev/null 2>&1 || ! command -v oscsend >/dev/null 2>&1 || ! ls /usr/lib/*/libjack.so.0 >/dev/null 2>&1 || ! ls /usr/lib/*/alsa-lib/libasound_module_pcm_jack.so >/dev/null 2>&1; then
    # jackd asks whether it may run with realtime priority; here it is only started by the tests.
    if command -v debconf-set-selections >/dev/null 2>&1; then
        echo 'jackd2 jackd/tweak_rt_limits boolean true' | as_root debconf-set-selections
    fi
    install pkg-config libasound2-dev libjack-jackd2-dev libasound2-plugins jackd2 liblo-tools jack-midi-clock
fi

# The tests of train/ make a virtual environment of their own.
if ! command -v python3 >/dev/null 2>&1 || ! python3 -c 'import venv, ensurepip' >/dev/null 2>&1; then
    install python3 python3-venv
fi

if ! command -v cargo >/dev/null 2>&1; then
    # Debian 13 and Ubuntu 24.04 have rustup as a package; before them it comes from its own site.
    if apt-cache show rustup >/dev/null 2>&1; then
        install rustup
        rustup default stable
    else
        command -v curl >/dev/null 2>&1 || install curl ca-certificates
        curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --profile minimal --component rustfmt,clippy
    fi
fi

have=$(cargo --version | sed 's/^cargo \([0-9]*\.[0-9]*\).*/\1/')
if [ "$(printf '%s\n%s\n' "$NEED" "$have" | sort -V | head -n 1)" != "$NEED" ]; then
    echo "setup: cargo is $have, and $NEED or later is needed: 'rustup update stable' brings it, or remove the old one and run this again" >&2
    exit 1
fi
