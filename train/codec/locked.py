"""Spectra with locked phases, the reference for the engine's `phase: "locked"`
(docs/reference/model-format.md describes the same).

The decoder predicts log magnitudes and noise shares, no phases. Partials get their phase by integration: the
frequency of each spectral peak follows from the magnitudes around it, its phase advances by that frequency, and the
bins around a peak share its phase (identity phase locking: Laroche and Dolson 1999). Noise is the spectrum of white
noise, so its frames overlap consistently. Neither loses energy in the overlap-add.

Phases are integers: 2³² is one turn. "Centred" means that the middle of the window has time 0, so that all bins of
a stationary partial have one phase.
"""

import functools
import math

import torch

TURN = 1 << 32


def next_uphill(l: torch.Tensor) -> torch.Tensor:
    """For each bin of [..., K] the index of the largest of itself and its two neighbours."""
    edge = torch.full_like(l[..., :1], -math.inf)
    below, above = torch.cat([edge, l[..., :-1]], -1), torch.cat([l[..., 1:], edge], -1)
    up = (above > l) & (above >= below)
    down = (below > l) & ~up
    return torch.arange(l.shape[-1], device=l.device) + up.long() - down.long()


def peaks(l: torch.Tensor) -> torch.Tensor:
    """For each bin of log magnitudes [..., K] the index of the peak that an ascent from it reaches."""
    to = next_uphill(l)
    for _ in range(max(1, (l.shape[-1] - 1).bit_length())):
        to = to.gather(-1, to)
    return to


def advances(l: torch.Tensor, n_fft: int, hop: int) -> torch.Tensor:
    """Phase advance per hop (turns, integer) of a partial whose peak is at each bin of [..., K]: the bin's own, and
    the offset of the vertex of a parabola through the three log magnitudes, at most half a bin."""
    a, b, c = l[..., :-2], l[..., 1:-1], l[..., 2:]
    curve = a - 2 * b + c
    offset = torch.where(curve < -1e-6, 0.5 * (a - c) / curve.clamp(max=-1e-6), torch.zeros_like(curve)).clamp(-0.5, 0.5)
    offset = torch.nn.functional.pad(offset, (1, 1))
    bins = torch.arange(l.shape[-1], device=l.device)
    return (bins * hop * TURN // n_fft + (offset.double() * (hop / n_fft) * TURN).round().long()) % TURN


def lock(l: torch.Tensor, n_fft: int, hop: int) -> torch.Tensor:
    """Phases (turns, integer) of log magnitudes [B, T, K]; all phases are 0 before the first frame."""
    peak, advance = peaks(l), advances(l, n_fft, hop)
    advance = advance.gather(-1, peak)
    now, out = torch.zeros_like(peak[:, 0]), []
    for t in range(l.shape[1]):
        now = (now.gather(-1, peak[:, t]) + advance[:, t]) % TURN
        out.append(now)
    return torch.stack(out, 1)


def white_noise(count: int, seed: int, device=None) -> torch.Tensor:
    """`count` samples of white noise of variance 1: a hash of the sample's index."""
    mask = TURN - 1
    x = (torch.arange(count, device=device) + seed * 0x9E3779B9) & mask
    x = ((x ^ (x >> 16)) * 0x7FEB352D) & mask
    x = ((x ^ (x >> 15)) * 0x846CA68B) & mask
    x = x ^ (x >> 16)
    return ((x.double() - TURN / 2) * (math.sqrt(3) / (TURN / 2))).float()


@functools.cache
def hann(n: int) -> torch.Tensor:
    return torch.hann_window(n)


def noise_spectra(frames: int, n_fft: int, hop: int, seed: int, device=None) -> torch.Tensor:
    """Spectra [frames, K] of white noise, centred, of mean power 1; frame j's window begins at sample hop·j."""
    x = white_noise((frames - 1) * hop + n_fft, seed, device).unfold(0, n_fft, hop) * hann(n_fft).to(device)
    return torch.fft.rfft(x.roll(-(n_fft // 2), -1)) / math.sqrt(3 / 8 * n_fft)


# Power of noise over the square of its median magnitude: the decoder predicts medians.
MEDIAN_POWER = 1 / math.log(2)


def spectra(l: torch.Tensor, u: torch.Tensor, c: dict) -> torch.Tensor:
    """Complex spectra [B, T, K], centred, of log magnitudes and noise shares (logits). Gradients flow through the
    magnitudes and the shares; phases count as given."""
    l, u = l.float().clamp(max=c["max_log"]), u.float()
    turns = lock(l.detach(), c["n_fft"], c["hop"]).double() * (2 * math.pi / TURN)
    tone = torch.exp(l + 0.5 * torch.nn.functional.logsigmoid(-u))
    noise = torch.exp(l + 0.5 * torch.nn.functional.logsigmoid(u)) * math.sqrt(MEDIAN_POWER)
    random = noise_spectra(l.shape[1], c["n_fft"], c["hop"], c.get("noise_seed", 0), l.device)
    return torch.complex(tone * turns.cos().float() + noise * random.real, tone * turns.sin().float() + noise * random.imag)
