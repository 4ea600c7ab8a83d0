"""The whole road on a small setting, in minutes: `python -m train.smoke --out DIR`. Fails if a loss does not improve.

Renders a quarter of an hour of music, trains three small codecs and a small LM for a moment, and writes a model directory with its
golden vectors. The model makes noise; what is shown is that every stage runs and learns.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path


def stage(*words):
    print("+", *words, flush=True)
    subprocess.run([sys.executable, "-m", *map(str, words)], check=True)


def improves(name: str, curve: list[float]):
    first, last = curve[0], curve[-1]
    print(f"{name}: {first:.3f} to {last:.3f}")
    if not last < 0.97 * first:
        raise SystemExit(f"{name} did not improve")


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--out", required=True)
    out = Path(p.parse_args().out)
    corpus, codecs, tokens, lm = (out / n for n in ("corpus", "codecs", "tokens", "lm"))
    stage("train.data", "render", "--out", corpus, "--hours", 0.25, "--seed", 9)
    for stem in ("bass", "drums", "other"):
        stage("train.codec.train", stem, "--corpus", corpus, "--out", codecs, "--steps", 300, "--batch", 4, "--set",
              "dim=96", "ffn=192", "encoder_blocks=2", "encoder_blocks50=1", "decoder_blocks50=1", "decoder_blocks=2", "card=256")
    stage("train.lm.tokens", "--codecs", codecs, "--corpus", corpus, "--out", tokens)
    stage("train.lm.voices", "--codecs", codecs, "--corpus", corpus, "--out", tokens)
    stage("train.lm.train", "--tokens", tokens, "--out", lm, "--steps", 100, "--items", 2, "--dim", 128, "--layers", 2)
    stage("train.lm.words", "--tokens", tokens, "--lm", lm, "--steps", 200)
    stage("train.lm.train", "--tokens", tokens, "--out", lm, "--steps", 120, "--items", 2, "--dim", 128, "--layers", 2)
    for stem in ("bass", "drums", "other"):  # the decoders alone: tokens stay what they are
        stage("train.codec.polish", stem, "--corpus", corpus, "--out", codecs, "--steps", 10, "--batch", 2)
        stage("train.codec.level", stem, "--corpus", corpus, "--codecs", codecs, "--songs", 10)
    stage("train.export", "--codecs", codecs, "--lm", lm, "--out", out / "model", "--golden", out / "golden.safetensors")
    stage("train.restore", "--model", out / "model", "--codecs", out / "again", "--lm", out / "again", "--step", 120)
    import torch
    for stem in ("bass", "drums", "other"):
        improves(f"codec {stem}", [r["loss"] for r in torch.load(codecs / f"{stem}.pt", weights_only=False)["curve"]])
    improves("words", [1 - told for told in torch.load(lm / "lm.pt", weights_only=False)["words"]])
    improves("lm", [r["train"][0] for r in json.loads((lm / "curve.json").read_text())])


if __name__ == "__main__":
    main()
