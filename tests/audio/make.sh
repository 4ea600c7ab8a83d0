#!/bin/sh
# Makes the encoded recordings of this folder: half a second of 440 Hz at -12 dBFS, faded in and out, in every format that is
# read. Needs sox, flac, lame and oggenc; the files are committed, so tests don't.
set -eu
cd "$(dirname "$0")"
sox -D -n -r 44100 -c 2 -b 16 tone.wav synth 0.5 sine 440 vol 0.25 fade t 0.05 0.5 0.05
flac --silent --force tone.wav
lame --quiet -b 128 --resample 44.1 tone.wav tone.mp3
oggenc --quiet -q 3 -o tone.ogg tone.wav
rm tone.wav
