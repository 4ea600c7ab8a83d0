"""Chords of a recording by Chordino, as a program of its own (Chordino is GPL): `python chordino.py FILE.wav` prints [[seconds, name], ...].

Settings are chord-extractor's: NNLS on, rollon 1, tuning mode 0, whitening 1, s 0.7, boostn 0.1.
"""

import json
import os
import sys
from pathlib import Path

# The plug-in's shared library comes inside the chord-extractor package.
import importlib.util

home = Path(importlib.util.find_spec("chord_extractor").origin).parent
os.environ["VAMP_PATH"] = str(home / "_lib")

import soundfile  # noqa: E402
import vamp  # noqa: E402

PARAMETERS = {"useNNLS": 1, "rollon": 1, "tuningmode": 0, "whitening": 1, "s": 0.7, "boostn": 0.1}

x, rate = soundfile.read(sys.argv[1], dtype="float32")
found = vamp.collect(x, rate, "nnls-chroma:chordino", output="simplechord", parameters=PARAMETERS)
print(json.dumps([[float(c["timestamp"]), c["label"]] for c in found["list"]]))
