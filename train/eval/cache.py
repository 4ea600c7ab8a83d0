"""Beats, chords and pitch of recordings, kept in a folder by the hash of the samples: each is analysed once."""

import hashlib
import json
from pathlib import Path

import numpy as np

from . import beat, harmony


class AnalysisCache:
    """Analyses of 32 kHz audio, one JSON file each in `folder`."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def cached(self, what: str, analyse, x: np.ndarray):
        """The result of `analyse(x)`, read from the folder if it is there."""
        path = self.folder / f"{what}-{hashlib.sha1(np.ascontiguousarray(x, np.float32)).hexdigest()[:16]}.json"
        if not path.exists():
            path.write_text(json.dumps(analyse(x), default=lambda a: np.asarray(a).tolist()))
        return json.loads(path.read_text())

    def beats(self, x):
        return self.cached("beats", beat.beats, x)

    def chords(self, x):
        return self.cached("chords", harmony.chords, x)

    def pitch(self, x):
        return self.cached(f"pitch-{harmony.pitch_by().split()[0]}", harmony.bass_pitch, x)
