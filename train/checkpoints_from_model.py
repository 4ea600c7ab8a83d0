"""Makes checkpoints from a model directory, the inverse of export.

    python -m train.checkpoints_from_model --model models/house --codecs DIR --lm DIR --step 9800

Use it to continue training the published weights when their checkpoints are gone. The weights are the stored
ones, quantization included. Optimiser states start empty. The codecs' decoders can be trained
(`train.codec.train_decoder`), but codec training cannot be continued: the semantic head, which only
training uses, is not in a model directory.
"""

import argparse
import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file

from . import checkpoint
from .codec.model import Codec
from .export import unfold
from .lm.config import STEMS
from .lm.model import Lm

PROJECTION = "condition_provider.conditioners.description."


def read(path: Path) -> dict:
    """A file's tensors as f32. q8 tensors (int8, with a scale per block of 32 columns in NAME.scale) are
    dequantized."""
    stored = load_file(path)
    out = {}
    for name, w in stored.items():
        if w.dtype == torch.int8:
            w = (w.float().unflatten(1, (-1, 32)) * stored[f"{name}.scale"][..., None]).flatten(1)
        if not name.endswith(".scale"):
            out[name] = w.float()
    return out


def codec(model: Path, config: dict, stem: str) -> Codec:
    """One stem's codec of a model directory."""
    c = Codec(config["codecs"][stem]).eval()
    unfold(c, read(model / f"codec.{stem}.safetensors"))
    return c


def lm(model: Path, config: dict) -> Lm:
    """The LM of a model directory, text encoder included."""
    whole = Lm(config).eval()
    state = {n.removeprefix(PROJECTION): w for n, w in read(model / "lm.safetensors").items()}
    state |= {f"text.{n}": w for n, w in read(model / "text.safetensors").items()}
    state["text.encoder.embed_tokens.weight"] = state["text.shared.weight"]
    whole.load_state_dict(state)
    return whole


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", type=Path, default=Path("models/house"), help="the model directory")
    p.add_argument("--codecs", type=Path, required=True, help="folder for the codecs' checkpoints")
    p.add_argument("--lm", type=Path, required=True, help="folder for the LM's checkpoint and tokenizer")
    p.add_argument("--step", type=int, required=True, help="training steps of these weights, from MODEL_CARD.md")
    a = p.parse_args()
    config = json.loads((a.model / "config.json").read_text())
    for folder, names in ((a.codecs, [f"{s}.pt" for s in STEMS]), (a.lm, ["lm.pt"])):
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            if (folder / name).exists():
                raise SystemExit(f"{folder / name} exists: name an empty folder, nothing is overwritten")
    for stem in STEMS:
        state = codec(a.model, config, stem).state_dict()
        checkpoint.save(a.codecs / f"{stem}.pt", model=state, ema=state, config=config["codecs"][stem], curve=[], step=0)
    state = lm(a.model, config).state_dict()
    shutil.copy(a.model / "tokenizer.json", a.lm / "tokenizer.json")
    checkpoint.save(a.lm / "lm.pt", model=state, ema=state, opt=None, step=a.step, curve=[], seconds=0.0, config=config, text_pretrained=True)


if __name__ == "__main__":
    main()
