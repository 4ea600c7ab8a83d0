"""Weights are judged on the same windows; an unheard bass changes the bass and nothing else."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from train.lm.judge import Exam
from train.lm.tasks import LIVE, Song

HOUSE = Path("models/house")


def tokens(folder: Path, frames: int) -> None:
    """One song of random codes, its bass once more on another instrument."""
    rng = np.random.default_rng(frames)
    label = {"id": "1", "split": "valid", "style": "funk", "meter": [4, 4], "bpm": 100, "instruments": {"bass": "a", "drums": "b", "other": ["pad"]}, "caption_tags": {"tempo": "slow", "mood": "warm", "density": "busy", "mode": "minor"}}
    np.savez(folder / "0-1.song.npz", beat=np.zeros(frames, int), tick=np.zeros(frames, int), chord=np.zeros(frames, int), rests=np.zeros(frames, int), label=json.dumps(label))
    for stem, books in (("bass", 2), ("drums", 2), ("other", 4), ("unheard", 2)):
        np.savez(folder / f"0-1.{stem}.npz", tokens=rng.integers(0, 1024, (books, frames)))
        (folder / f"{stem}.json").write_text(json.dumps({"silence": [3] * books}))


@pytest.mark.parametrize("frames", [2000, 900])
def test_only_the_bass_is_another(tmp_path, frames):
    tokens(tmp_path, frames)
    got = {}
    for bass in ("own", "unheard", "own again"):
        exam = Exam(str(tmp_path), "valid", json.loads((HOUSE / "config.json").read_text()), Tokenizer.from_file(str(HOUSE / "tokenizer.json")), seed=0)
        exam.song, exam.bass = exam.songs[0], bass.split()[0]
        exam.rng.seed(5)
        codes, controls, _ = exam.window(1250)
        assert codes.shape == (8, 1250) and controls.shape == (3, 1250)
        exam.rng.seed(5)
        got[bass] = codes, exam.batch(1, kind=LIVE, lag=8)
    own, unheard = got["own"][0], got["unheard"][0]
    whole = min(frames, 1250)
    assert (own[2:] == unheard[2:]).all() and (own[:2, :whole] != unheard[:2, :whole]).mean() > 0.99
    assert (own[:, whole:] == 3).all()
    assert np.isin(unheard[:2, :whole], np.load(Song.of(tmp_path / "0-1.song.npz", "unheard"))["tokens"]).all()
    for a, b in zip(got["own"][1], got["own again"][1]):
        assert all(torch.equal(a[n], b[n]) for n in a) if isinstance(a, dict) else torch.equal(a, b)
