"""What words mean, before any music: T5 learns from captions alone to say a song's labels.

Left to the LM's loss a text's path dies: what a text says is mostly known from the music, so early on words are noise and are turned
off (T5's last norm shrank to 0.009, and after that three small matrices in a row pass no gradient). So words are taught first, in a
minute; then T5 stands still, as in the paper, and the LM learns to ask it. `train.lm.train` does so with a new LM;
`python -m train.lm.words --lm DIR --tokens DIR` gives a trained LM a new text path that says nothing yet.
"""

import argparse
import copy
import json
import random
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import nn

from ..codec.train import save
from .caption import caption
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
        texts = [caption(labels[i], rng) for i in rows]
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
        # A trained LM's stream has grown to 8 in size: words of size 1 would be lost in it.
        layer.cross_attention.in_proj_weight.data[2 * model.config["lm"]["dim"]:] *= 8
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
    a = p.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(2)
    checkpoint = Path(a.lm) / "lm.pt"
    state = torch.load(checkpoint, weights_only=False)
    tokenizer = Tokenizer.from_file(str(Path(a.lm) / "tokenizer.json"))
    model = Lm(state["config"])
    model.load_state_dict(state["model"])
    renew(model)
    labels = [s.label for s in Practice(a.tokens, "train", state["config"], tokenizer, seed=1).songs]
    print(json.dumps({"drum style told": teach(model, tokenizer, labels)}), flush=True)
    ema = {n: v if text_path(n) else state["ema"][n] for n, v in model.state_dict().items()}
    save(checkpoint, **state | {"model": copy.deepcopy(model.state_dict()), "ema": ema, "opt": None})


if __name__ == "__main__":
    main()
