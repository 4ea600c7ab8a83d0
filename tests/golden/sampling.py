"""Writes sampling.json: distributions after temperature, top-k and top-p (docs/explanation/musicgen-stem.md
section 7)."""
import torch

from common import Rng, save_json


def probabilities(logits, temperature, top_k, top_p):
    """The distribution that a token is sampled from. top_p takes precedence over top_k; 0 is off."""
    p = (logits / temperature).softmax(-1)
    if top_p > 0:
        sorted_p, order = p.sort(descending=True, stable=True)
        keep = sorted_p.cumsum(-1) - sorted_p <= top_p
        p = torch.zeros_like(p).scatter(-1, order, sorted_p * keep)
    elif 0 < top_k < len(p):
        p = p * (p >= p.topk(top_k).values[-1])
    return p / p.sum()


def by_hand(logits, temperature, top_k, top_p):
    """The same distribution with plain loops, as a check."""
    import math
    e = [math.exp((x - max(logits)) / temperature) for x in logits]
    p = [x / sum(e) for x in e]
    if top_p > 0:
        before, kept = 0.0, set()
        for i in sorted(range(len(p)), key=lambda i: -p[i]):
            if before <= top_p:
                kept.add(i)
            before += p[i]
    elif top_k > 0:
        kept = {i for i in range(len(p)) if sum(x > p[i] for x in p) < top_k}
    else:
        kept = set(range(len(p)))
    total = sum(p[i] for i in kept)
    return [p[i] / total if i in kept else 0.0 for i in range(len(p))]


def make():
    logits = (Rng(5).normal(12) * 64).round() / 64
    logits[7] = logits[3] = logits.sort(descending=True).values[3]  # a tie at the edge of top-k 5
    cases = []
    for t, k, p in [(1.0, 0, 0.0), (1.0, 1, 0.0), (1.0, 5, 0.0), (0.7, 5, 0.0), (1.3, 250, 0.0), (1.0, 0, 0.45), (0.5, 0, 0.8), (1.0, 3, 0.95), (1.0, 0, 1e-6)]:
        out = probabilities(logits, t, k, p)
        assert torch.allclose(out, torch.tensor(by_hand(logits.tolist(), t, k, p)).double(), atol=1e-7)
        cases.append(dict(temperature=t, top_k=k, top_p=p, probabilities=[round(float(x), 9) for x in out]))
    save_json("sampling.json", dict(about="top_p goes before top_k; 0 is off; ties at the k-th largest are kept", logits=logits.tolist(), cases=cases))
    print("sampling.json: both implementations agree")
