"""One Markdown table and one JSON of all measures beside their controls."""

import json
from pathlib import Path

import numpy as np

# measure: (what the row says, format, whether more is better; None where neither)
ROWS = {
    "beat_drums": ("BEAT drums (F ±70 ms)", "{:.2f}"),
    "beat_other": ("BEAT other", "{:.2f}"),
    "beat_bass": ("BEAT bass", "{:.2f}"),
    "har": ("HAR bass in heard chord of `other` (%)", "{:.0%}"),
    "grid_near": ("grid: strong drum onsets within ±20 ms (%)", "{:.0%}"),
    "grid_chance": ("grid: by chance (%)", "{:.0%}"),
    "grid_median_ms": ("grid: median deviation (ms)", "{:.1f}"),
    "grid_bias_ms": ("grid: late (+) or early (ms)", "{:+.1f}"),
    "onsets_s": ("strong drum onsets a second", "{:.1f}"),
    "phase": ("bar's phase right, by the song's own drums (%)", "{:.0%}"),
    "bar": ("bar's phase right, by the mean bar of true songs (%)", "{:.0%}"),
    "chord_fit": ("bars in which the chart's chord sounds in `other`, not one on another root (%)", "{:.0%}"),
    "chord_root": ("chord of the chart: root, per bar (%)", "{:.0%}"),
    "chord_third": ("chord of the chart: root and third (%)", "{:.0%}"),
    "chord_tones": ("heard chord's tones that are in the chart's (%)", "{:.0%}"),
    "rests_drums": ("seconds in which the drums rest (%)", "{:.0%}"),
    "rests_other": ("seconds in which `other` rests (%)", "{:.0%}"),
    "level_drums_db": ("level of drums (dB RMS)", "{:.1f}"),
    "level_other_db": ("level of other (dB RMS)", "{:.1f}"),
}


def mean(values: list) -> dict | None:
    """Mean, its standard error and count of what is there."""
    v = np.array([x for x in values if x is not None and np.isfinite(x)], float)
    if len(v) == 0:
        return None
    return {"mean": float(v.mean()), "se": float(v.std(ddof=1) / np.sqrt(len(v))) if len(v) > 1 else None, "n": len(v)}


def table(scores: dict[str, list[dict]]) -> str:
    """{take: [scores of each song]} → Markdown: one row a measure, one column a take."""
    lines = ["| measure | " + " | ".join(scores) + " |", "|---|" + "---:|" * len(scores)]
    for key, (name, form) in ROWS.items():
        cells = []
        for rows in scores.values():
            m = mean([r.get(key) for r in rows])
            cells.append("" if m is None else form.format(m["mean"]))
        if any(cells):
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def histogram(scores: dict[str, list[dict]]) -> str:
    """Drum onsets by deviation from the nearest step, in %, 5 ms a column."""
    edges = [f"{a}" for a in range(-40, 40, 5)]
    lines = ["| ms from | " + " | ".join(edges) + " |", "|---|" + "---:|" * len(edges)]
    for take, rows in scores.items():
        total = np.sum([r["grid_histogram"] for r in rows if r.get("grid_histogram")], 0)
        if np.sum(total):
            lines.append(f"| {take} | " + " | ".join(f"{100 * c / np.sum(total):.0f}" for c in total) + " |")
    return "\n".join(lines)


def flat(name: str, values: dict) -> str:
    """A table of one measure's own: {row: {column: number}}."""
    columns = list(dict.fromkeys(k for row in values.values() for k in row))
    show = lambda v: "" if v is None else (f"{v:.3g}" if isinstance(v, float) else str(v))  # noqa: E731
    return "\n".join([f"| {name} | " + " | ".join(columns) + " |", "|---|" + "---:|" * len(columns)] +
                     [f"| {row} | " + " | ".join(show(cells.get(c)) for c in columns) + " |" for row, cells in values.items()])


SWINGS = {"shuffle", "halfshuffle", "swing", "brushes", "twelve eight"}


def feel(row: dict) -> str:
    return "swings" if row["style"] in SWINGS else "six eight" if row["style"] == "six eight" else "straight"


def voicing(row: dict) -> str:
    return "no chords" if row["rooted"] is None else "root in `other`" if row["rooted"] > 0.6 else "root left to the bass"


def by(scores: dict[str, list[dict]], name: str, kind) -> str:
    """A row for each `kind(song's scores)`: what means over all songs hide."""
    rows = {}
    for k in sorted({kind(r) for r in scores["truth"]}):
        rows[k] = {"songs": sum(kind(r) == k for r in scores["truth"])}
        for key in ("beat_drums", "har", "grid_near", "chord_root"):
            for take in ("truth", "played"):
                found = mean([r.get(key) for r in scores.get(take, []) if kind(r) == k])
                rows[k][f"{key} {take}"] = found and found["mean"]
    return flat(name, rows)


def write(out: Path, about: dict, scores: dict[str, list[dict]], life: dict, fad: dict, text: dict, pictures: list[str]) -> str:
    """Writes `eval.json` and `eval.md` into `out`; returns the Markdown."""
    summary = {take: {k: mean([r.get(k) for r in rows]) for k in ROWS} for take, rows in scores.items()}
    (out / "eval.json").write_text(json.dumps({"about": about, "mean": summary, "songs": scores, "life": life, "fad_musicnn": fad, "text": text}, indent=1))
    parts = ["# Evaluation", " · ".join(f"{k}: {v}" for k, v in about.items()), table(scores),
             by(scores, "feel", feel), by(scores, "true voicing", voicing), by(scores, "style", lambda r: r["style"]), histogram(scores)]
    if life:
        parts += ["A long take (levels in dB, creep in dB a minute, `repeated` and `silent` as shares of bars and of 10 s):", flat("life", life)]
    if fad:
        parts += ["FAD-musicnn against the true stems of these songs (comparable only within this table):", flat("stem", fad)]
    if text:
        parts += ["Text: takes of the same bass heard by the classifier as what was asked; its own score is on songs it has not seen.",
                  flat("classifier", {"true drums": text["classifier"]})]
        if "takes" in text:
            kinds = text["takes"]["kinds"]
            parts.append(f"Heard as asked: {text['takes']['right']:.0%} (chance {text['takes']['chance']:.0%}); `other` rests in {text['takes']['rests_other']:.0%} of the seconds.")
            parts.append(flat("asked \\ heard", {k: dict(zip(kinds, row)) for k, row in zip(kinds, text["takes"]["asked_heard"])}))
    parts += [f"![{p}]({p})" for p in pictures]
    page = "\n\n".join(parts) + "\n"
    (out / "eval.md").write_text(page)
    return page
