"""The house codec in PyTorch, the reference for the engine's codec kind `istft`
(docs/reference/model-format.md describes the same).

Activations are [batch, frames, channels]. All layers are causal; the encoder's look-ahead is `analysis_ahead`
samples. "Fine" frames are 320 samples (100 Hz), token frames 640 samples (50 Hz).
"""

import functools

import torch
import torch.nn.functional as F
from torch import nn

from ..compute import autocast
from . import locked
from .quantizer import ResidualQuantizer


class Block(nn.Module):
    """ConvNeXt block: depthwise causal convolution, LayerNorm, two linear layers, residual. Export multiplies
    the layer scale into pw2."""

    def __init__(self, dim: int, ffn: int, kernel: int, eps: float, scale: float):
        super().__init__()
        self.kernel = kernel
        self.dw = nn.Conv1d(dim, dim, kernel, groups=dim)
        self.norm = nn.LayerNorm(dim, eps=eps)
        self.pw1 = nn.Linear(dim, ffn)
        self.pw2 = nn.Linear(ffn, dim)
        self.gamma = nn.Parameter(torch.full((dim,), scale))

    def forward(self, x):
        # On a CPU a sum of shifted products is faster than the grouped convolution.
        past = F.pad(x, (0, 0, self.kernel - 1, 0))
        y = self.dw.bias + sum(past[:, i:i + x.shape[1]] * self.dw.weight[:, 0, i] for i in range(self.kernel))
        y = self.pw2(F.gelu(self.pw1(self.norm(y))))
        return x + self.gamma * y


def blocks(n: int, c: dict, total: int) -> nn.ModuleList:
    return nn.ModuleList(Block(c["dim"], c["ffn"], c["kernel"], c["eps"], 1.0 / total) for _ in range(n))


def analyse(audio: torch.Tensor, c: dict) -> torch.Tensor:
    """Log-magnitude features [B, 2·frames, F] of audio [B, samples]; zeros are assumed before the start and
    after the end."""
    frames = -(-audio.shape[1] // 640)
    out = []
    for a in c["analysis"]:
        n = a["n_fft"]
        # Fine frame j's window ends (exclusive) at 320(j+1) + ahead.
        left = n - 320 - c["analysis_ahead"]
        x = F.pad(audio, (max(left, 0), 0))[:, max(-left, 0):]
        need = (2 * frames - 1) * 320 + n
        x = F.pad(x, (0, max(0, need - x.shape[1])))[:, :need]
        spec = torch.fft.rfft(x.unfold(1, n, 320) * torch.hann_window(n, device=x.device))
        out.append((torch.log(spec[..., :a["bins"]].abs() * (4.0 / n) + 1e-5) + 6.0) / 3.0)
    return torch.cat(out, -1)


class Encoder(nn.Module):
    def __init__(self, c: dict):
        super().__init__()
        d, total = c["dim"], c["encoder_blocks"] + c["encoder_blocks50"]
        setattr(self, "in", nn.Linear(sum(a["bins"] for a in c["analysis"]), d))
        self.blocks = blocks(c["encoder_blocks"], c, total)
        self.down = nn.Linear(2 * d, d)
        self.blocks50 = blocks(c["encoder_blocks50"], c, total)
        self.norm = nn.LayerNorm(d, eps=c["eps"])
        self.out = nn.Linear(d, c["latent"])

    def forward(self, features):
        """[B, 2T, F] to latents [B, T, latent]."""
        x = getattr(self, "in")(features)
        for b in self.blocks:
            x = b(x)
        x = self.down(x.reshape(x.shape[0], -1, 2 * x.shape[2]))
        for b in self.blocks50:
            x = b(x)
        return self.out(self.norm(x))


class Decoder(nn.Module):
    def __init__(self, c: dict):
        super().__init__()
        d, total = c["dim"], c["decoder_blocks"] + c["decoder_blocks50"]
        setattr(self, "in", nn.Linear(c["latent"], d))
        self.blocks50 = blocks(c["decoder_blocks50"], c, total)
        self.up = nn.Linear(d, 2 * d)
        self.blocks = blocks(c["decoder_blocks"], c, total)
        self.norm = nn.LayerNorm(d, eps=c["eps"])
        self.head = nn.Linear(d, c["n_fft"] + 2)

    def forward(self, z):
        """Latents [B, T, latent] to (log magnitude, phase), each [B, 2T, n_fft/2+1]."""
        x = getattr(self, "in")(z)
        for b in self.blocks50:
            x = b(x)
        x = self.up(x)
        x = x.reshape(x.shape[0], 2 * x.shape[1], -1)
        for b in self.blocks:
            x = b(x)
        return self.head(self.norm(x)).chunk(2, -1)


def polar(log, phase, c: dict) -> torch.Tensor:
    """Complex spectra of log magnitudes and phases."""
    mag, phase = torch.exp(log.float().clamp(max=c["max_log"])), phase.float()
    return torch.complex(mag * phase.cos(), mag * phase.sin())


def synthesise(first, second, c: dict) -> torch.Tensor:
    """Inverse STFT of the head's two halves [B, 2T, n/2+1] to audio [B, 640·T]. They are log magnitudes and phases,
    or, where the config says `phase: "locked"`, log magnitudes and noise shares (`locked.py`), with phases in place of the
    shares below the bin `locked_from`.
    The window sum is that of an endless stream, at the edges too."""
    n, hop = c["n_fft"], c["hop"]
    if c.get("phase") == "locked":
        # A shift of the centre to the window's begin changes the sign of every other bin.
        sign = 1 - 2 * (torch.arange(n // 2 + 1, device=first.device) % 2)
        spectra, given = locked.spectra(first, second, c) * sign, c.get("locked_from", 0)
        spectra = torch.cat([polar(first[..., :given], second[..., :given], c), spectra[..., given:]], -1)
    else:
        spectra = polar(first, second, c)
    wave = torch.fft.irfft(spectra, n) * torch.hann_window(n, device=first.device)
    count = wave.shape[1]
    full = F.fold(wave.transpose(1, 2), (1, (count - 1) * hop + n), (1, n), stride=(1, hop))[:, 0, 0]
    start = n // 2 - hop // 2  # index in `full` of sample 0
    return full[:, start:start + count * hop] / envelope(n, hop).to(full.device).repeat(count)


@functools.cache
def envelope(n: int, hop: int) -> torch.Tensor:
    """The sum of squared windows of an endless stream, at sample r = 0..hop (it repeats every hop)."""
    w = torch.hann_window(n, dtype=torch.float64) ** 2
    at = [torch.arange((r - hop // 2 + n // 2) % hop, n, hop) for r in range(hop)]
    return torch.stack([w[i].sum() for i in at]).float()


class Codec(nn.Module):
    def __init__(self, c: dict):
        super().__init__()
        self.c = c
        self.encoder = Encoder(c)
        self.quantizer = ResidualQuantizer(c["latent"], c["code_dim"], c["card"], c["books"])
        self.decoder = Decoder(c)

    def forward(self, audio, quantize: bool = True, drop: float = 0.0):
        """Audio [B, n·640] → (audio, codes [B, books, T] or None, quantizer loss, coarse latents [B, T,
        latent])."""
        with autocast(self.training, audio.device.type):
            z = self.encoder(analyse(audio, self.c))
        z, codes, loss, coarse = self.quantizer(z.float(), drop) if quantize else (z.float(), None, z.new_zeros(()).float(), z.float())
        with autocast(self.training, audio.device.type):
            head = self.decoder(z)
        return synthesise(*head, self.c), codes, loss, coarse

    @torch.no_grad()
    def encode(self, audio, fast: bool = False):
        """Audio [B, samples] to codes [B, books, ceil(samples/640)]; `fast`: the encoder in bf16, if that is
        faster here."""
        with autocast(fast, audio.device.type):
            z = self.encoder(analyse(audio, self.c))
        return self.quantizer(z.float())[1]

    @torch.no_grad()
    def decode(self, codes):
        """Codes [B, books, T] to audio [B, 640·T]."""
        return synthesise(*self.decoder(self.quantizer.decode(codes)), self.c)
