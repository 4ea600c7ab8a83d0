"""The factorised cosine residual quantizer (docs/explanation/musicgen-stem.md section 3.7b), with replacement
of dead codes in training."""

import torch
import torch.nn.functional as F
from torch import nn


DEAD = 300  # steps without use after which a code is replaced


DEAD = 300  # steps without use after which a code is replaced


class Quantizer(nn.Module):
    """One codebook: projection to `code_dim`, nearest code by cosine, projection back."""

    """One codebook: projection to `code_dim`, nearest code by cosine, projection back."""

    def __init__(self, dim: int, code_dim: int, card: int):
        super().__init__()
        self.in_proj = nn.Linear(dim, code_dim)
        self.out_proj = nn.Linear(code_dim, dim)
        self.codebook = nn.Embedding(card, code_dim)
        self.register_buffer("unused_steps", torch.zeros(card), persistent=False)

    def nearest(self, e):
        """The code with the highest cosine similarity: [..., code_dim] to [...]."""
        return (F.normalize(e, dim=-1) @ F.normalize(self.codebook.weight, dim=-1).T).argmax(-1)

    def forward(self, r):
        e = self.in_proj(r)
        codes = self.nearest(e.detach())
        c = self.codebook(codes)
        loss = F.mse_loss(c, e.detach()) + 0.25 * F.mse_loss(e, c.detach())
        if self.training:
            self._replace_dead(codes, e.detach())
        return self.out_proj(e + (c - e).detach()), codes, loss

    @torch.no_grad()
    def _replace_dead(self, codes, e):
        """Moves each code unused for DEAD steps to a random latent of this batch. Without it most codes end
        up unused."""
        used = torch.bincount(codes.flatten(), minlength=len(self.unused_steps)) > 0
        self.unused_steps.add_(1.0)
        self.unused_steps[used] = 0
        dead = (self.unused_steps > DEAD).nonzero().flatten()
        if len(dead):
            pool = e.reshape(-1, e.shape[-1])
            pick = torch.randint(len(pool), (len(dead),), device=pool.device)
            self.codebook.weight[dead] = pool[pick] + 0.01 * torch.randn(len(dead), pool.shape[1], device=pool.device)
            self.unused_steps[dead] = 0

    @torch.no_grad()
    def init_from(self, r):
        """Initialises the codebook from latents [N, dim]."""
        e = self.in_proj(r).reshape(-1, self.codebook.weight.shape[1])
        pick = torch.randint(len(e), (len(self.codebook.weight),), device=e.device)
        self.codebook.weight.copy_(e[pick] + 0.01 * e.std() * torch.randn(len(pick), e.shape[1], device=e.device))

    def decode(self, codes):
        return self.out_proj(self.codebook(codes))


class ResidualQuantizer(nn.Module):
    """Several codebooks in series: each quantizes what the ones before it leave."""

    """Several codebooks in series: each quantizes what the ones before it leave."""

    def __init__(self, dim: int, code_dim: int, card: int, books: int):
        super().__init__()
        self.books = nn.ModuleList(Quantizer(dim, code_dim, card) for _ in range(books))

    def forward(self, z, drop: float = 0.0):
        """Latents [B, T, dim] → (quantized, codes [B, books, T], loss, quantized by book 0 alone [B, T,
        dim]).

        `drop`: share of the items that use only the first few books (quantizer dropout).
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
    def init_from(self, z):
        """Initialises every codebook from latents [B, T, dim] and what the books before leave of them."""
        """Initialises every codebook from latents [B, T, dim] and what the books before leave of them."""
        r = z.reshape(-1, z.shape[-1])
        for book in self.books:
            book.init_from(r)
            r = r - book.decode(book.nearest(book.in_proj(r)))

    def decode(self, codes):
        """[B, books, T] → [B, T, dim]."""
        return sum(book.decode(codes[:, q]) for q, book in enumerate(self.books))
