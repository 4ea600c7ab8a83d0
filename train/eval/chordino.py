"""Estimates the chords of a recording with Chordino: `python chordino.py FILE.wav` prints [[seconds, name],
...].

It is a separate program because Chordino is GPL; harmony.py runs it. Settings are those of chord-extractor.
"""

import json
import os
import sys
from pathlib import Path

# The package chord-extractor contains the plug-in's shared library.
import importlib.util

home = Path(importlib.util.find_spec("chord_extractor").origin).parent
os.environ["VAMP_PATH"] = str(home / "_lib")

import soundfile  # noqa: E402
import vamp  # noqa: E402

PARAMETERS = {"useNNLS": 1, "rollon": 1, "tuningmode": 0, "whitening": 1, "s": 0.7, "boostn": 0.1}

x, rate = soundfile.read(sys.argv[1], dtype="float32")
found = vamp.collect(x, rate, "nnls-chroma:chordino", output="simplechord", parameters=PARAMETERS)
print(json.dumps([[float(c["timestamp"]), c["label"]] for c in found["list"]]))
