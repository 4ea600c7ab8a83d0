"""Discriminators for fine-tuning a decoder: complex spectra at three resolutions (as in EnCodec and DAC,
smaller)."""

import torch
import torch.nn.functional as F
from torch import nn

RESOLUTIONS = (2048, 1024, 512)


class SpectrumDiscriminator(nn.Module):
    """Strided 2-D convolutions over the real and imaginary parts of one STFT, [B, 2, frames, bins]."""

    def __init__(self, n: int, width: int = 16):
        super().__init__()
        self.n = n
        shapes = [(2, width, (1, 1)), (width, width, (1, 2)), (width, 2 * width, (1, 2)), (2 * width, 2 * width, (1, 2))]
        self.layers = nn.ModuleList(nn.utils.parametrizations.weight_norm(nn.Conv2d(i, o, (3, 9), s, (1, 4))) for i, o, s in shapes)
        self.verdict = nn.utils.parametrizations.weight_norm(nn.Conv2d(2 * width, 1, (3, 3), padding=1))

    def forward(self, x):
        """Audio [B, samples] → (real-or-fake scores, feature maps of the layers)."""
        spec = torch.fft.rfft(x.unfold(1, self.n, self.n // 4) * torch.hann_window(self.n, device=x.device)) * (4.0 / self.n)
        # Compressed magnitude, or low frequencies would dominate.
        size = spec.abs().clamp(min=1e-6)
        spec = spec * size ** -0.7
        y, maps = torch.stack([spec.real, spec.imag], 1), []
        for layer in self.layers:
            y = F.leaky_relu(layer(y), 0.1)
            maps.append(y)
        return self.verdict(y), maps


class Discriminators(nn.Module):
    """One discriminator per resolution."""

    """One discriminator per resolution."""

    def __init__(self):
        super().__init__()
        self.each = nn.ModuleList(SpectrumDiscriminator(n) for n in RESOLUTIONS)

    def forward(self, x):
        return [one(x) for one in self.each]


def discriminator_loss(real, fake):
    """Hinge loss of the discriminators on real and decoded audio."""
    return sum(F.relu(1 - r[0]).mean() + F.relu(1 + f[0]).mean() for r, f in zip(real, fake)) / len(real)


def generator_loss(real, fake):
    """The decoder's losses: (hinge loss against the discriminators, relative L1 distance of their feature
    maps)."""
    adversarial = sum(F.relu(1 - f[0]).mean() for f in fake) / len(fake)
    features = sum((a.detach() - b).abs().mean() / a.detach().abs().mean() for r, f in zip(real, fake) for a, b in zip(r[1], f[1]))
    return adversarial, features / sum(len(r[1]) for r in real)
