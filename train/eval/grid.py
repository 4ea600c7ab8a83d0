"""Grid: how far drum onsets are from the clock's steps, and whether bar one of the pattern falls on bar one."""

import numpy as np
import scipy.signal

from .onset import onsets
from .songs import RATE

WINDOW = 0.02  # s: on the grid
LEAST = 0.08  # s: steps closer than this would catch anything
LATE = 0.0015  # s: what the detector adds, by the labels of rendered drums
SHARPNESS = 4.0  # rise that an onset must have: at 1, one in eleven is only ringing; at 4, one in 27
BANDS = ((20, 120), (200, 2000), (5000, 14000))  # kick, snare and hands, cymbals


def step_s(beat_s: float, triplet: bool) -> float:
    """Seconds of a step: sixteenths, or triplet sixteenths for triplet feels, halved in number where they come too close."""
    parts = 6 if triplet else 4
    while beat_s / parts < LEAST:
        parts //= 2
    return beat_s / parts


def deviations(times: np.ndarray, bar1: float, step: float) -> np.ndarray:
    """Seconds from each time to the nearest step of the clock; positive is late."""
    phase = (np.asarray(times) - bar1) / step
    return (phase - np.round(phase)) * step


def chance(step: float) -> float:
    """Share that onsets at any time at all would have within the window."""
    return min(1.0, 2 * WINDOW / step)


def strong_onsets(x: np.ndarray) -> np.ndarray:
    """Seconds of the drum onsets whose peak is within 12 dB of the loud ones (90th percentile): ghost notes and ringing are left out."""
    t = onsets(x, SHARPNESS) - LATE
    if len(t) == 0:
        return t
    peaks = np.array([np.abs(x[max(0, int((a - 0.005) * RATE)):int((a + 0.03) * RATE)]).max(initial=0) for a in t])
    return t[peaks >= np.percentile(peaks, 90) * 10 ** (-12 / 20)]


def profile(x: np.ndarray, bar1: float, beat_s: float, beats: int, parts: int = 4) -> np.ndarray:
    """Rise of level at each step of the bar in three bands, [beats·parts, 3], mean over the bars; each band sums to 1 (or is 0)."""
    out = np.zeros((beats * parts, len(BANDS)))
    hop = RATE // 100
    for k, band in enumerate(BANDS):
        y = scipy.signal.sosfilt(scipy.signal.butter(2, band, "bandpass", fs=RATE, output="sos"), x) ** 2
        level = np.sqrt(y[:len(y) // hop * hop].reshape(-1, hop).mean(1))
        rise = np.maximum(np.diff(level, prepend=level[:1]), 0)
        t = np.arange(len(rise)) * 0.01 + 0.005
        phase = np.round((t - bar1) / beat_s * parts).astype(int) % (beats * parts)
        np.add.at(out[:, k], phase, rise)
    total = out.sum(0)
    return out / np.where(total > 1e-4, total, np.inf)


def phase(heard: np.ndarray, truth: np.ndarray, parts: int = 4) -> int:
    """Beats by which the heard profile fits the true one best when turned: 0 is right."""
    def fit(shift):
        a = np.roll(heard, -shift * parts, 0)
        return sum(np.corrcoef(a[:, k], truth[:, k])[0, 1] for k in range(a.shape[1]) if a[:, k].std() > 0 and truth[:, k].std() > 0)
    beats = len(truth) // parts
    return max(range(beats), key=lambda s: (fit(s), -s))


def shape(x: np.ndarray, song) -> np.ndarray:
    """Profile of drums `x` over the song's bars."""
    return profile(x, song.downbeats[0], song.beat_s, round((song.downbeats[1] - song.downbeats[0]) / song.beat_s))


def mean_bars(found: list) -> dict:
    """{(meter, triplet feel): mean profile} of the true drums of many songs: where strokes fall in a bar, whoever plays.

    A song's own drums can't tell the bar of drums that play another pattern: another true drummer, set right, is heard right in 40 %."""
    kinds: dict[tuple, list] = {}
    for song in found:
        kinds.setdefault(kind(song), []).append(shape(song.stems["drums"], song))
    return {k: np.mean(v, 0) for k, v in kinds.items()}


def kind(song) -> tuple:
    return tuple(song.label["meter"]), bool(song.label["triplet"])


def score(x: np.ndarray, song) -> dict:
    """Scores of drums `x` against the song's clock: `near` (share of strong onsets within ±20 ms), `chance`, `median_ms` (of the absolute
    deviation), `bias_ms` (median), `onsets_s` (per second), `histogram` (5 ms bins from −40 to 40 ms)."""
    step = step_s(song.beat_s, song.label["triplet"])
    d = deviations(strong_onsets(x), song.downbeats[0], step)
    out = {"chance": chance(step), "onsets_s": len(d) / (len(x) / RATE), "histogram": np.histogram(d, np.arange(-0.04, 0.0401, 0.005))[0].tolist()}
    if len(d):
        out |= {"near": float(np.mean(np.abs(d) <= WINDOW)), "median_ms": float(np.median(np.abs(d)) * 1000), "bias_ms": float(np.median(d) * 1000)}
    else:
        out["near"] = 0.0
    return out
