"""Measures whether drums follow a change of the text in mid-song.

    python -m train.eval.text_change --corpus DIR --model DIR --out DIR

`sideman live` gets, file to file, a minute of a held-out song's bass in straight 4/4 and a text. At the bar
line nearest to the middle, OSC sets another text. The classifier of text_following.py identifies the drums before the
change and from two bars after it on. The control is a take without a change.
"""

import argparse
import json
import socket
import subprocess
from pathlib import Path

import numpy as np
import soundfile

from examples.rig import osc, read

from . import text_following
from .runner import weights_stamp
from .songs import RATE, Song, looped, songs

SECONDS, WAIT = 60, 2  # length of a take; bars after the change that are not classified


def play(sideman: list[str], model: str, song: Song, out: Path, first: str, then: str, bar: int) -> np.ndarray:
    """The drums (float32, 32 kHz) with text `first`, and from bar `bar` (the first is 1) with `then`. Raises
    RuntimeError with the program's error message."""
    out.mkdir(parents=True, exist_ok=True)
    command = [*sideman, "--from", str(out / "in.wav"), "--to", str(out / "to"), "--osc", "127.0.0.1:0", "--wait", "--text", first,
               "--tempo", f"{song.quarters:.4f}", "--bar1", f"{song.downbeats[0]:.5f}", "--chords", song.chart()]
    made, key = out / "command.json", {"command": command, "then": then, "bar": bar, "model": weights_stamp(model)}
    if not (made.exists() and json.loads(made.read_text()) == key):
        soundfile.write(out / "in.wav", song.stems["bass"], RATE, subtype="FLOAT")
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        output = []
        for line in process.stderr:
            output.append(line)
            if line.startswith("OSC: "):
                break
        else:
            raise RuntimeError("".join(output))
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        client.connect(("127.0.0.1", int(output[-1].rsplit(":", 1)[1])))
        client.settimeout(10)
        if then != first:
            client.send(osc("/jam/text", then, f"bar {bar}"))
        client.send(osc("/jam/ping"))
        while (answer := read(client.recv(2000)))[0] not in ("/jam/pong", "/jam/error"):
            pass
        if answer[0] == "/jam/error":
            process.kill()
            raise RuntimeError(str(answer))
        client.send(osc("/jam/transport/play"))
        output = process.stderr.read()
        if process.wait():
            raise RuntimeError(output)
        made.write_text(json.dumps(key))
    return soundfile.read(out / "to" / "drums.wav", dtype="float32", always_2d=True)[0].mean(1)


def classify(classifier, song: Song, drums: np.ndarray, start: float = 0.0) -> int:
    """The kind of drums from second `start` on."""
    return int(classifier.votes(text_following.pieces(song, drums, start)).argmax())


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--corpus", nargs="+", required=True, help="folders of rendered music")
    p.add_argument("--model", required=True, help="model directory")
    p.add_argument("--sideman", default="target/release/sideman", help="the program")
    p.add_argument("--split", default="test")
    p.add_argument("--songs", type=int, default=4)
    p.add_argument("--lag", type=int, default=8, help="in frames of 20 ms")
    p.add_argument("--seed", type=int, default=7)
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--out", required=True)
    a = p.parse_args()
    sideman = [a.sideman, "live", "--headless", "--model", a.model, "--lag", str(a.lag), "--seed", str(a.seed), "--threads", str(a.threads)]
    classifier, how = text_following.train(a.corpus)
    kinds = list(text_following.KINDS)
    before, after = np.zeros((3, 3), int), np.zeros((3, 3, 3), int)
    for short in songs(a.corpus, a.split, a.songs, 30, straight_44=True):
        song = looped(short, a.corpus, SECONDS)
        bars = song.downbeats[song.downbeats < SECONDS]
        k = round(len(bars) / 2)
        for x, first in enumerate(kinds):
            for y, then in enumerate(kinds):
                out = Path(a.out) / f"{song.label['id']} {first}, {then}"
                drums = play(sideman, a.model, song, out, text_following.TEXTS[first], text_following.TEXTS[then], k + 1)
                was = classify(classifier, song, drums[:int(bars[k] * RATE)])
                now = classify(classifier, song, drums, bars[k + WAIT])
                before[x, was] += 1
                after[x, y, now] += 1
                print(f"{song.label['id']} {song.label['style']}: {first} is classified as {kinds[was]}, then {then} as {kinds[now]}", flush=True)
    changes = [(x, y) for x in range(3) for y in range(3) if x != y]
    n = after.sum() / 9  # songs
    report = {"classifier": how, "kinds": kinds, "takes": int(before.sum()), "right_before": float(np.trace(before) / before.sum()),
              "right_after_without_change": float(sum(after[x, x, x] for x in range(3)) / (3 * n)),
              "followed": float(sum(after[x, y, y] for x, y in changes) / (6 * n)), "stayed": float(sum(after[x, y, x] for x, y in changes) / (6 * n)),
              "before_asked_heard": before.tolist(), "after_first_then_heard": after.tolist()}
    (Path(a.out) / "text_change.json").write_text(json.dumps(report, indent=1))
    print(json.dumps(report))


if __name__ == "__main__":
    main()
