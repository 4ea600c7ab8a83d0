"""Golden vectors of the language model: random weights in our format, logits and greedy runs from
transformers' MusicgenForCausalLM."""
import math

import torch
from torch.nn.functional import gelu, layer_norm
from transformers import MusicgenForCausalLM
from transformers.models.musicgen.configuration_musicgen import MusicgenDecoderConfig

import patterns
from common import Rng, exact, save, save_json

PROJ = "condition_provider.conditioners.description.output_proj"


def random_weights(rng, dim, layers, heads, ffn, card, streams, text_dim, dtype, controls=()):
    """Random weights of lm.safetensors as float64 tensors, with gains above 1 so that attention and logits
    are far from uniform."""
    w = {}

    def norm(name):
        w[f"{name}.weight"] = rng.normal(dim, std=0.3, mean=1.0)
        w[f"{name}.bias"] = rng.normal(dim, std=0.2)

    for k in range(streams):
        w[f"emb.{k}.weight"] = rng.normal(card + 1, dim, std=0.6)
        w[f"linears.{k}.weight"] = rng.matrix(card, dim, 3.0)
    for name, size in controls:
        w[f"control.{name}.weight"] = rng.normal(size + 1, dim, std=0.5)
    for n in range(layers):
        p = f"transformer.layers.{n}"
        for name in ("norm1", "norm_cross", "norm2"):
            norm(f"{p}.{name}")
        for name in ("self_attn", "cross_attention"):
            w[f"{p}.{name}.in_proj_weight"] = torch.cat([rng.matrix(2 * dim, dim, 1.5), rng.matrix(dim, dim, 1.2)])
            w[f"{p}.{name}.out_proj.weight"] = rng.matrix(dim, dim, 1.2)
        w[f"{p}.linear1.weight"] = rng.matrix(ffn, dim, 1.2)
        w[f"{p}.linear2.weight"] = rng.matrix(dim, ffn, 1.5)
    norm("out_norm")
    w[f"{PROJ}.weight"], w[f"{PROJ}.bias"] = rng.matrix(dim, text_dim, 1.0), rng.normal(dim, std=0.2)
    return {k: exact(v, dtype) for k, v in w.items()}


def to_hf(w, layers, streams):
    """Tensors under the names of MusicgenForCausalLM (section 5). Controls at null are a constant, which is
    added to emb.0."""
    hf, d = {}, "model.decoder"
    null = sum((t[-1] for name, t in w.items() if name.startswith("control.")), torch.zeros(()).double())
    for k in range(streams):
        hf[f"{d}.embed_tokens.{k}.weight"] = w[f"emb.{k}.weight"] + (null if k == 0 else 0)
        hf[f"lm_heads.{k}.weight"] = w[f"linears.{k}.weight"]
    for n in range(layers):
        a, b = f"transformer.layers.{n}", f"{d}.layers.{n}"
        for ours, theirs in [("norm1", "self_attn_layer_norm"), ("norm_cross", "encoder_attn_layer_norm"), ("norm2", "final_layer_norm")]:
            for part in ("weight", "bias"):
                hf[f"{b}.{theirs}.{part}"] = w[f"{a}.{ours}.{part}"]
        for ours, theirs in [("self_attn", "self_attn"), ("cross_attention", "encoder_attn")]:
            for part, m in zip("qkv", w[f"{a}.{ours}.in_proj_weight"].chunk(3)):
                hf[f"{b}.{theirs}.{part}_proj.weight"] = m
            hf[f"{b}.{theirs}.out_proj.weight"] = w[f"{a}.{ours}.out_proj.weight"]
        hf[f"{b}.fc1.weight"], hf[f"{b}.fc2.weight"] = w[f"{a}.linear1.weight"], w[f"{a}.linear2.weight"]
    for part in ("weight", "bias"):
        hf[f"{d}.layer_norm.{part}"] = w[f"out_norm.{part}"]
    return hf


def hf_config(dim, layers, heads, ffn, card, streams, **_):
    return MusicgenDecoderConfig(vocab_size=card, max_position_embeddings=2048, num_hidden_layers=layers, ffn_dim=ffn, dropout=0.0,
        num_attention_heads=heads, hidden_size=dim, num_codebooks=streams, pad_token_id=card, bos_token_id=card)


def hf_model(w, size, dtype=torch.float64):
    """MusicgenForCausalLM with these weights."""
    model = MusicgenForCausalLM(hf_config(**size)).to(dtype).eval()
    missing, unexpected = model.load_state_dict(to_hf(w, size["layers"], size["streams"]), strict=False)
    assert not unexpected and not missing, (missing, unexpected)
    return model


class Lane:
    """One lane: its condition [L, dim] (None for the null lane) and its KV cache."""

    def __init__(self, model, cond):
        self.model, self.cond, self.past = model, cond, None

    @torch.no_grad()
    def feed(self, tokens):
        """Logits [n, K, card] of n more steps [K, n]."""
        cond = None if self.cond is None else self.cond[None]
        out = self.model(tokens, encoder_hidden_states=cond, past_key_values=self.past, use_cache=True)
        self.past = out.past_key_values
        return out.logits.transpose(0, 1)


def project(w, hidden):
    return hidden @ w[f"{PROJ}.weight"].T + w[f"{PROJ}.bias"]


def plain(w, size, tokens, cond, controls={}):
    """A second implementation, from docs/reference/model-format.md alone: checks the tensor names, and is the
    reference for controls.

    tokens [K, S], cond [L, dim] or None, controls {name: [S]}; returns the logits [S, K, card].
    """
    dim, heads, S = size["dim"], size["heads"], tokens.shape[1]
    x = sum(w[f"emb.{k}.weight"][row] for k, row in enumerate(tokens))
    for name in (n for n in w if n.startswith("control.")):
        value = controls.get(name.split(".")[1], torch.full((S,), len(w[name]) - 1))
        x = x + w[name][value]
    phi = torch.arange(S).double()[:, None] / 10000 ** (torch.arange(dim // 2).double() / (dim // 2 - 1))
    x = x + torch.cat([phi.cos(), phi.sin()], dim=1)
    causal = torch.full((S, S), -math.inf).double().triu(1)

    def norm(name, v):
        return layer_norm(v, (dim,), w[f"{name}.weight"], w[f"{name}.bias"], 1e-5)

    def attend(name, q_from, kv_from, mask):
        wq, wk, wv = w[f"{name}.in_proj_weight"].chunk(3)
        q, k, v = (t.reshape(len(t), heads, -1).transpose(0, 1) for t in (q_from @ wq.T, kv_from @ wk.T, kv_from @ wv.T))
        p = (q @ k.transpose(1, 2) / math.sqrt(dim // heads) + mask).softmax(-1)
        return (p @ v).transpose(0, 1).reshape(-1, dim) @ w[f"{name}.out_proj.weight"].T

    for n in range(size["layers"]):
        p = f"transformer.layers.{n}"
        h = norm(f"{p}.norm1", x)
        x = x + attend(f"{p}.self_attn", h, h, causal)
        if cond is not None:
            x = x + attend(f"{p}.cross_attention", norm(f"{p}.norm_cross", x), cond, 0.0)
        x = x + gelu(norm(f"{p}.norm2", x) @ w[f"{p}.linear1.weight"].T) @ w[f"{p}.linear2.weight"].T
    x = norm("out_norm", x)
    return torch.stack([x @ w[f"linears.{k}.weight"].T for k in range(len(tokens))], dim=1)


def close(a, b, what, tol=1e-5):
    err = float((a - b).abs().max() / b.abs().max())
    assert err < tol, f"{what}: {err}"
    return err


CFG = 3.0


def logits_golden(model, w, size, delays, hidden, rng, frames=44):
    """Tokens in the delay pattern (some frames masked, as in an edit) and the logits of all steps: text lane,
    null lane, guided."""
    K, card, cond = size["streams"], size["card"], project(w, hidden)
    grid = rng.ints(card, K, frames)
    grid[:, 9] = card
    grid[K - 1, :10] = card
    tokens = patterns.layout(grid, delays, card)
    tokens = tokens[:, :48]
    out = {"lm.tokens": tokens, "lm.hidden": hidden}
    for name, c in (("lm.logits", cond), ("lm.logits.null", None)):
        whole = Lane(model, c).feed(tokens)
        lane = Lane(model, c)
        cached = torch.cat([lane.feed(tokens[:, :16])] + [lane.feed(tokens[:, s : s + 1]) for s in range(16, tokens.shape[1])])
        e1, e2 = close(cached, whole, "cached against whole", 1e-12), close(plain(w, size, tokens, c), whole, "plain against transformers")
        out[name] = whole
    zeros = Lane(model, torch.zeros_like(cond)).feed(tokens)
    close(zeros, whole, "null branch: zero condition against no cross-attention", 1e-12)
    out["lm.logits.guided"] = out["lm.logits.null"] + (out["lm.logits"] - out["lm.logits.null"]) * CFG
    p = out["lm.logits"].softmax(-1)
    print(f"  logits std {float(out['lm.logits'].std()):.2f}, entropy {float(-(p * p.log()).sum(-1).mean()):.2f} of {math.log(card):.2f} nats;"
          f" cached {e1:.0e}, plain {e2:.0e}")
    return out


def runs(model, w, size, delays, hidden, rng, kept_stem):
    """Greedy runs of section 7 as plain values: text, prompt, forced streams, edits. `kept_stem`: streams
    forced in the edits."""
    K, card, cond = size["streams"], size["card"], project(w, hidden)
    empty = torch.zeros((K, 0), dtype=torch.long)
    prompt, source = rng.ints(card, K, 6), rng.ints(card, K, 50)
    redo = [k for k in range(K) if k not in kept_stem]
    window = 10 + 1  # 50 frames decimated by 5, and the transition
    edit = patterns.edit_prompt(source, 5, redo, card)
    texture = patterns.edit_prompt(source, 5, [K - 2, K - 1], card)
    cases = {
        "text": dict(G=24, prompt=empty, guidance=CFG),
        "text_without_guidance": dict(G=24, prompt=empty, guidance=1.0),
        "no_text": dict(G=24, prompt=empty, guidance=0.0),
        "prompt": dict(G=24, prompt=prompt, guidance=CFG),
        "forced_short": dict(G=24, prompt=prompt, forced=source[:, :11], forced_streams=kept_stem, guidance=CFG),
        "edit": dict(G=window + 18, prompt=edit, forced=source[:, :18], forced_streams=kept_stem, guidance=CFG),
        "edit_free": dict(G=window + 12, prompt=edit, guidance=CFG),
        "edit_texture": dict(G=window + 12, prompt=texture, forced=source[:, :12], forced_streams=list(range(K - 2)), guidance=CFG),
    }
    out = []
    for name, c in cases.items():
        g, forced, kept = c["guidance"], c.get("forced"), c.get("forced_streams", [])
        lanes = [Lane(model, cond) if g > 0 else None, Lane(model, None) if g != 1 else None]

        def feed(tokens):
            a, b = (lane and lane.feed(tokens) for lane in lanes)
            return a if b is None else b if a is None else b + (a - b) * g

        r = patterns.generate(feed, delays, card, c["G"], c["prompt"], forced, kept)
        assert int(r["codes"][:, c["prompt"].shape[1] :].max()) < card
        for k in kept:
            assert torch.equal(r["codes"][k, c["prompt"].shape[1] :][: forced.shape[1]], forced[k])
        out.append(dict(name=name, guidance=g, frames=c["G"], prompt_frames=c["prompt"].shape[1], forced_frames=0 if forced is None else forced.shape[1],
            forced_streams=kept, steps=r["sequence"].shape[1], prefill=r["prefill"], forwards=r["forwards"], needed_forwards=r["needed"],
            margin=round(r["margin"], 6), prompt=c["prompt"].tolist(), forced=[] if forced is None else forced.tolist(),
            codes=r["codes"].tolist(), sequence=r["sequence"].tolist()))
    return out


def golden(name, size, delays, hidden, dtype, seed, kept_stem, controls=(), exact_in=None):
    """Writes NAME/lm.safetensors and NAME.runs.json. Returns the weights and the lm.* tensors of
    NAME.golden.safetensors.

    Tries seeds for the runs' tokens until every greedy choice leads the second highest logit by 1e-3 or more.
    """
    print(name, size)
    w = random_weights(Rng(seed), text_dim=hidden.shape[1], dtype=exact_in or dtype, controls=controls, **size)
    save(f"{name}/lm.safetensors", w, dtype)
    model = hf_model(w, size)
    hidden = exact(hidden, torch.float32)
    out = logits_golden(model, w, size, delays, hidden, Rng(seed + 1))
    if controls:
        S = out["lm.tokens"].shape[1]
        values = {c: patterns.control_row(Rng(seed + 2 + i).ints(card + 1, 44), S, card) for i, (c, card) in enumerate(controls)}
        out["lm.logits.controls"] = plain(w, size, out["lm.tokens"], project(w, hidden), values)
        out.update({f"lm.control.{c}": v for c, v in values.items()})
        assert float((out["lm.logits.controls"] - out["lm.logits"]).abs().max()) > 0.5
    for attempt in range(100):
        cases = runs(model, w, size, delays, hidden, Rng(seed + 100 + attempt), kept_stem)
        margin = min(c["margin"] for c in cases)
        if margin > 1e-3:
            break
    assert margin > 1e-3
    print(f"  {len(cases)} runs, smallest lead {margin:.4f} (draw {attempt}), distinct codes {len(set(sum(cases[0]['codes'], [])))}")
    save_json(f"{name}.runs.json", dict(delays=delays, special=size["card"], hidden=f"lm.hidden of {name}.golden.safetensors",
        guidance_meaning="logits = null + (cond - null) * guidance; 1: text lane alone; 0: null lane alone", cases=cases))
    return w, out
