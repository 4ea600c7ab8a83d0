"""Pretrains the LM's text path on captions.

    python -m train.lm.pretrain_text --lm DIR --tokens DIR

Replaces DIR/lm.pt; two minutes. Trained with the LM's loss alone, the text path collapses: a style is worth
at most 3 nats once per song, and the music shows it as well, so the text is noise to the LM (T5's last norm
shrank to 0.009, and three small matrices in series then pass no gradient). Therefore training has three
stages. `train.lm.train` first trains without text. This program then resets the text path and trains T5 to
predict the facts in captions. After that `train.lm.train` trains with text and masks the generated stems'
history in some items (`tasks.ItemSampler.mask_history`), which makes the text matter in every frame.
"""

import argparse
import json
import random
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import nn

from .. import checkpoint
from .caption import caption, style_caption
from .model import Lm
from .tasks import ItemSampler, encode_texts


def facts(label: dict) -> list[str]:
    """The facts that a caption may state about a song: style of the drums, style of the band, instruments,
    tags."""
    tags = label["caption_tags"]
    return [f"drums {label.get('drummer') or label['style']}", f"style {label['style']}", *(f"plays {i}" for i in label["instruments"]["other"]),
            *(f"{k} {tags[k]}" for k in ("tempo", "mood", "density", "mode"))]


def train(model: Lm, tokenizer: Tokenizer, labels: list[dict], steps: int = 1500, items: int = 64) -> list[float]:
    """Trains T5 and its projection to predict each fact from the mean of a caption's hidden states. Returns
    the accuracy of the drum style on captions that name one: at the start and at the end."""
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
        texts = [(style_caption if rng.random() < 0.3 else caption)(labels[i], rng) for i in rows]
        ids, mask = encode_texts(tokenizer, texts)
        hidden = model.encode_text(ids, mask)
        mean = hidden.sum(1) / mask.sum(1, keepdim=True).clamp(min=1)
        predicted = head(mean)
        # Keeps the hidden states near unit variance, which cross-attention expects.
        size = (hidden.square().mean(-1) * mask).sum() / mask.sum().clamp(min=1)
        loss = F.binary_cross_entropy_with_logits(predicted, truth[rows]) + 0.01 * (size - 1).square()
        opt.zero_grad()
        loss.backward()
        opt.step()
        named = [r for r, (i, t) in enumerate(zip(rows, texts)) if (labels[i].get("drummer") or labels[i]["style"]) in t]
        right.append((predicted[named][:, drums].argmax(1) == truth[rows][named][:, drums].argmax(1)).float().mean().item())
    last = [r for r in right[-50:] if r == r]  # not NaN: batches where a caption named the style  # not NaN: batches where a caption named the style
    return [round(sum(right[:10]) / 10, 3), round(sum(last) / len(last), 3)]


def reset(model: Lm):
    """Re-initialises the text path: T5, its projection at unit scale, cross-attention with zero output
    (`out_proj` 0)."""
    model.text.load_state_dict(Lm(model.config).text.state_dict())
    nn.init.normal_(model.output_proj.weight, std=model.config["text"]["dim"] ** -0.5)
    nn.init.zeros_(model.output_proj.bias)
    for layer in model.transformer.layers:
        nn.init.normal_(layer.cross_attention.in_proj_weight, std=model.config["lm"]["dim"] ** -0.5)
        nn.init.zeros_(layer.cross_attention.out_proj.weight)
        nn.init.ones_(layer.norm_cross.weight)
        nn.init.zeros_(layer.norm_cross.bias)


def in_text_path(name: str) -> bool:
    """Whether a parameter belongs to the text path: T5, its projection, cross-attention."""
    return name.startswith(("text.", "output_proj.")) or "cross" in name


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--lm", required=True, help="folder of the LM's checkpoint")
    p.add_argument("--tokens", required=True, help="folder of tokens; only their labels are used")
    p.add_argument("--steps", type=int, default=1500)
    a = p.parse_args()
    torch.set_num_threads(1)  # the matrices are small: a second thread makes it slower
    torch.manual_seed(2)
    path = Path(a.lm) / "lm.pt"
    state = checkpoint.load(path)
    if state.get("text_pretrained"):
        raise SystemExit(f"{path}: its text path is pretrained already")
    tokenizer = Tokenizer.from_file(str(Path(a.lm) / "tokenizer.json"))
    songs = ItemSampler(a.tokens, "train", state["config"], tokenizer, seed=1).songs
    model = Lm(state["config"])
    model.load_state_dict(state["ema"])
    reset(model)
    accuracy = train(model, tokenizer, [s.label for s in songs], a.steps)
    print(json.dumps({"drum_style_accuracy": accuracy}), flush=True)
    weights = {n: w for n, w in model.state_dict().items() if in_text_path(n)}
    checkpoint.save(path, **state | {"model": state["model"] | weights, "ema": state["ema"] | weights, "opt": None, "text_pretrained": accuracy})


if __name__ == "__main__":
    main()
