"""The training items of the LM: masked history, replaced past; and its optimiser."""

import random

import numpy as np
import torch

from train.lm.tasks import ItemSampler


def sampler(seed):
    """An ItemSampler without songs."""
    p = ItemSampler.__new__(ItemSampler)
    p.rng, p.cards, p.rows = random.Random(seed), np.full(8, 1024), {"bass": [0, 1], "drums": [2, 3], "other": [4, 5, 6, 7]}
    return p


def test_masking_the_history_hides_drums_and_other_and_never_the_bass():
    seq = np.random.default_rng(0).integers(0, 1024, (8, 400))
    drums, other = [], []
    for seed in range(60):
        got = sampler(seed).mask_history(seq.copy())
        assert (got[:2] == seq[:2]).all()
        assert ((got == seq) | (got == 1024)).all(), "a token is kept or masked"
        for rows in ((2, 3), (4, 5, 6, 7)):
            masked = got[list(rows)] == 1024
            assert (masked == masked[0]).all(), "all books of a stem are masked together"
        drums.append((got[2] == 1024).mean())
        other.append((got[4] == 1024).mean())
    assert np.mean(np.array(drums) > 0) > 0.75 and np.mean(np.array(other) > 0) < 0.65
    assert np.mean(np.array(drums) == 1) > 0.25 and np.mean((np.array(drums) > 0) & (np.array(drums) < 1)) > 0.25


def test_a_replaced_past_is_not_in_the_loss_and_agrees_with_the_prefix():
    """Before `entry` a stem is a rest or another song's drums, in the window and (where known) in the prefix;
    nothing else changes."""
    rng = np.random.default_rng(1)
    rests, others = 0, 0
    for seed in range(80):
        p = sampler(seed)
        p.rest_codes = {"drums": [np.full((2, 60), 7)], "other": [np.full((4, 60), 7)]}
        p.window = lambda frames: (np.full((8, frames), 9), None, None)
        source, entry = rng.integers(10, 1024, (8, 1250)), np.zeros(8, int)
        prefix = np.where(np.arange(250) < 100, source[:, ::5], 1024)
        before, known = source.copy(), prefix.copy()
        p.replace_past(source, prefix, entry, ["drums", "other"])
        for rows in ([2, 3], [4, 5, 6, 7]):
            at = entry[rows[0]]
            assert (entry[rows] == at).all() and (source[rows, at:] == before[rows, at:]).all()
            assert (prefix[rows, 100:] == 1024).all() and (prefix[rows, :100] == source[rows, ::5][:, :100]).all()
            if at:
                assert len(np.unique(source[rows, :at])) == 1
                rests, others = rests + (source[rows[0], 0] == 7), others + (source[rows[0], 0] == 9)
        assert (source[:2] == before[:2]).all() and (prefix[:2] == known[:2]).all()
    assert rests > 5 and others > 2


def test_muon_computes_what_torchs_does_and_shares_its_state():
    from train.lm.muon import Muon, orthogonal
    torch.manual_seed(0)
    mine = [torch.nn.Parameter(torch.randn(*s)) for s in ((64, 32), (32, 96), (40, 40))]
    theirs = [torch.nn.Parameter(w.detach().clone()) for w in mine]
    a, b = Muon(mine, lr=1e-2), torch.optim.Muon(theirs, lr=1e-2, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for _ in range(10):
        for w, v in zip(mine, theirs):
            w.grad = torch.randn(w.shape)
            v.grad = w.grad.clone()
        a.step(), b.step()
    for w, v in zip(mine, theirs):  # torch's multiplies in bf16
        assert (w - v).abs().max() < 2e-3 * v.abs().max()
    size = torch.linalg.svdvals(orthogonal(torch.randn(64, 32)).float())
    assert 0.4 < size.min() and size.max() < 1.3
    b.load_state_dict(a.state_dict())  # a checkpoint of one is one of the other
