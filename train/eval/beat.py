"""BEAT, the MusicGen-Stem paper's measure: madmom's beats of a stem alone against its beats of the true mix,
F-measure within 70 ms.

Settings: RNNBeatProcessor, DBNBeatTrackingProcessor from 55 to 215 bpm; a stem below −35 LUFS counts as
silent (docs/explanation/musicgen-stem.md section 12).
"""

import functools

import numpy as np
import scipy.signal

GATE = -35.0  # LUFS


@functools.cache
def processors():
    from madmom.features.beats import DBNBeatTrackingProcessor, RNNBeatProcessor
    return RNNBeatProcessor(), DBNBeatTrackingProcessor(min_bpm=55, max_bpm=215, fps=100)


def loudness(x: np.ndarray) -> float:
    """Integrated loudness (BS.1770) of 32 kHz audio in LUFS; −inf for silence."""
    import pyloudnorm
    return float(pyloudnorm.Meter(32000).integrated_loudness(x.astype(np.float64))) if np.abs(x).max(initial=0) > 0 else -np.inf


def beats(x: np.ndarray) -> np.ndarray:
    """Beat times in seconds of 32 kHz audio; empty if it is below the gate."""
    if loudness(x) < GATE:
        return np.zeros(0)
    from madmom.audio.signal import Signal
    y = scipy.signal.resample_poly(x, 441, 320)
    y = (np.clip(y, -1, 1) * 32767).astype(np.int16)
    rnn, dbn = processors()
    return np.asarray(dbn(rnn(Signal(y, sample_rate=44100, num_channels=1))))


def score(reference: np.ndarray, estimate: np.ndarray) -> float:
    """F-measure within ±70 ms by maximum matching; 0 if either is empty. Beats in the first 5 s count too,
    because takes are short."""
    import mir_eval
    if len(reference) == 0 or len(estimate) == 0:
        return 0.0
    return float(mir_eval.beat.f_measure(np.asarray(reference), np.asarray(estimate), 0.07))
