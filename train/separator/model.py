"""The separator's net in PyTorch, the reference for the engine's separator kind `mask`
(docs/reference/model-format.md describes the same).

A U-Net along frequency with ConvNeXt blocks along time. For each bin of the short-time spectrum (2048 samples, hop 512,
at 32 kHz) it gives one share per source; the shares add up to one, so the sources add up to the mixture. The bin at
16 kHz goes to the last source. Channels of a recording are separated independently.

Activations are [batch, channels, frames, rows of frequency]; in the blocks [batch, frames, width].
"""

import torch
import torch.nn.functional as F
from torch import nn

SOURCES = ["drums", "bass", "other", "voice"]
RATE, N_FFT, HOP = 32000, 2048, 512
CONFIG = {"n_fft": N_FFT, "hop": HOP, "sample_rate": RATE, "sources": SOURCES, "channels": [16, 32, 64, 128], "width": 384, "hidden": 768,
          "kernel": 7, "dilations": [1, 2, 4, 8, 1, 2], "eps": 1e-5}


def spectrum(audio: torch.Tensor, n: int = N_FFT, hop: int = HOP) -> torch.Tensor:
    """Complex spectra [B, ceil(samples/hop) + n/hop - 1, n/2 + 1] of audio [B, samples]: frame j begins at sample
    hop·(j + 1) - n; zeros are assumed before the start and after the end. A full-scale sine has magnitude n/4."""
    frames = -(-audio.shape[1] // hop) + n // hop - 1
    x = F.pad(audio, (n - hop, (frames - 1) * hop + n - (n - hop) - audio.shape[1]))
    return torch.fft.rfft(x.unfold(1, n, hop) * torch.hann_window(n, device=x.device))


def waveform(spectra: torch.Tensor, samples: int, n: int = N_FFT, hop: int = HOP) -> torch.Tensor:
    """The inverse of `spectrum`."""
    window = torch.hann_window(n, device=spectra.device)
    wave = torch.fft.irfft(spectra, n) * window
    total = (wave.shape[1] - 1) * hop + n
    full = F.fold(wave.transpose(1, 2), (1, total), (1, n), stride=(1, hop))[:, 0, 0]
    return full[:, n - hop:n - hop + samples] / (window**2).view(-1, hop).sum(0).repeat(-(-samples // hop))[:samples]


def features(spectra: torch.Tensor) -> torch.Tensor:
    """Log magnitudes [B, 1, frames, n/2] without the last bin, about in -2..2."""
    n = 2 * (spectra.shape[-1] - 1)
    return ((torch.log(spectra[..., :-1].abs() * (4.0 / n) + 1e-5) + 6.0) / 3.0)[:, None]


class Block(nn.Module):
    """ConvNeXt block along time: depthwise convolution, LayerNorm, two linear layers, residual. It sees as many
    frames ahead as behind. Export multiplies the layer scale into pw2."""

    def __init__(self, dim: int, hidden: int, kernel: int, dilation: int, eps: float, scale: float):
        super().__init__()
        self.kernel, self.dilation = kernel, dilation
        self.dw = nn.Conv1d(dim, dim, kernel, groups=dim)
        self.norm = nn.LayerNorm(dim, eps=eps)
        self.pw1 = nn.Linear(dim, hidden)
        self.pw2 = nn.Linear(hidden, dim)
        self.gamma = nn.Parameter(torch.full((dim,), scale))

    def forward(self, x):
        side, frames = self.dilation * (self.kernel // 2), x.shape[1]
        # On a CPU a sum of shifted products is faster than the grouped convolution.
        padded = F.pad(x, (0, 0, side, side))
        y = self.dw.bias + sum(padded[:, i * self.dilation:i * self.dilation + frames] * self.dw.weight[:, 0, i] for i in range(self.kernel))
        return x + self.gamma * self.pw2(F.gelu(self.pw1(self.norm(y))))


class Separator(nn.Module):
    def __init__(self, c: dict):
        super().__init__()
        self.c = c
        ch, bins = c["channels"], c["n_fft"] // 2
        taps = lambda i: 1 if i == 0 else 3  # frames that a layer sees; the largest layer only its own  # noqa: E731
        into = [1, *ch]
        rows = [bins // 4 ** (i + 1) for i in range(len(ch))]
        self.down = nn.ModuleList(nn.Conv2d(into[i], into[i + 1], (taps(i), 8), (1, 4), (taps(i) // 2, 2), bias=False) for i in range(len(ch)))
        self.down_bias = nn.ParameterList(nn.Parameter(torch.zeros(ch[i], 1, rows[i])) for i in range(len(ch)))  # by row: where in the spectrum
        flat = ch[-1] * rows[-1]
        setattr(self, "in", nn.Linear(flat, c["width"]))
        self.blocks = nn.ModuleList(Block(c["width"], c["hidden"], c["kernel"], d, c["eps"], 1.0 / len(c["dilations"])) for d in c["dilations"])
        self.norm = nn.LayerNorm(c["width"], eps=c["eps"])
        self.out = nn.Linear(c["width"], flat)
        out = [len(c["sources"]), *ch[:-1]]
        self.up = nn.ModuleList(nn.ConvTranspose2d(ch[i], out[i], (taps(i), 8), (1, 4), (taps(i) // 2, 2), bias=False) for i in range(len(ch)))
        self.up_bias = nn.ParameterList(nn.Parameter(torch.zeros(out[i], 1, 4 * rows[i])) for i in range(len(ch)))
        self.direct = nn.Conv2d(1, out[0], (1, 3), padding=(0, 1), bias=False)  # the input's fine structure

    def forward(self, x):
        """`features` [B, 1, frames, bins] to logits of the shares [B, sources, frames, bins]."""
        start, skips = x, []
        for conv, bias in zip(self.down, self.down_bias):
            x = F.gelu(conv(x) + bias)
            skips.append(x)
        b, ch, frames, rows = x.shape
        y = getattr(self, "in")(x.permute(0, 2, 3, 1).reshape(b, frames, rows * ch))
        for block in self.blocks:
            y = block(y)
        x = self.out(self.norm(y)).view(b, frames, rows, ch).permute(0, 3, 1, 2)
        for i in reversed(range(len(self.up))):
            x = self.up[i](x + skips[i]) + self.up_bias[i]
            if i > 0:
                x = F.gelu(x)
        return x + self.direct(start)

    def shares(self, spectra: torch.Tensor) -> torch.Tensor:
        """Shares [B, sources, frames, n/2 + 1] for complex spectra."""
        s = torch.softmax(self(features(spectra)).float(), 1)
        last = torch.zeros_like(s[..., :1])
        last[:, -1] = 1
        return torch.cat([s, last], -1)

    @torch.no_grad()
    def separate(self, audio: torch.Tensor) -> torch.Tensor:
        """Audio [B, samples] to sources [B, sources, samples]."""
        spectra = spectrum(audio)
        masked = self.shares(spectra) * spectra[:, None]
        b, s = masked.shape[:2]
        return waveform(masked.flatten(0, 1), audio.shape[1]).view(b, s, -1)
