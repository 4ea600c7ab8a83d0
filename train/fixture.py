"""Writes the test model tests/golden/house, with random weights, and its golden vectors.

    python -m train.fixture --out tests/golden/house

It has the architecture of the trained house model (codec kind `istft`, two books for bass and drums,
controls) in half a megabyte, so the engine's tests cover the same code. Run it after a change of the model
format.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from .codec.config import codec_config
from .codec.model import Codec
from .lm.caption import train_tokenizer
from .lm.config import STEMS, model_config
from .lm.model import Lm

WORDS = ["funk", "jazz brushes", "four on the floor", "slow ballad"]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--out", required=True, help="the model directory; the vectors go to OUT.golden.safetensors")
    a = p.parse_args()
    torch.manual_seed(3)
    with tempfile.TemporaryDirectory() as d:
        d = Path(d)
        codecs = {}
        for stem in STEMS:
            c = codec_config(stem)
            c |= {"dim": 32, "ffn": 64, "latent": 16, "card": 64, "encoder_blocks": 1, "encoder_blocks50": 1, "decoder_blocks50": 1, "decoder_blocks": 2}
            c["analysis"] = [{**w, "bins": w["bins"] // 4} for w in c["analysis"]]
            codecs[stem] = c
            model = Codec(c)
            for w in model.parameters():  # Biases and scales start at 0 and 1: move them, or an error in their use would not show.
                w.data += 0.1 * torch.randn_like(w)
            torch.save({"config": c, "ema": model.state_dict()}, d / f"{stem}.pt")
        config = model_config(64, 2, codecs) | {"name": "fixture", "fixture": True}
        config["text"] |= {"dim": 64, "heads": 1, "ffn": 64, "vocab": 160}
        lm = Lm(config)
        for w in lm.parameters():
            w.data += 0.05 * torch.randn_like(w)
        torch.save({"config": config, "ema": lm.state_dict()}, d / "lm.pt")
        label = {"style": "funk", "bpm": 96, "instruments": {"other": ["ep"]}, "caption_tags": {"mood": "warm", "tempo": "slow", "density": "sparse", "mode": "minor"}}
        train_tokenizer([label | {"style": s} for s in WORDS], config["text"]["vocab"], d / "tokenizer.json")
        subprocess.run([sys.executable, "-m", "train.export", "--codecs", d, "--lm", d, "--out", a.out, "--quant", "q8", "--codec-quant", "q8",
                        "--golden", f"{a.out}.golden.safetensors"], check=True)


if __name__ == "__main__":
    main()
