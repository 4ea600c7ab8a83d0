"""Spectra with locked phases: magnitudes alone bring back a partial; noise keeps its power; frames only look back."""

import math

import numpy as np
import torch

from train.codec import locked
from train.codec.config import HOP, STEMS, codec_config, locked_config
from train.codec.model import synthesise
from train.codec.train_decoder import target, unsteadiness

N = 2048
CONFIG = {"n_fft": N, "hop": HOP, "max_log": 7.0, "phase": "locked", "noise_seed": 1}


def heads(x, share):
    """Log magnitudes of audio [samples], and one noise share for all bins."""
    log = torch.log(target(torch.from_numpy(x)[None].float(), N).abs() + 1e-6)
    return log, torch.full_like(log, share)


def test_two_partials_keep_level_and_frequency_without_their_phases():
    t = np.arange(64000) / 32000
    x = 0.3 * np.sin(2 * np.pi * 441.3 * t) + 0.1 * np.sin(2 * np.pi * 1234.5 * t + 1)
    y = synthesise(*heads(x, -40.0), CONFIG)[0].numpy()[16000:48000]
    assert abs(20 * math.log10(y.std() / x.std())) < 0.2
    spectrum = np.abs(np.fft.rfft(y * np.hanning(len(y))))
    for hz in (441.3, 1234.5):
        near = slice(int(hz) - 20, int(hz) + 20)
        assert abs(np.argmax(spectrum[near]) + near.start - hz) < 1, "bins are 1 Hz apart"


def test_random_phases_lose_what_locked_phases_keep():
    t = np.arange(64000) / 32000
    x = sum(0.1 * np.sin(2 * np.pi * 220 * k * t) / k for k in range(1, 12))
    log, share = heads(x, -40.0)
    random = torch.rand_like(log) * 2 * math.pi
    lost = synthesise(log, random, {**CONFIG, "phase": "predicted"})[0].numpy()[16000:48000].std()
    assert 20 * math.log10(lost / x.std()) < -5
    assert 20 * math.log10(synthesise(log, share, CONFIG)[0].numpy()[16000:48000].std() / x.std()) > -0.5


def test_below_the_first_locked_bin_the_given_phases_are_kept():
    x = np.random.default_rng(1).normal(0, 0.1, 64000)
    truth = target(torch.from_numpy(x)[None].float(), N)
    log, given = torch.log(truth.abs() + 1e-6), 128
    second = torch.cat([truth.angle()[..., :given], torch.zeros_like(log[..., given:])], -1)
    y = synthesise(log, second, CONFIG | {"locked_from": given})[0].numpy()
    low = lambda v: np.fft.irfft(np.fft.rfft(v)[:3600], 64000)[16000:48000]  # noqa: E731  below 1800 Hz
    assert np.abs(low(y) - low(x)).max() < 0.02 * np.abs(low(x)).max()
    high = lambda v: np.fft.irfft(np.r_[np.zeros(4400), np.fft.rfft(v)[4400:]], 64000)[16000:48000]  # noqa: E731
    assert np.abs(high(y) - high(x)).max() > 0.5 * np.abs(high(x)).max(), "other phases"


def test_noise_has_the_power_that_its_median_says():
    x = np.random.default_rng(0).normal(0, 0.1, 96000)
    log, share = heads(x, 40.0)
    median = log.exp().pow(2).mean(1, keepdim=True).mul(1 / locked.MEDIAN_POWER).log().mul(0.5).expand_as(log)
    y = synthesise(median, share, CONFIG)[0].numpy()[16000:80000]
    assert abs(20 * math.log10(y.std() / x.std())) < 0.3


def test_a_phase_depends_on_the_frames_up_to_its_own():
    log = torch.randn(1, 30, N // 2 + 1)
    other = log.clone()
    other[:, 20:] += torch.randn(1, 10, N // 2 + 1)
    a, b = locked.lock(log, N, HOP), locked.lock(other, N, HOP)
    assert (a[:, :20] == b[:, :20]).all() and (a[:, 20:] != b[:, 20:]).any()


def test_partials_are_steady_and_noise_is_not():
    t = np.arange(64000) / 32000
    tone, noise = (torch.from_numpy(x)[None].float() for x in (np.sin(2 * np.pi * 440 * t), np.random.default_rng(0).normal(0, 0.1, 64000)))
    assert unsteadiness(target(tone, N))[0, 20:-20, 26:31].mean() < 0.1
    assert unsteadiness(target(noise, N))[0, 20:-20].mean() > 0.6


def test_a_decoder_with_locked_phases_looks_ahead_no_further():
    for stem in STEMS:
        before = codec_config(stem)
        assert locked_config(before, stem)["look_ahead"] == before["look_ahead"], stem
