"""Writes the results of train.eval as eval.md (tables) and eval.json (all scores of every song)."""

import json
from pathlib import Path

import numpy as np

# measure: (name of its row, format)
ROWS = {
    "beat_drums": ("BEAT drums (F ±70 ms)", "{:.2f}"),
    "beat_other": ("BEAT other", "{:.2f}"),
    "beat_bass": ("BEAT bass", "{:.2f}"),
    "har": ("HAR, bass in the estimated chord of `other` (%)", "{:.0%}"),
    "grid_near": ("grid: strong drum onsets within ±20 ms (%)", "{:.0%}"),
    "grid_chance": ("grid: random onsets (%)", "{:.0%}"),
    "grid_median_ms": ("grid: median deviation (ms)", "{:.1f}"),
    "grid_bias_ms": ("grid: median lateness (ms)", "{:+.1f}"),
    "onsets_s": ("strong drum onsets per second", "{:.1f}"),
    "phase": ("bar phase right, by the song's own drums (%)", "{:.0%}"),
    "bar": ("bar phase right, by the mean bar of true songs (%)", "{:.0%}"),
    "chord_fit": ("bars in which the chart's chord is louder in `other` than on another root (%)", "{:.0%}"),
    "chord_root": ("estimated chord per bar: the chart's root (%)", "{:.0%}"),
    "chord_third": ("estimated chord per bar: the chart's root and third (%)", "{:.0%}"),
    "chord_tones": ("tones of the estimated chord that are in the chart's (%)", "{:.0%}"),
    "rests_drums": ("silent seconds of drums (%)", "{:.0%}"),
    "rests_other": ("silent seconds of `other` (%)", "{:.0%}"),
    "level_drums_db": ("level of drums (dB RMS)", "{:.1f}"),
    "level_other_db": ("level of other (dB RMS)", "{:.1f}"),
}


def mean(values: list) -> dict | None:
    """Mean, standard error and count of the finite values; None if there are none."""
    v = np.array([x for x in values if x is not None and np.isfinite(x)], float)
    if len(v) == 0:
        return None
    return {"mean": float(v.mean()), "se": float(v.std(ddof=1) / np.sqrt(len(v))) if len(v) > 1 else None, "n": len(v)}


def interval(values: list[float], draws: int = 2000) -> tuple[float, float]:
    """Bootstrap 95 % interval of the mean; always the same for the same values."""
    v = np.asarray(values, float)
    means = v[np.random.default_rng(0).integers(0, len(v), (draws, len(v)))].mean(1)
    return float(np.percentile(means, 2.5)), float(np.percentile(means, 97.5))


def table(scores: dict[str, list[dict]]) -> str:
    """{take: [scores of each song]} as a Markdown table: one row per measure, one column per take."""
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
    """Drum onsets by deviation from the nearest step as a Markdown table, in %, one column per 5 ms."""
    edges = [f"{a}" for a in range(-40, 40, 5)]
    lines = ["| from ms | " + " | ".join(edges) + " |", "|---|" + "---:|" * len(edges)]
    for take, rows in scores.items():
        total = np.sum([r["grid_histogram"] for r in rows if r.get("grid_histogram")], 0)
        if np.sum(total):
            lines.append(f"| {take} | " + " | ".join(f"{100 * c / np.sum(total):.0f}" for c in total) + " |")
    return "\n".join(lines)


def small_table(name: str, values: dict) -> str:
    """{row: {column: value}} as a Markdown table."""
    columns = list(dict.fromkeys(k for row in values.values() for k in row))
    show = lambda v: "" if v is None else (f"{v:.3g}" if isinstance(v, float) else str(v))  # noqa: E731
    return "\n".join([f"| {name} | " + " | ".join(columns) + " |", "|---|" + "---:|" * len(columns)] +
                     [f"| {row} | " + " | ".join(show(cells.get(c)) for c in columns) + " |" for row, cells in values.items()])


SWING_STYLES = {"shuffle", "halfshuffle", "swing", "brushes", "twelve eight"}


def feel(row: dict) -> str:
    """The group of a song by rhythmic feel."""
    return "swing" if row["style"] in SWING_STYLES else "six eight" if row["style"] == "six eight" else "straight"


def voicing(row: dict) -> str:
    """The group of a song by whether the true `other` plays the roots."""
    return "no chords" if row["rooted"] is None else "root in `other`" if row["rooted"] > 0.6 else "root left to the bass"


def by_group(scores: dict[str, list[dict]], name: str, group) -> str:
    """A Markdown table of the main measures with one row per group of songs; `group(scores of a song)` names
    it."""
    rows = {}
    for k in sorted({group(r) for r in scores["truth"]}):
        rows[k] = {"songs": sum(group(r) == k for r in scores["truth"])}
        for key in ("beat_drums", "har", "grid_near", "chord_root"):
            for take in ("truth", "played"):
                found = mean([r.get(key) for r in scores.get(take, []) if group(r) == k])
                rows[k][f"{key} {take}"] = found and found["mean"]
    return small_table(name, rows)


def write(out: Path, about: dict, scores: dict[str, list[dict]], long: dict, fad: dict, text: dict, pictures: list[str]) -> str:
    """Writes `eval.json` and `eval.md` into `out`; returns the Markdown."""
    summary = {take: {k: mean([r.get(k) for r in rows]) for k in ROWS} for take, rows in scores.items()}
    (out / "eval.json").write_text(json.dumps({"about": about, "mean": summary, "songs": scores, "long_take": long, "fad_musicnn": fad, "text": text}, indent=1))
    parts = ["# Evaluation", " · ".join(f"{k}: {v}" for k, v in about.items()), table(scores),
             by_group(scores, "feel", feel), by_group(scores, "true voicing", voicing), by_group(scores, "style", lambda r: r["style"]), histogram(scores)]
    if long:
        parts += ["A long take (levels in dB, drift in dB per minute, `repeated` as a share of bars, `silent` as a share of 10 s blocks):", small_table("stem", long)]
    if fad:
        parts += ["FAD-musicnn against the true stems of these songs (comparable only within this table):", small_table("stem", fad)]
    if text:
        parts += ["Text: takes of the same bass with different texts, classified; the classifier's own score is on songs it was not trained on.",
                  small_table("classifier", {"true drums": text["classifier"]})]
        if "takes" in text:
            kinds = text["takes"]["kinds"]
            parts.append(f"Classified as requested: {text['takes']['right']:.0%} (chance {text['takes']['chance']:.0%}); `other` is silent in {text['takes']['rests_other']:.0%} of the seconds.")
            parts.append(small_table("requested \\ classified", {k: dict(zip(kinds, row)) for k, row in zip(kinds, text["takes"]["asked_heard"])}))
    parts += [f"![{p}]({p})" for p in pictures]
    page = "\n\n".join(parts) + "\n"
    (out / "eval.md").write_text(page)
    return page
