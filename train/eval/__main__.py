"""`python -m train.eval --corpus DIR --model DIR --out DIR`: held-out songs, the true bass played to, every measure beside its controls.

Takes of each song: `truth`; `played` (true bass heard `--lag` frames late, clock and chart given); the same with no bass, with another
song's bass, without chords, with neither chords nor bass, and by ear (neither clock nor chords). `shuffled`: another song's stems held to this song. Without
`--model` only truth is judged: how good the measures are. README: train/eval/README.md.
"""

import argparse
import hashlib
import importlib.util
import json
import time
from pathlib import Path

import numpy as np

from . import beat, fad, grid, harmony, life, report
from . import text as style
from .runner import Runner
from .songs import Song, songs, whole

TAKES = ("played", "silent bass", "other bass", "no chords", "silent, no chords", "by ear")


class Ear:
    """Beats, chords and pitch of sounds, each heard once: the answers are kept in a folder by the sound's hash."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def hear(self, what: str, listen, x: np.ndarray):
        path = self.folder / f"{what}-{hashlib.sha1(np.ascontiguousarray(x, np.float32)).hexdigest()[:16]}.json"
        if not path.exists():
            path.write_text(json.dumps(listen(x), default=lambda a: np.asarray(a).tolist()))
        return json.loads(path.read_text())

    def beats(self, x):
        return self.hear("beats", beat.beats, x)

    def chords(self, x):
        return self.hear("chords", harmony.chords, x)

    def pitch(self, x):
        return self.hear(f"pitch-{harmony.pitch_by().split()[0]}", harmony.bass_pitch, x)


def judge(ear: Ear, song: Song, stems: dict[str, np.ndarray], bars: dict) -> dict:
    """Every measure of a take's drums and other (and bass where it has one) against a song's beat, bass, clock and chart; `bars`: grid.mean_bars."""
    beats = ear.beats(song.mix)
    chords = ear.chords(stems["other"])
    drums = grid.score(stems["drums"], song)
    heard, own, mean = grid.shape(stems["drums"], song), grid.shape(song.stems["drums"], song), bars.get(grid.kind(song))
    row = {f"beat_{s}": beat.score(beats, ear.beats(x)) for s, x in stems.items()}
    row |= {"har": harmony.har(ear.pitch(song.stems["bass"]), chords)}
    row |= {f"chord_{k}": v for k, v in harmony.chart_score(chords, song.chords, song.downbeats).items()}
    row["chord_fit"] = harmony.chart_fit(stems["other"], song.chords, song.downbeats)
    row |= {k if k == "onsets_s" else f"grid_{k}": v for k, v in drums.items()}
    row["phase"] = float(heard.any() and grid.phase(heard, own) == 0)
    row["bar"] = None if mean is None else float(heard.any() and grid.phase(heard, mean) == 0)
    row["rooted"] = harmony.rooted(song.label)
    row |= {f"rests_{s}": stability.rests(stems[s]) for s in ("drums", "other")}
    return row | {f"level_{s}_db": float(stability.db(np.sqrt((stems[s] ** 2).mean()))) for s in ("drums", "other")}


def halves(song: Song) -> float:
    """Phase of the first half of the true drums by their second: what `phase` gives where nothing but the music has changed."""
    bars = song.downbeats
    bar = round((bars[1] - bars[0]) / song.beat_s)
    at = int(bars[len(bars) // 2] * 32000)
    x = song.stems["drums"]
    return float(grid.phase(grid.profile(x[:at], bars[0], song.beat_s, bar), grid.profile(x[at:], 0.0, song.beat_s, bar)) == 0)


def play(player: Runner, takes: list[str], i: int, found: list[Song], out: Path, named: bool) -> dict[str, dict]:
    song, other = found[i], found[(i + 1) % len(found)]
    n, here = len(song.stems["bass"]), out / song.label["id"]
    bass = {"silent bass": np.zeros(n, np.float32), "silent, no chords": np.zeros(n, np.float32), "other bass": np.resize(other.stems["bass"], n)}
    text = f"{song.label['style']} drums" if named else None
    return {t: player.play(bass.get(t, song.stems["bass"]), here / t, None if t == "by ear" else song, chords="no chords" not in t, text=text) for t in takes}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--corpus", nargs="+", required=True)
    p.add_argument("--model", help="model directory")
    p.add_argument("--sideman", default="target/release/sideman", help="the program")
    p.add_argument("--split", default="test")
    p.add_argument("--songs", type=int, default=8)
    p.add_argument("--bass", help="only songs on this bass (`instruments.bass` of the corpus): electric-bass-yr was never trained on")
    p.add_argument("--on", metavar="BASS", help="the songs' basses are played anew on this sampled bass, note for note")
    p.add_argument("--seconds", type=float, default=30)
    p.add_argument("--lag", type=int, default=8, help="frames; −1: the whole bass is heard ahead")
    p.add_argument("--live", action="store_true", help="played by `sideman live` from file to file, not by `render`: what a model that anticipates needs")
    p.add_argument("--named", action="store_true", help="the band is told what each song's style is called, as a musician would: 'shuffle drums'")
    p.add_argument("--takes", nargs="*", default=list(TAKES), choices=TAKES)
    p.add_argument("--life", type=float, default=0, metavar="SECONDS", help="a long take of this length; 0: none")
    p.add_argument("--codecs", help="folder of codec checkpoints: token entropy of the long take")
    p.add_argument("--text", type=int, default=0, metavar="N", help="songs in straight 4/4 to play with three texts; 0: none")
    p.add_argument("--fad", action="store_true")
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--seed", type=int, default=7)
    p.add_argument("--out", required=True)
    a = p.parse_args()
    if a.codecs and not importlib.util.find_spec("torch"):
        raise SystemExit("--codecs: token entropy needs torch in this venv (train/eval/README.md)")
    if a.text and not a.model:
        print("--text without --model: only the classifier is judged")
    out = Path(a.out)
    ear = Ear(out / "heard")
    found = songs(a.corpus, a.split, a.songs, a.seconds, bass=a.bass, on=a.on)
    if len(found) < 2:
        raise SystemExit("--songs: at least 2, or nothing can be shuffled")
    player = Runner(a.sideman, a.model, a.lag if a.lag >= 0 else None, a.threads, a.seed, a.live) if a.model else None
    made = []
    for i, song in enumerate(found):
        start = time.time()
        made.append({"truth": song.stems} | (play(player, a.takes, i, found, out / "takes", a.named) if player else {}))
        print(f"{song.label['id']} {song.label['style']}: {time.time() - start:.0f} s to play {len(made[-1]) - 1} takes", flush=True)

    scores: dict[str, list[dict]] = {t: [] for t in ("truth", "shuffled truth", *(["played", "shuffled"] if "played" in made[0] else [])) }
    scores |= {t: [] for t in made[0] if t not in scores}
    bars = grid.mean_bars(songs(a.corpus, "train", 200, a.seconds))
    for i, song in enumerate(found):
        other = made[(i + 1) % len(found)]
        for take in scores:
            source = {"shuffled truth": other["truth"], "shuffled": other.get("played")}.get(take) or made[i][take]
            row = {"song": song.label["id"], "style": song.label["style"], "drums": song.label["groove_source"]} | judge(ear, song, source, bars)
            scores[take].append(row | ({"phase": halves(song)} if take == "truth" else {}))
        print(f"{song.label['id']}: judged", flush=True)

    lived = long_take(a, player, found[0], out) if a.life else {}
    distances = frechet(a, found, made) if a.fad else {}
    texts = {}
    if a.text:
        classifier, how = style.train(a.corpus)
        texts = {"classifier": how} | ({"takes": style.judge(classifier, player, songs(a.corpus, a.split, a.text, a.seconds, anyone=True), out / "takes")} if player else {})
    pictures = []
    from .spectrogram import plot
    for song, takes in list(zip(found, made))[:3]:
        pictures.append(f"{song.label['id']}.png")
        picture({t: s for t, s in takes.items() if t in ("truth", "played")}, song.downbeats[2], song.downbeats, out / pictures[-1])
    about = {"model": a.model, "split": a.split, "bass": a.on or a.bass or "all", "songs": len(found), "seconds": a.seconds, "lag": a.lag, "live": a.live, "named": a.named, "seed": a.seed, "bass pitch by": harmony.pitch_by()}
    print(report.write(out, about, scores, lived, distances, texts, pictures))


def long_take(a, player, song: Song, out: Path) -> dict:
    long = whole(song, a.corpus, a.life)
    bar_s = long.downbeats[1] - long.downbeats[0]
    stems = {f"truth {s}": long.stems[s] for s in ("drums", "other")}
    if player:
        stems |= {f"played {s}": x for s, x in player.play(long.stems["bass"], out / "takes" / song.label["id"] / "long", long).items()}
    rows = {}
    for name, x in stems.items():
        rows[name] = stability.score(x, long.downbeats[0], bar_s)
        if a.codecs:
            rows[name] |= stability.token_score(Path(a.codecs) / f"{name.split()[1]}.pt", x)
    return rows


def frechet(a, found: list[Song], made: list[dict]) -> dict:
    """Distance to the true stems of the same songs: of each take, of other songs' true stems, and of the wrong stem (the scale)."""
    if not fad.have():
        print("FAD left out: install the musicnn package and torch")
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
