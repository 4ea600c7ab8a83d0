"""Trains the LM.

    python -m train.lm.train --tokens DIR --out DIR --steps 4000

Resumes from its checkpoint, OUT/lm.pt. Run it once without text, then train.lm.pretrain_text, then again with
more steps: text and history masking are used from then on. One optimiser step is `--items` sequences of 1501
frames. The learning curve (train and valid, per stream) is OUT/curve.json.
"""

import argparse
import copy
import json
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

from .. import checkpoint, compute
from . import pretrain_text
from .caption import train_tokenizer
from .config import STEMS, model_config
from .model import Lm
from .muon import Muon
from .tasks import LIVE, ItemSampler


def losses(model: Lm, batch):
    """The cross-entropy of each stream [K] over the positions with a target, and the weighted loss."""
    here = compute.device()
    seq, ids, mask, target, weight = (batch[i].to(here) for i in (0, 2, 3, 4, 5))
    controls = {n: v.to(here) for n, v in batch[1].items()}
    with compute.autocast():
        hidden = model(seq, controls, model.encode_text(ids, mask), mask)
    each, total = [], 0.0
    for k, head in enumerate(model.linears):
        with compute.autocast():
            logits = head(hidden)
        nll = F.cross_entropy(logits.float().flatten(0, 1), target[:, k].flatten(), reduction="none").view(target.shape[0], -1)
        count = (target[:, k] >= 0).sum(1).clamp(min=1)
        each.append((nll.sum() / count.sum()).item())
        total = total + (nll.sum(1) / count * weight[:, k]).mean()
    return each, total / weight.sum(1).mean()


@torch.no_grad()
def text_effect(model: Lm, sampler: ItemSampler) -> list[float]:
    """Cross-entropy of the first drum book with the song's text and without any."""
    sampler.rng.seed(7)
    row, seen = sampler.rows["drums"][0], []
    for _ in range(4):
        seq, controls, ids, mask, target, weight = sampler.batch(4, kind=LIVE, lag=8)
        seen.append([losses(model, (seq, controls, ids, m, target, weight))[0][row] for m in (mask, torch.zeros_like(mask))])
    return [round(sum(v) / len(v), 3) for v in zip(*seen)]


def optimisers(model: Lm, lr: float):
    """Muon for the transformer's matrices (one of its steps is worth about two of AdamW's), AdamW for
    everything else."""
    matrices = [w for w in model.transformer.parameters() if w.ndim == 2 and w.requires_grad]
    taken = set(map(id, matrices))
    rest = [w for w in model.parameters() if w.requires_grad and id(w) not in taken]
    return [Muon(matrices, lr=lr),
            torch.optim.AdamW(rest, lr=lr, betas=(0.9, 0.95), weight_decay=0.0, fused=True)]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--tokens", required=True, help="folder of tokens")
    p.add_argument("--out", required=True, help="folder of the checkpoint")
    p.add_argument("--steps", type=int, required=True, help="steps in total, those of the checkpoint included")
    p.add_argument("--items", type=int, default=4, help="sequences per step")
    p.add_argument("--dim", type=int, default=384)
    p.add_argument("--layers", type=int, default=8)
    p.add_argument("--lr", type=float, default=1.2e-3)
    p.add_argument("--seed", type=int, default=0, help="another order of items, for a parallel run to average with (train.lm.average)")
    p.add_argument("--threads", type=int, default=2)
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    torch.set_flush_denormal(True)
    torch.manual_seed(1)
    here = compute.device()
    out = Path(a.out)
    out.mkdir(parents=True, exist_ok=True)
    config = model_config(a.dim, a.layers, {s: json.loads((Path(a.tokens) / f"{s}.json").read_text())["config"] for s in STEMS})
    vocabulary, path = out / "tokenizer.json", out / "lm.pt"
    if not vocabulary.exists() and compute.IS_MAIN:
        train_tokenizer([s.label for s in ItemSampler(a.tokens, "train", config, None, 0).songs], config["text"]["vocab"], vocabulary)
    compute.barrier()
    tokenizer = Tokenizer.from_file(str(vocabulary))
    model = Lm(config)
    pretrain_text.reset(model)
    s = checkpoint.load(path) if path.exists() else {}
    with_text = s.get("text_pretrained", False)
    for name, w in model.named_parameters():  # the text path is frozen and has no effect until pretrain_text.py has trained it
        w.requires_grad_(not name.startswith("text.") if with_text else not pretrain_text.in_text_path(name))
    model.to(here)
    ema = copy.deepcopy(model).eval().requires_grad_(False)
    opts = optimisers(model, a.lr)
    step, curve, seconds = 0, [], 0.0
    if s:
        model.load_state_dict(s["model"]), ema.load_state_dict(s["ema"])
        for opt, state in zip(opts, s["opt"] or []):  # empty after pretrain_text.py
            opt.load_state_dict(state)
        step, curve, seconds = s["step"], s["curve"], s["seconds"]
    train = ItemSampler(a.tokens, "train", config, tokenizer, seed=step + 1 + 1_000_003 * (compute.RANK + 1000 * a.seed), mask_history=0.4 if with_text else 0.0, style_only=0.4 if with_text else 0.0)
    valid = ItemSampler(a.tokens, "valid", config, tokenizer, seed=7)
    masked = ItemSampler(a.tokens, "valid", config, tokenizer, seed=7, mask_history=1.0, style_only=1.0)
    compute.broadcast(model)
    if compute.IS_MAIN:
        print(f"{sum(w.numel() for w in model.parameters()) / 1e6:.1f} M parameters, {len(train.songs)} songs", flush=True)
    start, saved, window = time.time(), time.time(), []
    while step < a.steps:
        rate = a.lr * min(1.0, (step + 1) / 200) * max(0.05, min(1.0, (1 - step / a.steps) / 0.3))
        for g in [g for opt in opts for g in opt.param_groups]:
            g["lr"] = rate
        each, loss = losses(model, train.batch(a.items))
        model.zero_grad(set_to_none=True)
        loss.backward()
        compute.average_gradients(model.parameters())
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for opt in opts:
            opt.step()
        step += 1
        with torch.no_grad():
            w = min(0.998, step / (step + 50))
            for e, v in zip(ema.parameters(), model.parameters()):
                e.lerp_(v, 1 - w)
        window.append([loss.item(), *each])
        if compute.IS_MAIN and (step % 50 == 0 or step == a.steps):
            row = {"step": step, "minutes": round((seconds + time.time() - start) / 60, 1), "train": [round(sum(v) / len(v), 3) for v in zip(*window)]}
            if valid.songs and (step % 250 == 0 or step == a.steps):
                valid.rng.seed(7)  # the same items every time
                with torch.no_grad():
                    rows = [losses(ema, valid.batch(4, kind=LIVE, lag=8)) for _ in range(3)]
                    row["valid"] = [round(sum(v) / len(v), 3) for v in zip(*[[t.item(), *e] for e, t in rows])]
                    if with_text:
                        row["drums_with_and_without_text"] = text_effect(ema, masked)
            curve.append(row)
            print(json.dumps(row), flush=True)
            (out / "curve.json").write_text(json.dumps(curve))
            window = []
        if compute.IS_MAIN and (time.time() - saved > 240 or step == a.steps):
            saved = time.time()
            checkpoint.save(path, model=model.state_dict(), ema=ema.state_dict(), opt=[opt.state_dict() for opt in opts], step=step, curve=curve,
                            seconds=seconds + saved - start, config=config, text_pretrained=with_text)


if __name__ == "__main__":
    main()
