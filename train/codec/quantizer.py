"""The factorised cosine residual quantizer (docs/explanation/musicgen-stem.md 3.7b), with what keeps its codes alive in training."""

import torch
import torch.nn.functional as F
from torch import nn


class Quantizer(nn.Module):
    def __init__(self, dim: int, code_dim: int, card: int):
        super().__init__()
        self.in_proj = nn.Linear(dim, code_dim)
        self.out_proj = nn.Linear(code_dim, dim)
        self.codebook = nn.Embedding(card, code_dim)
        self.register_buffer("idle", torch.zeros(card), persistent=False)

    def nearest(self, e):
        """argmax of the cosine: [..., code_dim] to [...]."""
        return (F.normalize(e, dim=-1) @ F.normalize(self.codebook.weight, dim=-1).T).argmax(-1)

    def forward(self, r):
        e = self.in_proj(r)
        codes = self.nearest(e.detach())
        c = self.codebook(codes)
        loss = F.mse_loss(c, e.detach()) + 0.25 * F.mse_loss(e, c.detach())
        if self.training:
            self._revive(codes, e.detach())
        return self.out_proj(e + (c - e).detach()), codes, loss

    @torch.no_grad()
    def _revive(self, codes, e):
        """A code unused for 300 steps is put where some latent is. Plain EMA books collapse (docs/explanation/house-model.md section 2)."""
        used = torch.bincount(codes.flatten(), minlength=len(self.idle)) > 0
        self.idle.add_(1.0)
        self.idle[used] = 0
        dead = (self.idle > 300).nonzero().flatten()
        if len(dead):
            pool = e.reshape(-1, e.shape[-1])
            pick = torch.randint(len(pool), (len(dead),), device=pool.device)
            self.codebook.weight[dead] = pool[pick] + 0.01 * torch.randn(len(dead), pool.shape[1], device=pool.device)
            self.idle[dead] = 0

    @torch.no_grad()
    def seed(self, r):
        """Starts the book from real latents [N, dim]."""
        e = self.in_proj(r).reshape(-1, self.codebook.weight.shape[1])
        pick = torch.randint(len(e), (len(self.codebook.weight),), device=e.device)
        self.codebook.weight.copy_(e[pick] + 0.01 * e.std() * torch.randn(len(pick), e.shape[1], device=e.device))

    def decode(self, codes):
        return self.out_proj(self.codebook(codes))


class ResidualQuantizer(nn.Module):
    def __init__(self, dim: int, code_dim: int, card: int, books: int):
        super().__init__()
        self.books = nn.ModuleList(Quantizer(dim, code_dim, card) for _ in range(books))

    def forward(self, z, drop: float = 0.0):
        """Latents [B, T, dim] → (quantized, codes [B, books, T], loss, what book 0 alone says [B, T, dim]).

        `drop`: share of items that keep only a few books.
        """
        keep = torch.full((z.shape[0], 1, 1), len(self.books), device=z.device)
        if drop > 0:
            few = torch.randint(1, len(self.books) + 1, keep.shape, device=z.device)
            keep = torch.where(torch.rand(keep.shape, device=z.device) < drop, few, keep)
        r, total, codes, loss, coarse = z, torch.zeros_like(z), [], z.new_zeros(()), None
        for q, book in enumerate(self.books):
            y, k, one = book(r)
            coarse = y if coarse is None else coarse
            total = total + y * (q < keep)
            r = r - y.detach()
            codes.append(k)
            loss = loss + one
        return total, torch.stack(codes, 1), loss, coarse

    @torch.no_grad()
    def seed(self, z):
        r = z.reshape(-1, z.shape[-1])
        for book in self.books:
            book.seed(r)
            r = r - book.decode(book.nearest(book.in_proj(r)))

    def decode(self, codes):
        """[B, books, T] → [B, T, dim]."""
        return sum(book.decode(codes[:, q]) for q, book in enumerate(self.books))
