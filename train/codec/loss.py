"""Reconstruction losses of the codecs: magnitude spectra at several window lengths, and for drums the onsets.

The usual 64-band mel loss cannot resolve the pitch of a bass note, so bass and `other` also use long windows
with linear bins below 2 to 4 kHz.
"""

import torch

# stem: [(n_fft, hop, highest bin or None, weight)]
WINDOWS = {
    "bass": [(8192, 1024, 512, 2.0), (4096, 512, 512, 1.0), (2048, 512, None, 1.0), (512, 128, None, 1.0)],
    "drums": [(2048, 512, None, 1.0), (1024, 256, None, 1.0), (512, 128, None, 1.0), (256, 64, None, 1.0)],
    "other": [(8192, 1024, 1024, 1.0), (4096, 1024, None, 1.0), (1024, 256, None, 1.0), (512, 128, None, 1.0)],
}


def magnitudes(x, n, hop, top):
    """Magnitude STFT [B, frames, bins], scaled so that a full-scale sine has magnitude 1."""
    spec = torch.fft.rfft(x.unfold(1, n, hop) * torch.hann_window(n, device=x.device))
    return (spec[..., :top] if top else spec).abs() * (4.0 / n)


def spectral_loss(y, x, stem: str):
    """Weighted mean over the stem's windows: L1 of the log magnitudes plus half of the spectral convergence."""
    total = y.new_zeros(())
    for n, hop, top, weight in WINDOWS[stem]:
        a, b = magnitudes(y, n, hop, top), magnitudes(x, n, hop, top)
        log = (torch.log(a + 1e-3) - torch.log(b + 1e-3)).abs().mean()
        convergence = ((a - b).square().sum((1, 2)) / (b.square().sum((1, 2)) + 1e-4)).sqrt().mean()
        total = total + weight * (log + 0.5 * convergence)
    return total / sum(w[3] for w in WINDOWS[stem])


def onset_strength(x):
    """How much the level of each of 37 bands (about a third of an octave) grows within 15 ms, every 5 ms: [B,
    frames, bands]."""
    edges = torch.unique(torch.logspace(0, 9, 40, 2).round().long()).to(x.device)
    count = edges.diff()
    sums = torch.cumsum(torch.fft.rfft(x.unfold(1, 1024, 160) * torch.hann_window(1024, device=x.device)).abs(), -1)
    bands = torch.log1p((sums[..., edges[1:] - 1] - sums[..., edges[:-1] - 1]) / count * (4000 / 1024))
    return torch.relu(bands[:, 3:] - bands[:, :-3])


def onset_loss(y, x):
    """Distance of the onsets of y from those of x, relative to x."""
    a, b = onset_strength(y), onset_strength(x)
    return (a - b).abs().mean() / (b.mean() + 1e-3)
