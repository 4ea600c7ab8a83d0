"""The music generator. Tests that need sample libraries, SoundFonts or mma are marked so (conftest.py)."""

import math
import random

import numpy as np
import pytest

from train.data import bass, charts, comp, drumtables, heldout, mix, mma, sampler, stats, style_table, theory
from train.data.mma_styles import BANDS
from train.data.song import Bar
from train.data.styles import STYLES

needs_samples = pytest.mark.needs("samples")
needs_soundfonts = pytest.mark.needs("soundfonts")
needs_mma = pytest.mark.needs("mma")


def bar(chords, drums, index=0, beats=4, triplet=False):
    return Bar(index, "verse", beats, triplet, chords, next_chord=chords[0][1], drums=drums)


KICK_SNARE = [(0, 36, 110, 0.0), (1, 38, 110, 0.0), (1.75, 36, 90, 0.0), (2.5, 36, 95, 0.0), (3, 38, 110, 0.0)]
TWO_CHORDS = [(0, theory.Chord(9, "min7")), (2, theory.Chord(2, "7"))]


def test_every_form_parses_and_every_held_out_chart_exists():
    for family, forms in charts.FORMS.items():
        for i in range(len(forms)):
            assert all(b and b[0][0] == 0 for b in charts.form(f"{family}-{i:02d}", 5))
    for name in heldout.CHARTS:
        family, i = name.rsplit("-", 1)
        assert int(i) < len(charts.FORMS[family]), name
        assert name not in charts.form_ids(family, False)


def test_the_table_of_styles_has_every_style_and_no_phrase_twice():
    assert {row[1] for row in style_table.ENTRIES} == set(STYLES)
    phrases = [(word, slow) for *_, slow, words in style_table.ENTRIES for word in words.split(", ")]
    assert len(set(phrases)) == len(phrases)
    assert style_table.DEFAULT in {row[0] for row in style_table.ENTRIES}


def test_an_entry_has_the_percentiles_and_common_charts_of_its_songs():
    plans = [(60.0 + i, f"blues-{0 if i < 60 else i % 6:02d}+blues-00+bridge-00") for i in range(100)] + [(300.0, "rock-01+rock-00+bridge-00"), (61.0, "pop909:001")]
    found = style_table.entry(("x", "twelve eight", "blues", True, "a, b c"), plans)
    assert (found["songs"], found["meter"], found["words"], found["slow"]) == (100, "12/8", ["a", "b c"], True)
    assert found["bpm"] == sorted(found["bpm"]) and abs(found["bpm"][2] - 109.5) < 0.11
    assert sum(c["songs"] for c in found["charts"]) == 100 and found["charts"][0]["songs"] > 60
    assert [c["minor"] for c in found["charts"]].count(True) == 1


def test_charts_are_written_in_sections_of_eight_bars():
    assert style_table.written("reggae-00", "reggae-02") == "[Verse] C G C G [Verse] [Chorus] C F G F [Chorus]"
    assert style_table.written("blues-00", "blues-00") == "C7 C7 C7 C7 F7 F7 C7 C7 G7 F7 C7 G7"
    assert style_table.written("pop-14", "pop-01").startswith("[Verse] Cadd9 G Am7 Fmaj7 C G F F [Chorus] C")


def test_a_bad_chord_token_is_named_in_the_error():
    with pytest.raises(ValueError, match="'8x'"):
        charts.parse_form("1 8x 4", 0)


def test_a_chord_has_its_name_and_pitch_classes():
    assert theory.name(theory.Chord(9, "min7")) == "Am7"
    assert theory.pitch_classes(theory.Chord(9, "min7")) == [9, 0, 4, 7]
    assert theory.name(theory.Chord(-1, "N")) == "N" and theory.pitch_classes(theory.Chord(-1, "N")) == []


@pytest.mark.parametrize("quality", list(theory.QUALITIES))
def test_a_voicing_has_only_chord_tones_in_range(quality):
    chord, last = theory.Chord(4, quality), None
    for _ in range(3):
        last = theory.voicing(chord, last, 50, 74, 4)
        assert all(50 <= p <= 74 and p % 12 in theory.pitch_classes(chord) for p in last)


@pytest.mark.parametrize("mode", list(bass.MODES))
def test_bass_modes_start_each_chord_and_stay_in_time_and_range(mode):
    rng = random.Random(3)
    line = bass.BassLine(rng)
    for k in range(8):
        b = bar(TWO_CHORDS, KICK_SNARE, k)
        notes = bass.MODES[mode](line, b, rng)
        assert notes == sorted(notes)
        assert all(0 <= n[0] < 4 and n[1] > 0 and 26 <= n[2] <= 60 for n in notes), (mode, notes)


def test_the_kick_mode_plays_on_the_kicks_and_starts_on_the_root():
    rng = random.Random(1)
    notes = bass.with_kick(bass.BassLine(rng), bar(TWO_CHORDS, KICK_SNARE), rng)
    onsets = {n[0] for n in notes}
    assert {0, 1.75, 2.5} <= onsets and notes[0][2] % 12 == 9


def test_snapping_moves_notes_only_to_free_kicks():
    b = bar(TWO_CHORDS, KICK_SNARE)
    assert [n[0] for n in bass.snap_to_kicks([(0, 1, 33, 90), (1.5, 1, 33, 90), (3.25, 0.5, 33, 90)], b)] == [0, 1.75, 3.25]


@pytest.mark.parametrize("mode", list(comp.MODES))
def test_comping_plays_only_chord_tones(mode):
    rng = random.Random(2)
    part = comp.Part(rng)
    for k in range(4):
        b = bar(TWO_CHORDS, KICK_SNARE, k)
        for at, length, midi, _ in comp.MODES[mode](part, b, rng):
            chord = bass.chord_at(b, at)
            if mode != "melody":
                assert midi % 12 in theory.pitch_classes(chord), (mode, at, midi)
            assert 0 <= at < 4.1 and length > 0


@pytest.mark.parametrize("table", list(drumtables.PATTERNS))
def test_drum_tables_stay_in_the_bar_and_repeat_with_the_seed(table):
    beats = {"waltz": 3, "jazzwaltz": 3, "six": 2}.get(table, 4)
    a = drumtables.bars(random.Random(5), table, beats, 4)
    assert a == drumtables.bars(random.Random(5), table, beats, 4)
    assert all(0 <= h[0] < beats and abs(h[3]) < 0.03 for b in a for h in b)


def test_processing_sets_the_level_and_keeps_the_onset():
    x = np.zeros(64000, np.float32)
    x[16000:40000] = np.sin(np.arange(24000) * 2 * math.pi * 110 / 32000) * 0.01
    chain = mix.random_chain(random.Random(4), "bass") | {"rms_db": -20.0, "floor_db": -75.0, "room_s": 0.2, "wet": 0.1}
    y = mix.process(x, chain, [1, 2]).astype(np.float32) / 32768
    assert np.abs(y).max() < 0.9
    assert -21.5 < 20 * np.log10(mix.active_rms(y)) < -18.5
    assert 0 < np.abs(y[:15000]).max() < 0.002  # only the noise floor before the onset
    assert abs(np.argmax(np.abs(y) > 0.02) - 16000) < 160
    assert np.array_equal(mix.process(x, chain, [1, 2]), mix.process(x, chain, [1, 2]))


def test_shares_are_hits_and_counts():
    assert stats.share_on([0.0, 1.0, 2.0], [0.01, 1.2], 0.03) == (1, 3)
    assert stats.in_chord([[0.0, 1, 57, 90], [1.1, 2, 58, 90]], [[0, "Am", 9, "min", [9, 0, 4]], [1, "C", 0, "maj", [0, 4, 7]]]) == (1, 2)


@needs_samples
@pytest.mark.parametrize("name", list(sampler.Bass.LAYERS))
def test_a_sampled_bass_sounds_at_the_requested_pitch(name):
    notes = [(k, k + 0.8, m, v) for k, (m, v) in enumerate([(28, 60), (33, 90), (40, 120), (45, 75), (50, 100)])]
    x = sampler.Bass(name).render(notes, 6 * 32000, 0.0, random.Random(1))
    for on, _, midi, _ in notes:
        seg = x[int((on + 0.05) * 32000):int((on + 0.75) * 32000)]
        power = np.abs(np.fft.rfft(seg * np.hanning(len(seg)), 1 << 17)) ** 2

        def comb(multiples):  # energy within 40 cents of multiples of the requested pitch
            f = 440 * 2 ** ((midi - 69) / 12) * np.array(multiples)
            return sum(power[int(h / 1.023 * 4.096):int(h * 1.023 * 4.096) + 1].sum() for h in f)

        total = power[int(25 * 4.096):int(4.096 * 440 * 2 ** ((midi - 69) / 12) * 6.4)].sum()
        assert comb([1, 2, 3, 4, 5, 6]) > 0.8 * total, (name, midi)  # the pitch or an octave above ...
        assert comb([1, 3, 5]) > 0.02 * comb([2, 4, 6]), (name, midi)  # ... and not an octave above


@needs_samples
def test_kit_hits_start_on_time_and_a_closed_hat_stops_the_open_one():
    hits = [(0.1, 46, 110), (0.6, 42, 100), (1.5, 36, 120)]
    x, rest = sampler.kit().render([*hits, (1.8, 64, 90)], 80000, random.Random(1))
    assert rest == [(1.8, 64, 90)]
    for t, _, _ in hits:
        at = int(t * 32000)
        assert np.abs(x[at:at + 160]).max() > 3 * np.abs(x[at - 320:at - 32]).max() + 1e-4
    alone, _ = sampler.kit().render([hits[0]], 80000, random.Random(1))
    after = slice(int(0.85 * 32000), int(1.2 * 32000))
    assert np.sum(x[after] ** 2) < np.sum(alone[after] ** 2)


@needs_samples
@needs_soundfonts
def test_a_song_does_not_depend_on_what_was_rendered_before():
    from train.data import corpus, song
    a = song.make(9, 3)
    first = corpus.render_song(a, 9, 3)[0]
    corpus.render_song(song.make(9, 4), 9, 4)
    again = corpus.render_song(song.make(9, 3), 9, 3)[0]
    assert all(np.array_equal(first[s], again[s]) for s in first)
    assert len(first["bass"]) == a["len"] and a["len"] % 640 == 0


@needs_samples
def test_only_named_styles_and_drummers_are_used():
    from train.data import song
    named = [song.make(9, i, styles=["twelve eight", "halfshuffle"]) for i in range(24)]
    assert {s["style"] for s in named} == {"twelve eight", "halfshuffle"} and all(s["triplet"] for s in named)
    assert len({s["style"] for s in (song.make(9, i) for i in range(24))}) > 6
    guests = [song.make(9, i, guests=1.0, drummers=["brushes"]) for i in range(24)]
    assert {s["drummer"] for s in guests} == {None, "brushes"} and sum(s["drummer"] == "brushes" for s in guests) > 12
    assert all(s["timbres"]["drums"] not in ("muldjordkit",) for s in guests if s["drummer"])


@needs_samples
def test_training_songs_use_nothing_that_is_held_out():
    from train.data import groove, song
    held = {r["id"] for r in groove.index() if r["held_out"]}
    for i in range(60):
        s = song.make(11, i)
        if s["split"] != "train":
            continue
        assert s["groove_source"] not in held
        assert not any(c in s["chart_source"] for c in heldout.CHARTS)
        assert not s["chart_source"].startswith("pop909:") or s["chart_source"][7:] not in heldout.POP909
        timbres = [s["timbres"]["bass"], s["timbres"]["drums"], *s["programs"]]
        for t in timbres:
            assert t not in heldout.BASSES + heldout.PROGRAMS + heldout.KITS and t[0] != "tim"


def test_every_tenth_mma_library_is_held_out_and_the_clock_control_knows_every_meter():
    from train.lm.controls import METERS
    assert heldout.MMA == sorted(BANDS)[4::10]
    assert all(b["meter"] in METERS and b["bpm"][0] < b["bpm"][1] for b in BANDS.values())


@needs_mma
def test_mma_plays_only_tones_of_each_chord():
    chords = [theory.Chord((5 * i) % 12, q) for i, q in enumerate(theory.QUALITIES)]
    bars = [bar([(0, c)], [], i) for i, c in enumerate(chords)]
    _, tracks = mma.play(mma.chart(bars, {0: "stdlib/basicrock:BasicRock"}, BANDS["basicrock"], 120, 1))
    harmony = [n for name, notes in tracks.items() if name.startswith("Chord") for n in notes]
    for i, c in enumerate(chords):
        played = {midi % 12 for on, _, _, midi, _ in harmony if i * 768 - 24 <= on < (i + 1) * 768 - 24}
        assert played and played <= set(theory.pitch_classes(c)), (c, played)


@needs_mma
def test_two_chords_split_a_bar_where_mma_counts_three_quarters_for_two_beats():
    band = BANDS["afro-cuban"]
    bars = [bar([(0, theory.Chord(0, "maj")), (1, theory.Chord(6, "maj"))], [], i, beats=2, triplet=True) for i in range(2)]
    marks, tracks = mma.play(mma.chart(bars, {0: "stdlib/afro-cuban:Afro-CubanSus"}, band, 70, 1))
    assert marks == [0, 576, 1152]
    late = {midi % 12 for name, notes in tracks.items() if name.startswith("Chord") for on, _, _, midi, _ in notes if on % 576 >= 288}
    assert late and late <= {6, 10, 1}


def test_off_beats_of_mma_are_quantized_and_strums_keep_their_spread():
    bars = [bar(TWO_CHORDS, [])]
    strum = [(2, 90, 0, 60, 80), (12, 90, 0, 64, 80), (22, 90, 0, 67, 80), (126, 180, 0, 60, 80)]
    swung, straight = (mma.split_into_bars(strum, bars, BANDS[b])[0] for b in ("swing", "bossanova"))
    assert [n[0] for n in swung] == [0, 0, 0, 2 / 3] and [n[0] for n in straight] == [0, 0, 0, 2 / 3]
    assert [round(n[5] * 192) for n in swung] == [0, 10, 20, 0]
    assert mma.quantize(1.75, BANDS["swing"]) == 1 + 2 / 3 and mma.quantize(1.75, BANDS["bossanova"]) == 1.75


def test_a_track_named_bass_without_a_bass_program_is_harmony():
    assert mma.is_bass("Bass", 26) and mma.is_bass("Walk-Main", 32) and not mma.is_bass("Bass-Sax", 66) and not mma.is_bass("Chord", 32)
    assert mma.most_similar(["SwingEnd", "Swing1End"], "Swing1Plus") == "Swing1End" and mma.most_similar([], "Swing") is None


@needs_samples
@needs_mma
def test_an_mma_song_repeats_with_the_seed_and_its_labels_are_consistent():
    from train.data import corpus, song
    ours = set(song.make(9, 3))
    for i in range(6):
        s = mma.make(9, i)
        assert set(s) == ours and s == mma.make(9, i)
        beats = {(12, 8): 4, (6, 8): 2}.get(tuple(s["meter"]), s["meter"][0])
        assert len(s["beats"]) == beats * len(s["downbeats"]) and s["len"] % 640 == 0
        assert abs(s["beats"][-1] - s["beats"][0] - (len(s["beats"]) - 1) * 60 / s["bpm"]) < 0.01
        held = s["groove_source"].split(":")[1] in heldout.MMA
        assert held == (s["split"] != "train")
        if s["split"] == "train":
            assert not any(c in s["chart_source"] for c in heldout.CHARTS)
            assert not s["chart_source"].startswith("pop909:") or s["chart_source"][7:] not in heldout.POP909
            assert not any(t in heldout.BASSES + heldout.PROGRAMS + heldout.KITS or t[0] == "tim" for t in [s["timbres"]["bass"], s["timbres"]["drums"], *s["programs"]])
        low = s["notes"]["bass"]
        assert all(a[1] <= b[0] and 26 <= a[2] <= 60 and a[3] >= 40 for a, b in zip(low, low[1:]))
        r = corpus.record(s, {}, 0)
        hits, count = stats.in_chord(r["notes"]["other"], r["chords"])
        assert hits >= 0.95 * count
        errors = stats.clock_error(r)
        assert np.all(np.abs(errors) < 40) and (not len(errors) or errors.std() < 8)
        for stem in ("bass", "drums", "other"):  # no note starts where its stem rests, up to the random timing
            assert all(any(a - 0.05 <= n[0] < b + 0.05 for a, b in s["present"][stem]) for n in s["notes"][stem])


@needs_samples
def test_songs_without_mma_do_not_depend_on_its_share():
    from train.data import corpus, song
    assert corpus.plan(9, 3) == corpus.plan(9, 3, 0.0, 0.0) == song.make(9, 3)
