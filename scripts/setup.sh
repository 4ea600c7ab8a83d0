#!/bin/sh
# Installs what building and testing Sideman needs on Debian or Ubuntu, with sudo if the user isn't root. If nothing is missing, it does
# nothing.
#
# Building: a C compiler and linker, the headers of ALSA and JACK, and Rust. (The program loads libjack only for --host jack.)
# Testing: a JACK server, ALSA's JACK plugin, liblo's OSC clients, jack_midi_clock, and Python 3 with venv.
set -eu

NEED=$(sed -n 's/^rust-version = "\([0-9.]*\)"/\1/p' "$(dirname "$0")/../Cargo.toml")

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null 2>&1; then
        sudo "$@"
    else
        echo "setup: this command needs root, and sudo is not installed: $*. Run it as root, then run setup again." >&2
        exit 1
    fi
}

install() {
    if ! command -v apt-get >/dev/null 2>&1; then
        echo "setup: missing: $* (names of Debian packages). apt-get is not available here: install them with your package manager, then run setup again." >&2
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
    # Answers the question that the jackd2 package asks during installation: may JACK use realtime priority?
    if command -v debconf-set-selections >/dev/null 2>&1; then
        echo 'jackd2 jackd/tweak_rt_limits boolean true' | as_root debconf-set-selections
    fi
    install pkg-config libasound2-dev libjack-jackd2-dev libasound2-plugins jackd2 liblo-tools jack-midi-clock
fi

# scripts/python-tests.sh makes a virtual environment for the tests of train/.
if ! command -v python3 >/dev/null 2>&1 || ! python3 -c 'import venv, ensurepip' >/dev/null 2>&1; then
    install python3 python3-venv
fi

if ! command -v cargo >/dev/null 2>&1; then
    # Debian 13 and Ubuntu 24.04 have a rustup package. Older releases use rustup's own installer.
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
    echo "setup: cargo $have is too old: Sideman needs $NEED or later. Run 'rustup update stable', or remove this cargo and run setup again." >&2
    exit 1
fi
