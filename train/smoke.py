"""Smoke test of training: runs every stage on a small setting.

    python -m train.smoke --out DIR

Fails if a loss does not fall. It renders 15 minutes of music, trains three small codecs and a small LM for a
few hundred steps, and writes a model directory with its golden vectors. The model makes noise; the test shows
that every stage runs and learns. Time: train/README.md.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path


def stage(*command):
    """Runs one module of train/ as a program."""
    print("+", *command, flush=True)
    subprocess.run([sys.executable, "-m", *map(str, command)], check=True)


def require_fall(name: str, curve: list[float]):
    """Stops unless the last value is 3 % below the first."""
    first, last = curve[0], curve[-1]
    print(f"{name}: {first:.3f} to {last:.3f}")
    if not last < 0.97 * first:
        raise SystemExit(f"{name}: the loss did not fall by 3 %")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--out", required=True, help="an empty folder for everything that is made")
    out = Path(p.parse_args().out)
    corpus, codecs, tokens, lm = (out / n for n in ("corpus", "codecs", "tokens", "lm"))
    stage("train.data", "render", "--out", corpus, "--hours", 0.25, "--seed", 9)
    for stem in ("bass", "drums", "other"):
        stage("train.codec.train", stem, "--corpus", corpus, "--out", codecs, "--steps", 300, "--batch", 4, "--set",
              "dim=96", "ffn=192", "encoder_blocks=2", "encoder_blocks50=1", "decoder_blocks50=1", "decoder_blocks=2", "card=256")
    stage("train.lm.tokens", "--codecs", codecs, "--corpus", corpus, "--out", tokens)
    stage("train.lm.bass_variants", "--codecs", codecs, "--corpus", corpus, "--out", tokens)
    stage("train.lm.train", "--tokens", tokens, "--out", lm, "--steps", 100, "--items", 2, "--dim", 128, "--layers", 2)
    stage("train.lm.pretrain_text", "--tokens", tokens, "--lm", lm, "--steps", 200)
    stage("train.lm.train", "--tokens", tokens, "--out", lm, "--steps", 120, "--items", 2, "--dim", 128, "--layers", 2)
    for stem in ("bass", "drums", "other"):  # changes only the decoders, so the tokens stay valid
        stage("train.codec.train_decoder", stem, "--codecs", codecs, "--tokens", tokens, "--corpus", corpus, "--steps", 10, "--batch", 2)
        stage("train.codec.decoder_eq", stem, "--corpus", corpus, "--codecs", codecs, "--songs", 10)
    stage("train.export", "--codecs", codecs, "--lm", lm, "--out", out / "model", "--golden", out / "golden.safetensors")
    stage("train.checkpoints_from_model", "--model", out / "model", "--codecs", out / "again", "--lm", out / "again", "--step", 120)
    from . import checkpoint
    for stem in ("bass", "drums", "other"):
        require_fall(f"codec {stem}", [r["loss"] for r in checkpoint.load(codecs / f"{stem}.pt")["curve"]])
    require_fall("drum style from captions", [1 - right for right in checkpoint.load(lm / "lm.pt")["text_pretrained"]])
    require_fall("lm", [r["train"][0] for r in json.loads((lm / "curve.json").read_text())])


if __name__ == "__main__":
    main()
