"""Control values of each frame, from a song's clock and chart; docs/reference/model-format.md defines the
numbers."""

import numpy as np

METERS = {(4, 4): 0, (3, 4): 1, (6, 8): 2, (12, 8): 3}
NO_CHORD = 96


def quality(name: str) -> int:
    """The quality of the chord control, 0 to 7, from the generator's or a chart's spelling."""
    n = name
    if n in ("N", "none", ""):
        return 0
    if "sus" in n:
        return 6
    if "aug" in n or n.startswith("+"):
        return 7
    if "dim" in n or "m7b5" in n:
        return 5
    if n.startswith("maj7") or n.startswith("maj9"):
        return 3
    if n.startswith("min7") or n.startswith("min9") or n in ("m7", "m9"):
        return 4
    if n.startswith("min") or n in ("m", "m6"):
        return 1
    if n[0] in "79" or n.startswith("13"):
        return 2
    return 0  # maj, 6, add9, 5


TICKS = 17


def clock_values(song: dict, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """The controls beat and tick of each frame; −1 before the first bar line and where there is no clock.

    beat: meter·48 + the 48th of the bar nearest to the frame's middle. tick: the distance from that 48th to
    the middle, in steps of 5 ms, plus 8. The tick shows whether a beat falls in this frame or in the next.
    Without it, a bar at 120 BPM has two frames per 48th, and drums learn to play anywhere within 40 ms.
    """
    bars = np.asarray(song["downbeats"])
    meter = METERS.get(tuple(song["meter"]))
    beat, tick = np.full(frames, -1, np.int16), np.full(frames, -1, np.int16)
    if meter is None or len(bars) < 2:
        return beat, tick
    bars = np.append(bars, bars[-1] + (bars[-1] - bars[-2]))
    t = (np.arange(frames) + 0.5) / 50.0
    bar = np.searchsorted(bars, t + 1e-9, "right") - 1
    ok = (bar >= 0) & (bar < len(bars) - 1)
    b, length = bar[ok], np.diff(bars)[bar[ok]]
    phase = (t[ok] - bars[b]) / length * 48
    near = np.floor(phase + 0.5)
    beat[ok] = meter * 48 + near.astype(int) % 48
    tick[ok] = np.clip(np.floor((phase - near) * length / 48 / 0.005 + 0.5), -8, 8) + 8
    return beat, tick


def chord_values(song: dict, frames: int) -> np.ndarray:
    """The control chord of each frame: root·8 + quality of the chord at the frame's middle; 96 for no chord;
    −1 before the chart starts."""
    out = np.full(frames, -1, np.int16)
    for at, _, root, name, _ in song["chords"]:
        out[max(0, int(np.ceil(at * 50 - 0.5 - 1e-6))):] = NO_CHORD if root < 0 else root * 8 + quality(name)
    return out


def rests(song: dict, frames: int, seconds: float = 3.0) -> np.ndarray:
    """Bits of each frame: 1 inside a rest of the drums of `seconds` or more, 2 inside one of `other`."""
    out = np.zeros(frames, np.uint8)
    for bit, stem in ((1, "drums"), (2, "other")):
        notes = sorted((n[0], n[0] if stem == "drums" else n[1]) for n in song["notes"][stem])
        last = 0.0
        for on, off in [*notes, (frames / 50, 0.0)]:
            if on - last > seconds:
                out[int(last * 50):int(on * 50)] |= bit
            last = max(last, off)
    return out
