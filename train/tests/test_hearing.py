"""The set of unmet recordings, and the scores of train.eval.hearing and listening, on labels with a known answer."""

import json

import numpy as np
import pytest
import soundfile

from train.eval import hearing, listening, material, report

RATE = 32000


def label(beats, per_bar=4, chords=(), **more):
    """Labels of a recording that ends a beat after its last beat."""
    beats = [float(b) for b in beats]
    end = beats[-1] + beats[-1] - beats[-2]
    return {"id": "x", "kind": "line", "sound": "test", "stems": ["bass"], "meter": [per_bar, 4], "triplet": False, "bpm": 60 * len(beats) / (end - beats[0]),
            "drift": "none", "bar1": beats[0], "end": end, "len": int((end + 0.5) * RATE) // 640 * 640, "beats": beats, "downbeats": beats[::per_bar],
            "chords": [list(c) for c in chords]} | more


@pytest.fixture
def make(tmp_path):
    """Writes a recording of silence with the given labels and reads it as an item."""
    def write(**labels):
        name = labels["id"]
        (tmp_path / "labels").mkdir(exist_ok=True)
        (tmp_path / "audio" / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / "labels" / f"{name}.json").write_text(json.dumps(labels))
        soundfile.write(tmp_path / "audio" / name / "bass.wav", np.zeros(labels["len"], np.int16), RATE)
        return material.item(tmp_path, name)
    return write


CHORDS = [[0.5, "C", 0, "maj", [0, 4, 7]], [2.5, "Am", 9, "min", [9, 0, 4]], [4.5, "G", 7, "maj", [7, 11, 2]]]
STEADY = 0.5 + 0.5 * np.arange(12)
DRIFTING = 0.5 + np.cumsum(np.concatenate([[0], np.linspace(0.5, 0.6, 31)]))


def beats_at(times, per_bar=4):
    return {"beats": [{"time": float(t), "bar": i // per_bar + 1, "beat": i % per_bar + 1} for i, t in enumerate(times)]}


def test_items_are_chosen_by_kind_and_name(make, tmp_path):
    make(**label(STEADY, id="line-1"))
    make(**label(STEADY, id="odd-1", kind="odd"))
    assert [i.name for i in material.items(tmp_path, {"line", "odd"})] == ["line-1", "odd-1"]
    assert [i.name for i in material.items(tmp_path, {"odd"})] == ["odd-1"]
    assert [i.name for i in material.items(tmp_path, {"line", "odd"}, ["lin"])] == ["line-1"]


def test_stems_that_a_recording_lacks_are_silent(make):
    found = make(**label(STEADY))
    assert all(len(x) == len(found.stems["bass"]) and not x.any() for x in found.stems.values())


def test_a_chart_has_a_group_of_chords_per_bar_also_where_the_tempo_drifts(make):
    chords = [[DRIFTING[0], "C", 0, "maj", [0, 4, 7]], [DRIFTING[6], "Am", 9, "min", [9, 0, 4]], [DRIFTING[28], "N", -1, "N", []]]
    assert make(**label(DRIFTING, chords=chords)).chart() == "C C,C,Am,Am Am Am Am Am Am NC"


def test_a_position_is_in_beats_whatever_the_tempo_does(make):
    found = make(**label(DRIFTING))
    assert found.position(DRIFTING) == pytest.approx(np.arange(32))
    assert found.position([(DRIFTING[30] + DRIFTING[31]) / 2]) == pytest.approx([30.5])
    assert found.position([DRIFTING[0] - 0.25, DRIFTING[31] + 1.2]) == pytest.approx([-0.5, 33.0])


def test_a_label_track_has_a_line_per_beat_and_names_bar_and_beat(make):
    lines = make(**label(STEADY[:6], per_bar=3)).beat_labels().splitlines()
    assert [line.split("\t")[1] for line in lines] == ["1.1", "1.2", "1.3", "2.1", "2.2", "2.3"]
    assert [float(line.split("\t")[0]) for line in lines] == pytest.approx(STEADY[:6])


@pytest.mark.parametrize("name,root,third", [("C", 0, 4), ("Bbm7", 10, 3), ("F#/A", 6, 4), ("Ebmaj7", 3, 4), ("Dm7b5", 2, 3), ("Gsus4", 7, None), ("A5", 9, None), ("Cdim", 0, 3), ("B7", 11, 4), ("G♯", 8, 4), ("EmMaj7", 4, 3)])
def test_chord_names_give_root_and_third(name, root, third):
    assert listening.parse(name) == (root, third)


@pytest.mark.parametrize("name", ["N", "NC", "", "?"])
def test_no_chord_has_no_root(name):
    assert listening.parse(name) is None


def test_heard_beats_are_right_within_70_ms(make):
    found = make(**label(STEADY))
    assert listening.beats(beats_at(STEADY + 0.06), found) == {"beats": 1.0, "downbeats": 1.0, "beats_any": 1.0, "tempo": 1.0}
    assert listening.beats(beats_at(STEADY + 0.08), found)["beats"] == 0
    assert listening.beats({}, found) == {"beats": 0.0, "downbeats": 0.0, "beats_any": 0.0, "tempo": 0.0}


def test_half_the_beats_are_another_level_of_the_same_beat(make):
    half = listening.beats(beats_at(STEADY[::2]), make(**label(STEADY)))
    assert half["beats_any"] == 1 and half["beats"] < 0.7 and half["tempo"] == 0


def test_bar_lines_a_beat_late_are_wrong_while_the_beats_are_right(make):
    heard = beats_at(STEADY)
    for b in heard["beats"]:
        b["beat"] = b["beat"] % 4 + 1
    row = listening.beats(heard, make(**label(STEADY)))
    assert row["beats"] == 1 and row["downbeats"] == 0


def test_following_is_scored_from_a_bar_on(make):
    late = DRIFTING.copy()
    late[:16] += 0.2
    row = listening.follow(beats_at(late), make(**label(DRIFTING)))
    assert row == {"within_30": 1.0, "within_70": 1.0, "slips": 0.0}
    assert listening.follow(beats_at(late), make(**label(DRIFTING)), 4)["within_70"] < 1


def test_a_beat_too_many_is_a_slip(make):
    extra = np.sort(np.append(DRIFTING, DRIFTING[20] + 0.25))
    assert listening.follow(beats_at(extra), make(**label(DRIFTING)))["slips"] == 1
    assert listening.follow({}, make(**label(DRIFTING)))["slips"] is None


def test_heard_chords_are_compared_by_bar(make):
    found = make(**label(STEADY, chords=CHORDS))
    right = {"chords": [{"time": c[0], "name": c[1]} for c in CHORDS]}
    assert listening.chords(right, found) == {"root": 1.0, "third": 1.0, "root_early": 1.0}
    wrong_third = {"chords": [{"time": 0.5, "name": "Cm"}, {"time": 2.5, "name": "Asus4"}, {"time": 4.5, "name": "G"}]}
    row = listening.chords(wrong_third, found)
    assert row["root"] == 1 and row["third"] == pytest.approx(2 / 3)


def test_a_chord_known_after_the_second_beat_is_not_early(make):
    late = {"chords": [{"time": c[0] + 0.6, "name": c[1]} for c in CHORDS]}
    row = listening.chords(late, make(**label(STEADY, chords=CHORDS)))
    assert row["root"] == 1 and row["root_early"] == 0


def hz(midi):
    return 440 * 2 ** ((midi - 69) / 12)


def test_a_bass_is_in_the_chord_when_its_pitch_class_is(make):
    found = make(**label(STEADY, chords=CHORDS))
    assert hearing.in_chord(([0.7, 1.0, 2.7], [hz(36), hz(40), hz(38)]), found) == pytest.approx(2 / 3)
    assert hearing.in_chord(([], []), found) is None


def test_the_root_on_the_one_is_the_pitch_after_the_bar_line(make):
    found = make(**label(STEADY, chords=CHORDS))
    t = np.arange(0, 6.5, 0.02)
    roots = np.where(t < 2.5, hz(36), np.where(t < 4.5, hz(45), hz(38)))  # a fifth in the last bar
    assert hearing.root_on_one((t, roots), found) == pytest.approx(2 / 3)
    assert hearing.root_on_one((t[t > 2], roots[t > 2]), found) == pytest.approx(1 / 3)


def test_drums_that_drift_with_the_beats_are_on_the_clock(make):
    found = make(**label(DRIFTING))
    x = np.zeros(found.label["len"], np.float32)
    burst = np.random.default_rng(0).normal(0, 0.3, 1600) * np.exp(-np.arange(1600) / 160)
    for t in DRIFTING:
        x[int(t * RATE):int(t * RATE) + 1600] += burst.astype(np.float32)
    assert hearing.near_clock(x, found) == 1.0
    assert hearing.near_clock(np.roll(x, int(0.055 * RATE)), found) < 0.2
    assert hearing.near_clock(np.zeros_like(x), found) is None


def test_the_bootstrap_interval_contains_the_mean_and_is_reproducible():
    values = list(np.random.default_rng(1).normal(0.5, 0.1, 40))
    low, high = report.interval(values)
    assert low < np.mean(values) < high and 0.03 < high - low < 0.1 and report.interval(values) == (low, high)
    assert report.interval([0.4]) == (0.4, 0.4)


def test_the_table_averages_the_seeds_of_a_recording_first():
    rows = [{"item": "a", "seed": 7, "har": 0.0}, {"item": "a", "seed": 11, "har": 0.0}, {"item": "b", "seed": 7, "har": 1.0}]
    assert hearing.by_item(rows, "har") == [0.0, 1.0]
    assert "0.50" in hearing.table({"played": rows}) and "slips" not in hearing.table({"played": rows})


def test_recordings_whose_true_drums_madmom_misreads_do_not_count_as_readable():
    truth = [{"item": "a", "beat": 0.95}, {"item": "b", "beat": 0.67}]
    played = [{"item": "a", "beat": 0.3}, {"item": "b", "beat": 0.9}, {"item": "a", "har": 1.0}]
    assert [r.get("beat_readable") for r in hearing.readable(played, truth)] == [0.3, None, None]
