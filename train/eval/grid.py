"""Timing of drums against the clock: distance of onsets to the nearest grid step, and the phase of the bar."""

import numpy as np
import scipy.signal

from .onset import onsets
from .songs import RATE

WINDOW = 0.02  # s: an onset this close to a step is on the grid
MIN_STEP = 0.08  # s: with closer steps, random onsets would often be on the grid
DETECTOR_DELAY = 0.0015  # s, median against the labels of rendered drums; subtracted
THRESHOLD = 4.0  # of the onset detector: at 1, one onset in 11 is only decay; at 4, one in 27
BANDS = ((20, 120), (200, 2000), (5000, 14000))  # kick, snare and hands, cymbals


def step_s(beat_s: float, triplet: bool) -> float:
    """Length of a step in seconds: sixteenths, or triplet sixteenths for a triplet feel; half as many where
    they are closer than MIN_STEP."""
    parts = 6 if triplet else 4
    while beat_s / parts < MIN_STEP:
        parts //= 2
    return beat_s / parts


def deviations(times: np.ndarray, bar1: float, step: float) -> np.ndarray:
    """Seconds from the nearest step to each time; positive is late."""
    phase = (np.asarray(times) - bar1) / step
    return (phase - np.round(phase)) * step


def chance(step: float) -> float:
    """Share of random onsets that are on the grid."""
    return min(1.0, 2 * WINDOW / step)


def strong_onsets(x: np.ndarray) -> np.ndarray:
    """Times of the drum onsets whose peak is within 12 dB of the 90th percentile, without ghost notes and
    decay."""
    t = onsets(x, THRESHOLD) - DETECTOR_DELAY
    if len(t) == 0:
        return t
    peaks = np.array([np.abs(x[max(0, int((a - 0.005) * RATE)):int((a + 0.03) * RATE)]).max(initial=0) for a in t])
    return t[peaks >= np.percentile(peaks, 90) * 10 ** (-12 / 20)]


def profile(x: np.ndarray, bar1: float, beat_s: float, beats: int, parts: int = 4) -> np.ndarray:
    """Rise of level at each step of the bar in three bands, [beats·parts, 3], mean over the bars. Each band
    sums to 1, or is 0 if silent."""
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


def phase(played: np.ndarray, truth: np.ndarray, parts: int = 4) -> int:
    """The rotation in beats at which the played profile matches the true one best; 0 is right."""
    def fit(shift):
        a = np.roll(played, -shift * parts, 0)
        return sum(np.corrcoef(a[:, k], truth[:, k])[0, 1] for k in range(a.shape[1]) if a[:, k].std() > 0 and truth[:, k].std() > 0)
    beats = len(truth) // parts
    return max(range(beats), key=lambda s: (fit(s), -s))


def song_profile(x: np.ndarray, song) -> np.ndarray:
    """`profile` of drums `x` over the song's bars."""
    return profile(x, song.downbeats[0], song.beat_s, round((song.downbeats[1] - song.downbeats[0]) / song.beat_s))


def mean_bars(found: list) -> dict:
    """{(meter, triplet feel): mean profile} of the true drums of many songs: where hits fall in a bar on
    average.

    It is the reference for drums with another pattern than the song's own: against those, true drums of
    another song in the right phase score only 40 %.
    """
    profiles: dict[tuple, list] = {}
    for song in found:
        profiles.setdefault(meter(song), []).append(song_profile(song.stems["drums"], song))
    return {k: np.mean(v, 0) for k, v in profiles.items()}


def meter(song) -> tuple:
    """(meter, triplet feel) of a song."""
    return tuple(song.label["meter"]), bool(song.label["triplet"])


def score(x: np.ndarray, song) -> dict:
    """Scores of drums `x` against the song's clock: `near` (share of strong onsets within ±20 ms), `chance`
    (`near` of random onsets), `median_ms` (of the absolute deviation), `bias_ms` (median deviation),
    `onsets_s` (onsets per second), `histogram` (5 ms bins from −40 to 40 ms)."""
    step = step_s(song.beat_s, song.label["triplet"])
    d = deviations(strong_onsets(x), song.downbeats[0], step)
    out = {"chance": chance(step), "onsets_s": len(d) / (len(x) / RATE), "histogram": np.histogram(d, np.arange(-0.04, 0.0401, 0.005))[0].tolist()}
    if len(d):
        out |= {"near": float(np.mean(np.abs(d) <= WINDOW)), "median_ms": float(np.median(np.abs(d)) * 1000), "bias_ms": float(np.median(d) * 1000)}
    else:
        out["near"] = 0.0
    return out
