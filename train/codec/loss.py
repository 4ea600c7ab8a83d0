"""What the codecs are trained to keep: spectra at several windows; for bass and other also long windows low down.

A 64-band mel loss cannot hear bass pitch (docs/explanation/house-model.md section 2), so long linear windows listen below 2–4 kHz.
"""

import torch

# stem: [(n_fft, hop, highest bin or None, weight)]
WINDOWS = {
    "bass": [(8192, 1024, 512, 2.0), (4096, 512, 512, 1.0), (2048, 512, None, 1.0), (512, 128, None, 1.0)],
    "drums": [(2048, 512, None, 1.0), (1024, 256, None, 1.0), (512, 128, None, 1.0), (256, 64, None, 1.0)],
    "other": [(8192, 1024, 1024, 1.0), (4096, 1024, None, 1.0), (1024, 256, None, 1.0), (512, 128, None, 1.0)],
}


def magnitudes(x, n, hop, top):
    """A full-scale sine measures 1. [B, frames, bins]"""
    spec = torch.fft.rfft(x.unfold(1, n, hop) * torch.hann_window(n, device=x.device))
    return (spec[..., :top] if top else spec).abs() * (4.0 / n)


def spectral(y, x, stem: str):
    """Mean over windows of |Δ ln(m + 1e-3)| and of the spectral convergence."""
    total = y.new_zeros(())
    for n, hop, top, weight in WINDOWS[stem]:
        a, b = magnitudes(y, n, hop, top), magnitudes(x, n, hop, top)
        log = (torch.log(a + 1e-3) - torch.log(b + 1e-3)).abs().mean()
        convergence = ((a - b).square().sum((1, 2)) / (b.square().sum((1, 2)) + 1e-4)).sqrt().mean()
        total = total + weight * (log + 0.5 * convergence)
    return total / sum(w[3] for w in WINDOWS[stem])


def rises(x):
    """How much each of 37 bands of a third of an octave or so grows within 15 ms, every 5 ms: strokes and nothing else. [B, frames, bands]"""
    edges = torch.unique(torch.logspace(0, 9, 40, 2).round().long()).to(x.device)
    count = edges.diff()
    sums = torch.cumsum(torch.fft.rfft(x.unfold(1, 1024, 160) * torch.hann_window(1024, device=x.device)).abs(), -1)
    bands = torch.log1p((sums[..., edges[1:] - 1] - sums[..., edges[:-1] - 1]) / count * (4000 / 1024))
    return torch.relu(bands[:, 3:] - bands[:, :-3])


def attacks(y, x):
    """How far the strokes of y are from those of x, as a share of x's."""
    a, b = rises(y), rises(x)
    return (a - b).abs().mean() / (b.mean() + 1e-3)
