"""Tries to teach a trained LM to mind its text: `python -m train.lm.words --lm DIR --tokens DIR --steps 600`. Writes DIR/lm.pt anew.
A trial, not there yet: what it has reached is in train/README.md.

In `train.lm.train` the text's path can die: what it says is mostly known from the music already, and three small matrices in a row
pass hardly any gradient. Here it begins anew at a healthy scale with nothing said (`out_proj` 0), all other weights stand still, and
practice is where words are all that is known: songs from their start, often with a guest drummer. An item without text attends to
zeros and is, bit for bit, what the LM made of it before.
"""

import argparse
import copy
import json
import time
from pathlib import Path

import torch
from tokenizers import Tokenizer

from ..codec.train import save
from . import tasks
from .model import Lm
from .tasks import LIVE, PREFIX, Practice
from .train import losses

HEARD = PREFIX + 1 + 120  # steps of an item: the first two seconds, before the drums' own past tells their style


def text_path(model: Lm):
    """Its parameters: T5, its projection, cross-attention."""
    return [w for n, w in model.named_parameters() if n.startswith(("text.", "output_proj.")) or "cross" in n]


def renew(model: Lm):
    """The text's path as new: unit words, unit values, nothing said yet."""
    fresh = Lm(model.config)
    model.text.load_state_dict(fresh.text.state_dict())
    torch.nn.init.normal_(model.output_proj.weight, std=model.config["text"]["dim"] ** -0.5)
    torch.nn.init.zeros_(model.output_proj.bias)
    for layer in model.transformer.layers:
        torch.nn.init.normal_(layer.cross_attention.in_proj_weight, std=model.config["lm"]["dim"] ** -0.5)
        torch.nn.init.zeros_(layer.cross_attention.out_proj.weight)
        torch.nn.init.ones_(layer.norm_cross.weight)
        torch.nn.init.zeros_(layer.norm_cross.bias)


def cut(batch):
    """The first HEARD steps of a batch; the LM is causal."""
    seq, controls, ids, mask, target, weight = batch
    return seq[..., :HEARD], {n: v[..., :HEARD] for n, v in controls.items()}, ids, mask, target[..., :HEARD], weight


def worth(model: Lm, valid: Practice) -> list[float]:
    """Loss of the same 8 items with their text and without: what the words are worth."""
    rows = []
    for deaf in (False, True):
        valid.rng.seed(7)
        with torch.no_grad():
            total = []
            for _ in range(8):
                batch = list(cut(valid.batch(1, kind=LIVE, lag=8)))
                if deaf:
                    batch[3] = torch.zeros_like(batch[3])
                total.append(losses(model, batch)[0][2])
        rows.append(round(sum(total) / len(total), 4))
    return rows


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--lm", required=True)
    p.add_argument("--tokens", required=True)
    p.add_argument("--steps", type=int, default=600)
    p.add_argument("--items", type=int, default=4)
    p.add_argument("--lr", type=float, default=1e-3)
    p.add_argument("--threads", type=int, default=2)
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    torch.set_flush_denormal(True)
    torch.manual_seed(2)
    checkpoint = Path(a.lm) / "lm.pt"
    state = torch.load(checkpoint, weights_only=False)
    tokenizer = Tokenizer.from_file(str(Path(a.lm) / "tokenizer.json"))
    model = Lm(state["config"])
    model.load_state_dict(state["ema"])
    done = state.get("words", 0)
    if not done:
        renew(model)
    model.requires_grad_(False)
    path = text_path(model)
    for w in path:
        w.requires_grad_(True)
    opt = torch.optim.AdamW(path, lr=a.lr, betas=(0.9, 0.98), weight_decay=0.0, fused=True)
    if done:
        opt.load_state_dict(state["words_opt"])
    tasks.GUESTS = 0.6
    train = Practice(a.tokens, "train", state["config"], tokenizer, seed=done + 1, fresh=0.9)
    valid = Practice(a.tokens, "valid", state["config"], tokenizer, seed=7, fresh=1.0)
    kept, window, began = time.time(), [], time.time()
    for step in range(done + 1, a.steps + 1):
        for g in opt.param_groups:
            g["lr"] = a.lr * min(1.0, step / 30) * max(0.05, min(1.0, (1 - step / a.steps) / 0.4))
        each, loss = losses(model, cut(train.batch(a.items, kind=LIVE)))
        opt.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(path, 1.0)
        opt.step()
        window.append(each[2])
        last = step == a.steps
        if step % 50 == 0 or last:
            row = {"words": step, "minutes": round((time.time() - began) / 60, 1), "drums": round(sum(window) / len(window), 3)}
            if step % 100 == 0 or last:
                row["valid drums, with text and without"] = worth(model, valid)
            print(json.dumps(row), flush=True)
            window = []
        if time.time() - kept > 120 or last:
            kept = time.time()
            save(checkpoint, **state | {"model": copy.deepcopy(model.state_dict()), "ema": model.state_dict(), "words": step, "words_opt": opt.state_dict()})


if __name__ == "__main__":
    main()
