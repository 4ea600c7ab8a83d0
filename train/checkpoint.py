"""Training checkpoints: dictionaries written by torch.save, one file per codec (STEM.pt) and one for the LM
(lm.pt).

The keys that every stage reads: `model` and `ema` (state dicts; `ema` is the one that is exported), `config`
(of config.json), `step`, `curve` (learning curve). A finished file is never half written, so a training run
can be stopped at any time.
"""

import os
from pathlib import Path

import torch

# Top-level keys of checkpoints written before December 2026, and their names now.
OLD_KEYS = {"meaning": "semantic", "critics": "discriminators", "opt_critic": "opt_discriminators", "polished": "decoder_steps",
            "levelled": "eq_db", "spent": "seconds", "words": "text_pretrained"}


def load(path: Path) -> dict:
    """A checkpoint on the CPU; old key names are translated."""
    return {OLD_KEYS.get(name, name): value for name, value in torch.load(path, weights_only=False, map_location="cpu").items()}


def save(path: Path, **state) -> None:
    """Writes a checkpoint to a temporary file and renames it."""
    torch.save(state, path.with_suffix(".tmp"))
    os.replace(path.with_suffix(".tmp"), path)
