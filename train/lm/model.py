"""The house LM in PyTorch, the reference for the engine's. Tensor names are those of
docs/reference/model-format.md."""

import torch
import torch.nn.functional as F
from torch import nn
from transformers import T5Config, T5EncoderModel


class Attention(nn.Module):
    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.randn(3 * dim, dim) * dim ** -0.5)
        self.out_proj = nn.Linear(dim, dim, bias=False)

    def split(self, x):
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def forward(self, x, memory=None, mask=None):
        """Causal self-attention; with `memory` [B, L, d] and `mask` [B, L] (True: a text token),
        cross-attention to it instead."""
        q, k, v = self.in_proj_weight.chunk(3)
        source = x if memory is None else memory
        q, k, v = (self.split(F.linear(s, w)) for s, w in ((x, q), (source, k), (source, v)))
        if memory is None:
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            # An item without text attends to zero vectors; without biases its output is exactly zero.
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=(mask | ~mask.any(1, keepdim=True))[:, None, None])
        return self.out_proj(y.transpose(1, 2).flatten(2))


class Layer(nn.Module):
    def __init__(self, c: dict):
        super().__init__()
        d, eps = c["dim"], c["norm_eps"]
        self.norm1, self.norm_cross, self.norm2 = (nn.LayerNorm(d, eps=eps) for _ in range(3))
        self.self_attn = Attention(d, c["heads"])
        self.cross_attention = Attention(d, c["heads"])
        self.linear1 = nn.Linear(d, c["ffn"], bias=False)
        self.linear2 = nn.Linear(c["ffn"], d, bias=False)

    def forward(self, x, memory, mask):
        x = x + self.self_attn(self.norm1(x))
        x = x + self.cross_attention(self.norm_cross(x), memory, mask)
        return x + self.linear2(F.gelu(self.linear1(self.norm2(x))))


def sinusoids(steps: int, dim: int) -> torch.Tensor:
    """concat(cos φ, sin φ), φ_i = s / 10000^(i/(dim/2 − 1)): [steps, dim]."""
    i = torch.arange(dim // 2, dtype=torch.float64)
    phi = torch.arange(steps, dtype=torch.float64)[:, None] / 10000 ** (i / (dim // 2 - 1))
    return torch.cat([phi.cos(), phi.sin()], 1).float()


class Lm(nn.Module):
    def __init__(self, config: dict):
        super().__init__()
        c, t = config["lm"], config["text"]
        self.config = config
        cards = [s["card"] for s in config["streams"]]
        self.emb = nn.ModuleList(nn.Embedding(card + 1, c["dim"]) for card in cards)
        self.control = nn.ModuleDict({k["name"]: nn.Embedding(k["card"] + 1, c["dim"]) for k in config["controls"]})
        self.transformer = nn.Module()
        self.transformer.layers = nn.ModuleList(Layer(c) for _ in range(c["layers"]))
        self.out_norm = nn.LayerNorm(c["dim"], eps=c["norm_eps"])
        self.linears = nn.ModuleList(nn.Linear(c["dim"], card, bias=False) for card in cards)
        self.output_proj = nn.Linear(t["dim"], c["dim"])
        self.text = T5EncoderModel(T5Config(
            vocab_size=t["vocab"], d_model=t["dim"], d_kv=t["head_dim"], d_ff=t["ffn"], num_layers=t["layers"], num_heads=t["heads"],
            relative_attention_num_buckets=t["buckets"], relative_attention_max_distance=t["max_distance"], dropout_rate=0.0,
            layer_norm_epsilon=t["eps"], feed_forward_proj="relu", use_cache=False))
        self.register_buffer("positions", sinusoids(2048, c["dim"]), persistent=False)
        for e in [*self.emb, *self.control.values()]:
            nn.init.normal_(e.weight, std=0.5 / len(cards) ** 0.5)
        for layer in self.transformer.layers:
            for w in (layer.self_attn.out_proj, layer.cross_attention.out_proj, layer.linear2):
                nn.init.normal_(w.weight, std=(2 * c["layers"] * w.weight.shape[1]) ** -0.5)

    def encode_text(self, ids, mask):
        """Text token ids [B, L] and mask to the condition [B, L, d], zero where masked."""
        hidden = self.text(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        return self.output_proj(hidden) * mask[..., None]

    def forward(self, seq, controls, memory, mask):
        """Tokens in the delay pattern [B, K, S], controls {name: [B, S]} (null = card), condition [B, L, d] →
        hidden [B, S, d], normalised."""
        x = sum(e(seq[:, k]) for k, e in enumerate(self.emb)) + sum(e(controls[n]) for n, e in self.control.items())
        x = x + self.positions[:x.shape[1]]
        for layer in self.transformer.layers:
            x = layer(x, memory, mask)
        return self.out_norm(x)
