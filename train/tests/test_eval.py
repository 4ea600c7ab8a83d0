"""The measures of train.eval on sounds with a known result. Measures that need madmom, Chordino or a model
are validated on true stems instead (train/eval/README.md)."""

import numpy as np
import pytest

from train.eval import fad, grid, harmony, report, songs, stability
from train.eval.onset import f_measure
from train.eval.pitch import cents, yin
from train.eval.classify import Classifier

RATE = 32000


def clicks(times, seconds, seed=0):
    """Noise bursts of 20 ms at the given times."""
    rng = np.random.default_rng(seed)
    x = np.zeros(int(seconds * RATE), np.float32)
    burst = rng.normal(0, 0.3, RATE // 20) * np.exp(-np.arange(RATE // 20) / (0.005 * RATE))
    for t in times:
        a = int(t * RATE)
        x[a:a + len(burst)] += burst[:len(x) - a]
    return x


def song(x, bpm=120.0, bar1=0.25, triplet=False):
    label = {"id": "x", "bpm": bpm, "meter": [4, 4], "triplet": triplet}
    beat = 60 / bpm
    beats = np.arange(bar1, len(x) / RATE, beat)
    return songs.Song(label, {"bass": x, "drums": x, "other": x}, beats, beats[::4], [])


def test_the_f_measure_counts_each_beat_once():
    assert f_measure(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 3.0]), 0.07) == 1
    assert f_measure(np.array([1.0, 2.0]), np.array([1.0, 1.01, 1.02, 2.0]), 0.07) == pytest.approx(2 * 2 / 6)
    assert f_measure(np.array([1.0]), np.array([1.2]), 0.07) == 0
    assert f_measure(np.array([]), np.array([1.0])) == 0


def test_steps_are_never_closer_than_the_minimum():
    for bpm in (50, 90, 120, 160, 200, 240):
        for triplet in (False, True):
            step = grid.step_s(60 / bpm, triplet)
            assert step >= grid.MIN_STEP and grid.chance(step) <= 0.5
            assert (60 / bpm / step) % (3 if triplet else 2) == pytest.approx(0, abs=1e-9)


def test_a_deviation_is_signed_and_relative_to_the_nearest_step():
    d = grid.deviations(np.array([0.25, 0.385, 0.49, 1.0]), 0.25, 0.125)
    assert d == pytest.approx([0, 0.01, -0.01, 0])


@pytest.mark.parametrize("late", [0.0, 0.012, 0.045])
def test_the_grid_score_measures_how_late_drums_are(late):
    times = 0.25 + np.arange(0, 9.5, 0.25)
    x = clicks(times + late, 10)
    got = grid.score(x, song(x))
    assert got["onsets_s"] == pytest.approx(3.8, abs=0.2)
    assert got["near"] == (1.0 if late < 0.02 else 0.0)
    assert got["bias_ms"] == pytest.approx(late * 1000, abs=4)
    assert np.argmax(got["histogram"]) == pytest.approx((late * 1000 + 40) // 5, abs=1) if late < 0.035 else sum(got["histogram"]) == 0


def test_random_onsets_are_near_the_grid_as_often_as_chance_predicts():
    rng = np.random.default_rng(1)
    d = grid.deviations(rng.uniform(0, 60, 20000), 0.25, 0.125)
    assert np.mean(np.abs(d) <= grid.WINDOW) == pytest.approx(grid.chance(0.125), abs=0.015)


def test_silent_drums_score_zero_on_the_grid():
    got = grid.score(np.zeros(10 * RATE, np.float32), song(np.zeros(10 * RATE, np.float32)))
    assert got["near"] == 0 and got["onsets_s"] == 0


@pytest.mark.parametrize("shift", range(4))
def test_the_phase_is_the_rotation_of_a_pattern_in_beats(shift):
    beats = np.array([0, 1, 1.5, 2.25, 3]) * 0.5
    bars = lambda s: clicks(np.sort(np.concatenate([0.25 + (beats + s * 0.5) + k * 2 for k in range(5)])), 14)  # noqa: E731
    a, b = (grid.profile(bars(s), 0.25, 0.5, 4) for s in (shift, 0))
    assert grid.phase(a, b) == shift


def test_the_mean_bar_of_songs_shows_the_phase_of_other_drums():
    beats = np.array([0, 1, 1.5, 2.25, 3]) * 0.5
    drums = lambda s: clicks(np.sort(np.concatenate([0.25 + (beats + s * 0.5) + k * 2 for k in range(5)])), 14)  # noqa: E731
    two = [song(drums(0)), song(drums(0))]
    bars = grid.mean_bars(two)
    assert set(bars) == {grid.meter(two[0])}
    assert [grid.phase(grid.song_profile(drums(s), two[0]), bars[grid.meter(two[0])]) for s in range(4)] == [0, 1, 2, 3]


@pytest.mark.parametrize("root", [9, 10])
def test_the_chart_fits_only_on_its_own_root(root):
    """Am7 without its root, as comping plays it, against a chart with Am7 or (wrong) Bbm7."""
    t = np.arange(8 * RATE) / RATE
    x = sum(np.sin(2 * np.pi * 440 * 2 ** ((m - 69) / 12) * h * t) / h for m in (60, 64, 67) for h in (1, 2, 3)).astype(np.float32)
    chart = [(0, 8, "m7", root, [(root + i) % 12 for i in (0, 3, 7, 10)])]
    assert harmony.chart_fit(x, chart, np.array([0, 2, 4, 6, 8.0])) == (1.0 if root == 9 else 0.0)
    assert harmony.chart_fit(np.zeros_like(x), chart, np.array([0, 2, 4, 6, 8.0])) == 0


@pytest.mark.parametrize("hz", [41.2, 55.0, 98.0, 196.0])
def test_yin_measures_a_bass_note_within_10_cents(hz):
    t = np.arange(2 * RATE) / RATE
    x = sum(0.3 / k * np.sin(2 * np.pi * k * hz * t) for k in (1, 2, 3, 4)).astype(np.float32)
    got, rough = yin(x)
    inner = slice(10, -10)
    assert np.abs(cents(got[inner], hz)).max() < 10 and rough[inner].max() < 0.15
    assert (yin(np.random.default_rng(0).normal(0, 0.1, RATE).astype(np.float32))[1] > 0.15).mean() > 0.9  # noise has none


@pytest.mark.parametrize("name,root,classes", [("C", 0, {0, 4, 7}), ("Bbm7", 10, {10, 1, 5, 8}), ("F#/A#", 6, {6, 10, 1}), ("Em7b5/B", 4, {4, 7, 10, 2})])
def test_chord_names_of_chordino_are_parsed(name, root, classes):
    assert harmony.tones(name) == (root, classes)


def test_har_is_the_share_of_frames_on_a_chord_tone():
    t = np.arange(0, 4, 0.01)
    hz = np.where(t < 2, 440 * 2 ** ((40 - 69) / 12), 440 * 2 ** ((42 - 69) / 12))  # E, then F#
    assert harmony.tones("N") is None
    assert harmony.har((t, hz), [(0, 4, "C")]) == pytest.approx(0.5)
    assert harmony.har((t, hz), [(0, 2, "C"), (2, 4, "N")]) == 1  # no chord: not counted
    assert harmony.har((t, hz), [(0, 4, "N")]) is None


def test_the_chart_score_counts_roots_thirds_and_tones_per_bar():
    chart = [(0, 2, "Dmaj7", 2, [2, 6, 9, 1]), (2, 4, "Am", 9, [9, 0, 4]), (4, 6, "G5", 7, [7, 2]), (6, 8, "NC", -1, [])]
    heard = [(0, 2, "F#m"), (2, 4, "A"), (4, 6, "Gm"), (6, 8, "C")]
    got = harmony.chart_score(heard, chart, np.array([0, 2, 4, 6, 8.0]))
    assert got["root"] == pytest.approx(2 / 3) and got["third"] == pytest.approx(1 / 3)
    assert got["tones"] == pytest.approx((3 / 3 + 2 / 3 + 2 / 3) / 3)
    assert harmony.chart_score([(0, 8, "N")], chart, np.array([0, 2, 4, 6, 8.0]))["root"] == 0


def test_the_chart_text_has_one_group_per_bar_and_commas_between_beats():
    label = {"id": "x", "bpm": 120.0, "meter": [4, 4], "triplet": False, "beats": list(np.arange(0.25, 4.25, 0.5)), "downbeats": [0.25, 2.25],
             "len": int(4.25 * RATE), "chords": [[0.25, "Am", 9, "min", [9, 0, 4]], [2.25, "F", 5, "maj", [5, 9, 0]], [3.75, "G", 7, "maj", [7, 11, 2]]]}
    raw = {s: np.zeros(int(4.25 * RATE), np.int16) for s in songs.STEMS}
    assert songs.excerpt(label, raw, 0.0, 4.25).chart() == "Am F,F,F,G"


def test_stability_measures_level_drift_repetition_and_silence():
    rng = np.random.default_rng(0)
    x = rng.normal(0, 0.1, 60 * RATE) * np.linspace(1, 0.1, 60 * RATE)
    assert stability.score(x, 0, 2)["drift_db_min"] < -10 and stability.score(x, 0, 2)["repeated"] < 0.1
    loop = np.tile(rng.normal(0, 0.1, 2 * RATE) * np.repeat(rng.uniform(0, 1, 32), 2000), 10)
    assert stability.score(loop, 0, 2)["repeated"] == 1
    assert stability.score(np.zeros(20 * RATE), 0, 2)["silent"] == 1
    assert stability.entropy(np.arange(256)) == pytest.approx(8) and stability.entropy(np.zeros(99, int)) == 0


def test_the_frechet_distance_of_gaussians_matches_the_formula():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 1, (20000, 4)), rng.normal(0, 2, (20000, 4)) + [3, 0, 0, 0]
    assert fad.distance(a, a) == pytest.approx(0, abs=1e-6)
    assert fad.distance(a, b) == pytest.approx(9 + 4 * (1 - 2) ** 2, rel=0.03)


def test_the_classifier_separates_gaussian_clusters():
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], 40)
    x = rng.normal(0, 1, (120, 10)) + 3 * np.eye(10)[y]
    assert np.mean([Classifier(x, y, 3).votes(x[i:i + 1]).argmax() == y[i] for i in range(120)]) > 0.95


def test_rooted_counts_only_roots_that_other_plays():
    chords = [[0.0, 0, 0, "m7", [0, 3, 7, 10]], [2.0, 0, 5, "7", [5, 9, 0, 3]], [4.0, 0, -1, "NC", []]]
    notes = {"other": [[0.0, 2.01, 63, 90], [0.0, 1.9, 67, 90], [2.1, 3.9, 65, 90], [4.5, 5.0, 60, 90]]}
    assert harmony.rooted({"chords": chords, "notes": notes, "len": 6 * RATE}) == 0.5
    assert harmony.rooted({"chords": chords[2:], "notes": notes, "len": 6 * RATE}) is None


def test_songs_are_grouped_by_feel_and_voicing():
    rows = [{"style": "swing", "rooted": 0.1, "har": 0.4}, {"style": "rock", "rooted": 0.9, "har": 0.8}, {"style": "rock", "rooted": 0.9, "har": 0.6}]
    page = report.by_group({"truth": rows, "played": rows}, "feel", report.feel)
    assert "| straight | 2 |" in page and "0.7" in page and "| swing | 1 |" in page
    page = report.by_group({"truth": rows}, "voicing", report.voicing)
    assert "| root in `other` | 2 |" in page and "| root left to the bass | 1 |" in page


def test_the_table_shows_only_measures_that_were_taken():
    page = report.table({"truth": [{"beat_drums": 1.0, "har": None}, {"beat_drums": 0.5, "har": 0.7}], "played": [{"beat_drums": 0.0}]})
    assert "| BEAT drums (F ±70 ms) | 0.75 | 0.00 |" in page and "70%" in page and "onsets" not in page
