"""What words mean: `python -m train.lm.words --lm DIR --tokens DIR` gives a trained LM a text path that is alive. Writes DIR/lm.pt anew.

Left to the LM's loss a text's path dies: a style is 3 nats at most, once a song, which the music tells as well; so words are noise
and are turned off (T5's last norm shrank to 0.009, and after that three small matrices in a row pass no gradient). So the LM learns
music without words first (`train.lm.train`); here T5 learns in two minutes what captions say; and from then on `train.lm.train`
practises with words, and with a band that forgets what it has played (`tasks.py`), for which words matter in every frame.
"""

import argparse
import json
import random
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import nn

from ..codec.train import save
from .caption import brief, caption
from .model import Lm
from .tasks import ItemSampler, padded


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


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--lm", required=True)
    p.add_argument("--tokens", required=True)
    p.add_argument("--steps", type=int, default=1500)
    a = p.parse_args()
    torch.set_num_threads(1)  # small matrices: a second thread costs more than it does
    torch.manual_seed(2)
    checkpoint = Path(a.lm) / "lm.pt"
    state = torch.load(checkpoint, weights_only=False)
    if state.get("words"):
        raise SystemExit(f"{checkpoint}: has its words already")
    tokenizer = Tokenizer.from_file(str(Path(a.lm) / "tokenizer.json"))
    songs = ItemSampler(a.tokens, "train", state["config"], tokenizer, seed=1).songs
    model = Lm(state["config"])
    model.load_state_dict(state["ema"])
    renew(model)
    told = teach(model, tokenizer, [s.label for s in songs], a.steps)
    print(json.dumps({"drum style told": told}), flush=True)
    path = {n: w for n, w in model.state_dict().items() if text_path(n)}
    save(checkpoint, **state | {"model": state["model"] | path, "ema": state["ema"] | path, "opt": None, "words": told})


if __name__ == "__main__":
    main()
