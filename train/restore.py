"""A model directory back to checkpoints: `python -m train.restore --model models/house --codecs DIR --lm DIR --step 7000`.

So that training goes on from the weights that ship where the checkpoints they came from are gone. What comes back is what the engine
plays, rounding included (`export.py`); the optimisers begin anew, and codecs can be polished, not trained on (their labels' reader is lost).
"""

import argparse
import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file

from .codec.model import Codec
from .codec.train import save
from .export import unfold
from .lm.config import STEMS
from .lm.model import Lm

PROJECTION = "condition_provider.conditioners.description."


def read(path: Path) -> dict:
    """A file's tensors in f32; q8 ones (int8 and NAME.scale, blocks of 32 columns) multiplied out."""
    stored = load_file(path)
    out = {}
    for name, w in stored.items():
        if w.dtype == torch.int8:
            w = (w.float().unflatten(1, (-1, 32)) * stored[f"{name}.scale"][..., None]).flatten(1)
        if not name.endswith(".scale"):
            out[name] = w.float()
    return out


def codec(model: Path, config: dict, stem: str) -> Codec:
    c = Codec(config["codecs"][stem]).eval()
    unfold(c, read(model / f"codec.{stem}.safetensors"))
    return c


def lm(model: Path, config: dict) -> Lm:
    whole = Lm(config).eval()
    state = {n.removeprefix(PROJECTION): w for n, w in read(model / "lm.safetensors").items()}
    state |= {f"text.{n}": w for n, w in read(model / "text.safetensors").items()}
    state["text.encoder.embed_tokens.weight"] = state["text.shared.weight"]
    whole.load_state_dict(state)
    return whole


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", type=Path, default=Path("models/house"))
    p.add_argument("--codecs", type=Path, required=True)
    p.add_argument("--lm", type=Path, required=True)
    p.add_argument("--step", type=int, required=True, help="how many steps these weights have behind them (MODEL_CARD.md)")
    a = p.parse_args()
    config = json.loads((a.model / "config.json").read_text())
    for folder, names in ((a.codecs, [f"{s}.pt" for s in STEMS]), (a.lm, ["lm.pt"])):
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            if (folder / name).exists():
                raise SystemExit(f"{folder / name} is there already: restore into an empty folder")
    for stem in STEMS:
        state = codec(a.model, config, stem).state_dict()
        save(a.codecs / f"{stem}.pt", model=state, ema=state, config=config["codecs"][stem], curve=[], step=0)
    state = lm(a.model, config).state_dict()
    shutil.copy(a.model / "tokenizer.json", a.lm / "tokenizer.json")
    save(a.lm / "lm.pt", model=state, ema=state, opt=None, step=a.step, curve=[], spent=0.0, config=config, words=True)


if __name__ == "__main__":
    main()
