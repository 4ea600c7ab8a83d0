"""train/listen.py against the golden vectors, which the engine's listener is compared with too."""

import json
from pathlib import Path

import numpy as np
import soundfile

from train import listen

GOLDEN = Path(__file__).resolve().parents[2] / "tests" / "golden"


def test_features_equal_the_golden_vectors():
    x, rate = soundfile.read(GOLDEN / "listen.wav", dtype="int16")
    want = json.loads((GOLDEN / "listen.json").read_text())
    f = listen.features(x / 32768)
    assert rate == 32000 and len(f.pitch) == len(want["frames"])
    for name in ("pitch", "confidence", "level", "sounding"):
        assert np.allclose(getattr(f, name), [frame[name] for frame in want["frames"]], rtol=0, atol=1e-6), name
    assert np.abs(f.chroma.astype(int) - [frame["chroma"] for frame in want["frames"]]).max() <= 1
    assert [(frame, sample) for frame, sample, *_ in f.onsets] == [(o["frame"], o["sample"]) for o in want["onsets"]]


def test_the_notes_of_the_golden_signal_are_found():
    x, _ = soundfile.read(GOLDEN / "listen.wav", dtype="int16")
    f = listen.features(x / 32768)
    assert [round(o[1] / 32000, 1) for o in f.onsets] == [0.1, 0.4, 0.7, 0.9]
    assert abs(f.pitch[15] - 28) < 0.05 and abs(f.pitch[30] - 40.3) < 0.05
    # The chord's A, C and E are louder than all other pitch classes.
    assert set(np.argsort(f.chroma[60])[-3:]) == {9, 0, 4}
