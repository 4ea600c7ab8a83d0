"""Writes a listening page of a corpus, one HTML file with audio and spectrograms.

    python -m train.data page DIR --out page.html
"""

import base64
import html
import io
from pathlib import Path

import numpy as np
import soundfile

from .corpus import RATE, STEMS, songs

SECONDS = 16


def read_stem(folder: Path, r, stem, start, seconds):
    """`seconds` of a song's stem from second `start`, float32."""
    n = min(int(seconds * RATE), r["len"] - int(start * RATE))
    path = folder / r["shard"] / f"{stem}.i16"
    return np.fromfile(path, "<i2", count=n, offset=2 * (r["start"] + int(start * RATE))).astype(np.float32) / 32768


def audio_tag(x):
    """An <audio> element with a mono signal as embedded MP3."""
    buffer = io.BytesIO()
    soundfile.write(buffer, np.clip(x, -1, 1), RATE, format="MP3", subtype="MPEG_LAYER_III", compression_level=0.7)
    return f'<audio controls preload="none" src="data:audio/mpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"></audio>'


def spectrogram_tag(stems, r, start):
    """An <img> element with the spectrograms of the three stems, bar lines and chord names."""
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    fig, axes = plt.subplots(3, 1, figsize=(11, 5.4), sharex=True)
    for ax, (stem, x) in zip(axes, stems.items()):
        size = 4096 if stem == "bass" else 1024
        ax.specgram(x, NFFT=size, noverlap=size - 512, Fs=RATE, vmin=-130, vmax=-30, cmap="magma")
        ax.set_ylim(0, {"bass": 800, "drums": 14000, "other": 5000}[stem])
        ax.set_ylabel(stem)
        for t in r["downbeats"]:
            if start <= t < start + SECONDS:
                ax.axvline(t - start, color="w", lw=0.6, alpha=0.7)
    for t, name, *_ in r["chords"]:
        if start <= t < start + SECONDS:
            axes[0].text(t - start, 720, name, color="w", fontsize=7, va="top")
    axes[2].set_xlim(0, SECONDS)
    fig.tight_layout(pad=0.3)
    buffer = io.BytesIO()
    fig.savefig(buffer, format="jpg", dpi=72, pil_kwargs={"quality": 70})
    plt.close(fig)
    return f'<img width="100%" src="data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}">'


def main(folder: Path, out: Path, count=12):
    records = list(songs(folder))
    if not records:
        raise SystemExit(f"{folder}: has no shard-*/songs.jsonl (python -m train.data render makes them)")
    chosen = {}
    for r in records:  # one song of each style first, then others
        chosen.setdefault(r["style"], r)
    chosen = list(chosen.values())[:count] + [r for r in records if r not in chosen.values()][: max(0, count - len(chosen))]
    parts = []
    for r in chosen:
        start = max(0.0, next((t for t, label in r["sections"] if label == "chorus"), r["downbeats"][0]) - 4 * 60 / r["bpm"])
        stems = {s: read_stem(folder, r, s, start, SECONDS) for s in STEMS}
        kinds = r["instruments"]
        title = f'{r["id"]} {r["style"]}, {r["bpm"]:.0f} bpm, {r["meter"][0]}/{r["meter"][1]}, {r["split"]}'
        what = f'bass {kinds["bass"]}; drums {kinds["drums"]}; other {", ".join(kinds["other"])}; groove {r["groove_source"]}; chart {r["chart_source"]}'
        rows = "".join(f"<td>{s}<br>{audio_tag(x)}</td>" for s, x in {"all": sum(stems.values()) * 0.6, **stems}.items())
        parts.append(f"<h3>{html.escape(title)}</h3><p>{html.escape(what)}</p><table><tr>{rows}</tr></table>{spectrogram_tag(stems, r, start)}")
    out.write_text('<!doctype html><meta charset="utf-8"><title>Trio corpus</title><style>body{font:14px sans-serif;max-width:1100px;margin:auto}'
                   "audio{width:250px}</style><h1>Trio corpus</h1>" + "".join(parts))
    print(f"{out}: {len(chosen)} songs, {out.stat().st_size / 1e6:.1f} MB")
