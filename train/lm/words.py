"""What words mean: teaches a trained LM to mind its text. Writes DIR/lm.pt anew; resumes.

Left to the LM's loss a text's path dies: a style is 3 nats at most, once a song, which the music tells as well; so words are noise
and are turned off (T5's last norm shrank to 0.009, and after that three small matrices in a row pass no gradient). So the LM learns
music without words (`train.lm.train`), and then, with all else standing still, `python -m train.lm.words --lm DIR --tokens DIR`:
T5 learns in a minute what captions say, and cross-attention to make a song's opening likelier under its own words than under
another's. What the LM plays without a text stays what it was, bit for bit. A trial, not good enough to ship yet: train/README.md.
"""

import argparse
import copy
import json
import random
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import nn

from ..codec.train import save
from .caption import brief, caption
from .model import Lm
from .tasks import Practice, padded


def facts(label: dict) -> list[str]:
    """What a caption may tell of a song, one word each: who drums and how, the band's style, its instruments, its tags."""
    tags = label["caption_tags"]
    return [f"drums {label.get('drummer') or label['style']}", f"style {label['style']}", *(f"plays {i}" for i in label["instruments"]["other"]),
            *(f"{k} {tags[k]}" for k in ("tempo", "mood", "density", "mode"))]


def teach(model: Lm, tokenizer: Tokenizer, labels: list[dict], steps: int = 1500, items: int = 64) -> list[float]:
    """Trains T5 and its projection to tell each fact from the mean of a caption's words. Gives the share of drum styles told right in
    captions that name one: at the start, at the end."""
    names = sorted({f for l in labels for f in facts(l)})
    truth = torch.zeros(len(labels), len(names))
    for i, l in enumerate(labels):
        truth[i, [names.index(f) for f in facts(l)]] = 1.0
    drums = [k for k, n in enumerate(names) if n.startswith("drums ")]
    head = nn.Linear(model.config["lm"]["dim"], len(names))
    path = [*model.text.parameters(), *model.output_proj.parameters()]
    opt = torch.optim.AdamW([*path, *head.parameters()], lr=1e-3, weight_decay=0.0)
    rng, right = random.Random(3), []
    for step in range(steps):
        for g in opt.param_groups:
            g["lr"] = 1e-3 * min(1.0, step / 50) * min(1.0, (1 - step / steps) / 0.3)
        rows = [rng.randrange(len(labels)) for _ in range(items)]
        texts = [(brief if rng.random() < 0.3 else caption)(labels[i], rng) for i in rows]
        ids, mask = padded(tokenizer, texts)
        words = model.words(ids, mask)
        mean = words.sum(1) / mask.sum(1, keepdim=True).clamp(min=1)
        said = head(mean)
        # Words stay near unit size, which is what cross-attention is made for.
        size = (words.square().mean(-1) * mask).sum() / mask.sum().clamp(min=1)
        loss = F.binary_cross_entropy_with_logits(said, truth[rows]) + 0.01 * (size - 1).square()
        opt.zero_grad()
        loss.backward()
        opt.step()
        named = [r for r, (i, t) in enumerate(zip(rows, texts)) if (labels[i].get("drummer") or labels[i]["style"]) in t]
        right.append((said[named][:, drums].argmax(1) == truth[rows][named][:, drums].argmax(1)).float().mean().item())
    last = [r for r in right[-50:] if r == r]
    return [round(sum(right[:10]) / 10, 3), round(sum(last) / len(last), 3)]


def renew(model: Lm):
    """The text's path as new: T5, its projection at unit size, cross-attention that says nothing yet (`out_proj` 0)."""
    model.text.load_state_dict(Lm(model.config).text.state_dict())
    nn.init.normal_(model.output_proj.weight, std=model.config["text"]["dim"] ** -0.5)
    nn.init.zeros_(model.output_proj.bias)
    for layer in model.transformer.layers:
        nn.init.normal_(layer.cross_attention.in_proj_weight, std=model.config["lm"]["dim"] ** -0.5)
        nn.init.zeros_(layer.cross_attention.out_proj.weight)
        nn.init.ones_(layer.norm_cross.weight)
        nn.init.zeros_(layer.norm_cross.bias)


def text_path(name: str) -> bool:
    """Whether a parameter belongs to what the text goes through."""
    return name.startswith(("text.", "output_proj.")) or "cross" in name


def song_nll(model: Lm, batch, memory, mask, rows: list[int]) -> torch.Tensor:
    """−log p of each item's judged codes on the streams `rows`, summed: [B]."""
    seq, controls, _, _, target, _ = batch
    with torch.autocast("cpu", torch.bfloat16):
        hidden = model(seq, controls, memory, mask)
        logits = [model.linears[k](hidden).float() for k in rows]
    nll = [F.cross_entropy(l.flatten(0, 1), target[:, k].flatten(), reduction="none").view(target.shape[0], -1).sum(1) for l, k in zip(logits, rows)]
    return torch.stack(nll).sum(0)


def told_apart(model: Lm, practice: Practice, items: int):
    """Loss of one batch of openings under their own words and under another's, and what was seen: share of items likelier under their own,
    nats an item by which they are.

    A song's style is 3 nats at most, once, in a window of thousands: in the LM's own loss words drown in noise. The same notes
    under right and wrong words differ by nothing but the words.
    """
    batch = practice.openings(items, lag=8)
    ids, mask = batch[2], batch[3]
    # Whoever has no text of their own is left out below; the wrong words are a neighbour's of another style.
    other = [next((j % items for j in range(i + 1, i + items) if practice.said[j % items] != practice.said[i] and mask[j % items].any()), i) for i in range(items)]
    memory = model.words(ids, mask)
    streams = practice.rows["drums"] + practice.rows["other"][:1]
    right = song_nll(model, batch, memory, mask, streams)
    wrong = song_nll(model, batch, memory[other], mask[other], streams)
    counts = torch.tensor([bool(mask[i].any()) and other[i] != i for i in range(items)])
    gain = (wrong - right)[counts]
    judged = (batch[4][:, streams] >= 0).sum()
    loss = right.sum() / judged
    if not len(gain):  # a small batch without two texts
        return loss, 0.5, 0.0
    return loss + 0.1 * F.softplus(-gain).mean(), (gain > 0).float().mean().item(), gain.mean().item()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--lm", required=True)
    p.add_argument("--tokens", required=True)
    p.add_argument("--steps", type=int, default=300)
    p.add_argument("--items", type=int, default=12)
    p.add_argument("--lr", type=float, default=2e-4)
    p.add_argument("--threads", type=int, default=2)
    a = p.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    torch.manual_seed(2)
    checkpoint = Path(a.lm) / "lm.pt"
    state = torch.load(checkpoint, weights_only=False)
    tokenizer = Tokenizer.from_file(str(Path(a.lm) / "tokenizer.json"))
    model = Lm(state["config"])
    model.load_state_dict(state["ema"])
    done = state.get("words", 0)
    train = Practice(a.tokens, "train", state["config"], tokenizer, seed=done + 1, fresh=1.0, guests=0.4, unheard=0.6, brief=0.7)
    valid = Practice(a.tokens, "valid", state["config"], tokenizer, seed=7, fresh=1.0, unheard=1.0, brief=1.0)
    if "words" not in state:
        renew(model)
        rows = [{"drum style told": teach(model, tokenizer, [s.label for s in train.songs])}]
        print(json.dumps(rows[0]), flush=True)
        state |= {"words_curve": rows, "model": copy.deepcopy(model.state_dict()), "ema": model.state_dict(), "opt": None, "words": 0}
        save(checkpoint, **state)
    torch.set_num_threads(a.threads)
    for name, w in model.named_parameters():
        w.requires_grad_(text_path(name) and not name.startswith("text."))
    path = [w for w in model.parameters() if w.requires_grad]
    opt = torch.optim.AdamW(path, lr=a.lr, betas=(0.9, 0.98), weight_decay=0.0, fused=True)
    if state.get("words_opt"):
        opt.load_state_dict(state["words_opt"])
    rows = state.get("words_curve", [])
    kept, seen, began = time.time(), [], time.time()
    for step in range(done + 1, a.steps + 1):
        for g in opt.param_groups:
            g["lr"] = a.lr * min(1.0, step / 30) * max(0.05, min(1.0, (1 - step / a.steps) / 0.4))
        loss, share, gain = told_apart(model, train, a.items)
        opt.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(path, 1.0)
        opt.step()
        seen.append((share, gain))
        last = step == a.steps
        if step % 25 == 0 or last:
            row = {"words": step, "minutes": round((time.time() - began) / 60, 1), "likelier under its own words, by nats": [round(sum(v) / len(v), 3) for v in zip(*seen)]}
            if valid.songs and (step % 100 == 0 or last):
                valid.rng.seed(7)
                with torch.no_grad():
                    row["valid"] = [round(sum(v) / len(v), 3) for v in zip(*[told_apart(model, valid, 8)[1:] for _ in range(12)])]
            rows.append(row)
            print(json.dumps(row), flush=True)
            (Path(a.lm) / "words.json").write_text(json.dumps(rows))
            seen = []
        if time.time() - kept > 120 or last:
            kept = time.time()
            save(checkpoint, **state | {"model": copy.deepcopy(model.state_dict()), "ema": model.state_dict(), "opt": None, "words": step, "words_curve": rows, "words_opt": opt.state_dict()})


if __name__ == "__main__":
    main()
