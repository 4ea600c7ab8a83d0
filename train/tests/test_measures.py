"""Measures of coded sound: each separates the good from the bad on signals whose answer is known."""

import numpy as np

from train.codec import measures

T = np.arange(96000) / 32000
NOISE = np.random.default_rng(0).normal(0, 0.1, len(T)).astype(np.float32)
CHORD = sum(0.1 * np.sin(2 * np.pi * hz * T) for hz in (1100.0, 1388.0, 1650.0)).astype(np.float32)


def test_partials_have_a_higher_crest_than_noise():
    assert measures.crest(CHORD, 1000, 3000) > 10 + measures.crest(NOISE, 1000, 3000) / 2
    assert 5 < measures.crest(NOISE, 3000, 6000) < 9
    assert measures.crest(NOISE, 3000, 6000) < measures.crest(NOISE + 3 * np.sin(2 * np.pi * 4000 * T), 3000, 6000)


def test_levels_are_those_that_were_changed():
    levels = measures.level_errors(NOISE, 0.5 * NOISE)
    assert np.allclose(levels, -6.02, atol=0.01)
    assert np.isnan(measures.level_errors(CHORD, CHORD)[-1]), "a band without sound has no level"


def test_the_distance_is_zero_for_the_same_sound_and_grows_with_noise():
    assert measures.log_spectral_distance(CHORD, CHORD, 1000, 3000) == 0
    near, far = (measures.log_spectral_distance(NOISE, NOISE + k * NOISE[::-1], 1000, 3000) for k in (0.1, 1.0))
    assert 0 < near < far


def test_a_buzz_is_a_tonal_line():
    buzz = NOISE + 0.02 * sum(np.sin(2 * np.pi * hz * T) for hz in range(5000, 10000, 100))
    assert measures.tonal_lines(buzz) > measures.tonal_lines(NOISE) + 3


def test_attack_times_are_those_of_the_envelope():
    quick, slow = np.zeros(64000), np.zeros(64000)
    onsets = np.array([0.5, 1.0, 1.5])
    for t in onsets:
        at = int(t * 32000)
        for x, rise in ((quick, 32), (slow, 960)):
            n = np.arange(3200)
            x[at:at + 3200] += np.minimum(1, n / rise) * np.exp(-n / 3200) * np.sin(n * 0.5) * 0.5
    a, b = measures.attack_times(quick, slow, onsets)
    assert len(a) == 3 and np.median(a) < 5 and 15 < np.median(b) < 35
