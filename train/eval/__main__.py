"""Evaluates a model on held-out songs.

    python -m train.eval --corpus DIR --model DIR --out DIR

Method: train/eval/README.md. Takes of each song: `truth` (its own stems); `played` (generated for its bass,
which is `--lag` frames late, with clock and chart); the same with a silent bass, with another song's bass,
without chords, with neither bass nor chords, and `by ear` (only the bass). `shuffled` is another song's take
scored against this song. Without `--model` only the true stems are scored, which shows how good the measures
are.
"""

import argparse
import importlib.util
import json
import time
from pathlib import Path

import numpy as np

from . import beat, fad, grid, harmony, report, stability
from . import text_following
from .cache import AnalysisCache
from .runner import Runner
from .songs import Song, looped, songs

TAKES = ("played", "silent bass", "other bass", "no chords", "silent, no chords", "by ear")


def score(cache: AnalysisCache, song: Song, stems: dict[str, np.ndarray], bars: dict) -> dict:
    """All measures of a take against a song's beat, bass, clock and chart; `bars`: the result of
    grid.mean_bars."""
    beats = cache.beats(song.mix)
    chords = cache.chords(stems["other"])
    drums = grid.score(stems["drums"], song)
    played, own, mean = grid.song_profile(stems["drums"], song), grid.song_profile(song.stems["drums"], song), bars.get(grid.meter(song))
    row = {f"beat_{s}": beat.score(beats, cache.beats(x)) for s, x in stems.items()}
    row |= {"har": harmony.har(cache.pitch(song.stems["bass"]), chords)}
    row |= {f"chord_{k}": v for k, v in harmony.chart_score(chords, song.chords, song.downbeats).items()}
    row["chord_fit"] = harmony.chart_fit(stems["other"], song.chords, song.downbeats)
    row |= {k if k == "onsets_s" else f"grid_{k}": v for k, v in drums.items()}
    row["phase"] = float(played.any() and grid.phase(played, own) == 0)
    row["bar"] = None if mean is None else float(played.any() and grid.phase(played, mean) == 0)
    row["rooted"] = harmony.rooted(song.label)
    row |= {f"rests_{s}": stability.rests(stems[s]) for s in ("drums", "other")}
    return row | {f"level_{s}_db": float(stability.db(np.sqrt((stems[s] ** 2).mean()))) for s in ("drums", "other")}


def halves(song: Song) -> float:
    """Whether the first half of the true drums has the phase of the second half: the best that `phase` can be
    expected to reach."""
    bars = song.downbeats
    bar = round((bars[1] - bars[0]) / song.beat_s)
    at = int(bars[len(bars) // 2] * 32000)
    x = song.stems["drums"]
    return float(grid.phase(grid.profile(x[:at], bars[0], song.beat_s, bar), grid.profile(x[at:], 0.0, song.beat_s, bar)) == 0)


def make_takes(runner: Runner, takes: list[str], i: int, found: list[Song], out: Path, name_style: bool) -> dict[str, dict]:
    """The generated stems of each take of song `i`."""
    song, other = found[i], found[(i + 1) % len(found)]
    n, here = len(song.stems["bass"]), out / song.label["id"]
    bass = {"silent bass": np.zeros(n, np.float32), "silent, no chords": np.zeros(n, np.float32), "other bass": np.resize(other.stems["bass"], n)}
    text = f"{song.label['style']} drums" if name_style else None
    return {t: runner.accompany(bass.get(t, song.stems["bass"]), here / t, None if t == "by ear" else song, chords="no chords" not in t, text=text) for t in takes}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--corpus", nargs="+", required=True, help="folders of rendered music")
    p.add_argument("--model", help="model directory")
    p.add_argument("--sideman", default="target/release/sideman", help="the program")
    p.add_argument("--split", default="test", choices=["train", "valid", "test"])
    p.add_argument("--songs", type=int, default=8, help="number of songs")
    p.add_argument("--bass", help="only songs with this bass (`instruments.bass` of the corpus); electric-bass-yr is held out from training")
    p.add_argument("--replay-bass", metavar="BASS", help="render the songs' bass lines on this sampled bass, note for note")
    p.add_argument("--seconds", type=float, default=30, help="length of an excerpt")
    p.add_argument("--lag", type=int, default=8, help="frames by which the bass is late; −1: the whole bass is known in advance")
    p.add_argument("--live", action="store_true", help="use `sideman live` from file to file instead of `sideman render`; needed for a model that anticipates")
    p.add_argument("--name-style", action="store_true", help="pass the song's style as text, for example 'shuffle drums'")
    p.add_argument("--takes", nargs="*", default=list(TAKES), choices=TAKES, help="generated takes; the default is all")
    p.add_argument("--long-take", type=float, default=0, metavar="SECONDS", help="also a take of this length, scored for stability; 0: none")
    p.add_argument("--codecs", help="folder of codec checkpoints, for the token entropy of the long take")
    p.add_argument("--text", type=int, default=0, metavar="N", help="also N songs in straight 4/4, each with three texts; 0: none")
    p.add_argument("--fad", action="store_true", help="also FAD-musicnn")
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--seed", type=int, default=7)
    p.add_argument("--out", required=True)
    for old, new, options in (("--on", "replay_bass", {}), ("--named", "name_style", {"action": "store_true"}), ("--life", "long_take", {"type": float})):
        p.add_argument(old, dest=new, default=argparse.SUPPRESS, help=argparse.SUPPRESS, **options)  # names before December 2026
    a = p.parse_args()
    if a.codecs and not importlib.util.find_spec("torch"):
        raise SystemExit("--codecs: token entropy needs torch in this environment (train/eval/README.md)")
    if a.text and not a.model:
        print("--text without --model: only the classifier is scored")
    out = Path(a.out)
    cache = AnalysisCache(out / "analysed")
    found = songs(a.corpus, a.split, a.songs, a.seconds, bass=a.bass, replay_bass=a.replay_bass)
    if len(found) < 2:
        raise SystemExit("--songs: at least 2 are needed for the shuffled takes")
    runner = Runner(a.sideman, a.model, a.lag if a.lag >= 0 else None, a.threads, a.seed, a.live) if a.model else None
    made = []
    for i, song in enumerate(found):
        start = time.time()
        made.append({"truth": song.stems} | (make_takes(runner, a.takes, i, found, out / "takes", a.name_style) if runner else {}))
        print(f"{song.label['id']} {song.label['style']}: {time.time() - start:.0f} s for {len(made[-1]) - 1} takes", flush=True)

    scores: dict[str, list[dict]] = {t: [] for t in ("truth", "shuffled truth", *(["played", "shuffled"] if "played" in made[0] else [])) }
    scores |= {t: [] for t in made[0] if t not in scores}
    bars = grid.mean_bars(songs(a.corpus, "train", 200, a.seconds))
    for i, song in enumerate(found):
        other = made[(i + 1) % len(found)]
        for take in scores:
            source = {"shuffled truth": other["truth"], "shuffled": other.get("played")}.get(take) or made[i][take]
            row = {"song": song.label["id"], "style": song.label["style"], "drums": song.label["groove_source"]} | score(cache, song, source, bars)
            scores[take].append(row | ({"phase": halves(song)} if take == "truth" else {}))
        print(f"{song.label['id']}: scored", flush=True)

    long = long_take(a, runner, found[0], out) if a.long_take else {}
    distances = frechet(a, found, made) if a.fad else {}
    texts = {}
    if a.text:
        classifier, how = text_following.train(a.corpus)
        texts = {"classifier": how} | ({"takes": text_following.evaluate(classifier, runner, songs(a.corpus, a.split, a.text, a.seconds, straight_44=True), out / "takes")} if runner else {})
    pictures = []
    from .spectrogram import plot
    for song, takes in list(zip(found, made))[:3]:
        pictures.append(f"{song.label['id']}.png")
        plot({t: s for t, s in takes.items() if t in ("truth", "played")}, song.downbeats[2], song.downbeats, out / pictures[-1])
    about = {"model": a.model, "split": a.split, "bass": a.replay_bass or a.bass or "all", "songs": len(found), "seconds": a.seconds, "lag": a.lag, "live": a.live, "name_style": a.name_style, "seed": a.seed, "bass pitch by": harmony.pitch_by()}
    print(report.write(out, about, scores, long, distances, texts, pictures))


def long_take(a, runner, song: Song, out: Path) -> dict:
    """Stability scores of a long take and of the true stems, looped to the same length."""
    long = looped(song, a.corpus, a.long_take)
    bar_s = long.downbeats[1] - long.downbeats[0]
    stems = {f"truth {s}": long.stems[s] for s in ("drums", "other")}
    if runner:
        stems |= {f"played {s}": x for s, x in runner.accompany(long.stems["bass"], out / "takes" / song.label["id"] / "long", long).items()}
    rows = {}
    for name, x in stems.items():
        rows[name] = stability.score(x, long.downbeats[0], bar_s)
        if a.codecs:
            rows[name] |= stability.token_score(Path(a.codecs) / f"{name.split()[1]}.pt", x)
    return rows


def frechet(a, found: list[Song], made: list[dict]) -> dict:
    """Distance to the true stems of these songs: of each take, of other songs' true stems, and of the other
    stem (for scale)."""
    if not fad.available():
        print("--fad: left out, it needs the packages musicnn and torch")
        return {}
    others = songs(a.corpus, "valid", a.songs, a.seconds)
    rows = {}
    for stem, wrong in (("drums", "other"), ("other", "drums")):
        truth = fad.embed([s.stems[stem] for s in found])
        rows[stem] = {"windows": len(truth), "other true songs": fad.distance(truth, fad.embed([s.stems[stem] for s in others])),
                      f"true {wrong}": fad.distance(truth, fad.embed([s.stems[wrong] for s in found]))}
        rows[stem] |= {t: fad.distance(truth, fad.embed([m[t][stem] for m in made])) for t in made[0] if t != "truth"}
    return rows


if __name__ == "__main__":
    main()
