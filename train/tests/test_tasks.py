"""What the LM practises: what it is made to forget."""

import random

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from train.lm.tasks import Practice  # noqa: E402


def practice(seed):
    p = Practice.__new__(Practice)
    p.rng, p.cards, p.rows = random.Random(seed), np.full(8, 1024), {"bass": [0, 1], "drums": [2, 3], "other": [4, 5, 6, 7]}
    return p


def test_a_band_forgets_itself_and_never_the_bass():
    seq = np.random.default_rng(0).integers(0, 1024, (8, 400))
    drums, other = [], []
    for seed in range(60):
        got = practice(seed).forget(seq.copy())
        assert (got[:2] == seq[:2]).all()
        assert ((got == seq) | (got == 1024)).all(), "nothing is told that was not played"
        for rows in ((2, 3), (4, 5, 6, 7)):
            gone = got[list(rows)] == 1024
            assert (gone == gone[0]).all(), "the books of a stem are forgotten together"
        drums.append((got[2] == 1024).mean())
        other.append((got[4] == 1024).mean())
    assert np.mean(np.array(drums) > 0) > 0.75 and np.mean(np.array(other) > 0) < 0.65
    assert np.mean(np.array(drums) == 1) > 0.25 and np.mean((np.array(drums) > 0) & (np.array(drums) < 1)) > 0.25
