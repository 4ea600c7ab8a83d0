"""A blind listening test, after ITU-R BS.1534 (MUSHRA): builds a folder that opens in a browser, and scores the results.

    python -m train.blind_test build --reference DIR --version now=DIR --version before=DIR --out DIR
    python -m train.blind_test score --key DIR/key.json results-1.json results-2.json

`build` takes recordings of the same names from each folder. A page plays the reference and, in random order and without
names, each version, the reference itself and two anchors: the reference below 3.5 kHz and below 7 kHz. All are as loud
as the reference. Listeners rate each from 0 to 100 and save a file. The folder needs no network and holds no names
but in key.json, which listeners should not get.

`score` prints the median of each version with its 95 % interval by bootstrap over listeners and pages. Listeners who give
the hidden reference less than 90 on more than 15 % of their pages are left out, as the recommendation says.
"""

import argparse
import base64
import io
import json
import secrets
import shutil
from pathlib import Path

import numpy as np
import soundfile
from scipy.signal import butter, sosfiltfilt

REFERENCE, ANCHORS = "hidden reference", {"anchor 3.5 kHz": 3500, "anchor 7 kHz": 7000}
CEILING = 0.98


def as_loud(x: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """`x` with the RMS of the reference, as long as it."""
    x = np.pad(x[:len(reference)], (0, max(0, len(reference) - len(x))))
    return x * (np.sqrt(np.mean(reference**2)) / max(np.sqrt(np.mean(x**2)), 1e-9))


def flac(x: np.ndarray, rate: int) -> str:
    out = io.BytesIO()
    soundfile.write(out, x, rate, format="FLAC", subtype="PCM_16")
    return base64.b64encode(out.getvalue()).decode()


def read(path: Path, seconds: float) -> tuple[np.ndarray, int]:
    x, rate = soundfile.read(path, always_2d=True)
    return x.mean(1)[:round(seconds * rate)], rate


def page(reference: Path, versions: dict[str, Path], seconds: float) -> tuple[str, dict, dict]:
    """(reference, {id: sound}, {id: name}) of one recording; sounds are FLAC in base64."""
    truth, rate = read(reference, seconds)
    if rate < 16000:
        raise SystemExit(f"{reference}: {rate} Hz; the anchors need at least 16000 Hz")
    sounds = {REFERENCE: truth}
    for name, hz in ANCHORS.items():
        sounds[name] = as_loud(sosfiltfilt(butter(8, hz, fs=rate, output="sos"), truth), truth)
    for name, path in versions.items():
        x, its_rate = read(path, seconds)
        if its_rate != rate:
            raise SystemExit(f"{path}: {its_rate} Hz; it should have the {rate} Hz of {reference}")
        sounds[name] = as_loud(x, truth)
    gain = min(1.0, CEILING / max(np.abs(x).max() for x in sounds.values()))
    key = {secrets.token_hex(6): name for name in sounds}
    coded = {i: flac(sounds[name] * gain, rate) for i, name in key.items()}
    return flac(truth * gain, rate), coded, key


def build(reference: Path, versions: dict[str, Path], out: Path, seconds: float):
    names = sorted(p.name for p in reference.iterdir() if p.suffix in (".wav", ".flac") and all((v / p.name).exists() for v in versions.values()))
    if not names:
        raise SystemExit(f"--reference {reference}: no recording of it is also in {', '.join(map(str, versions.values()))}")
    if out.exists() and any(out.iterdir()):
        raise SystemExit(f"--out {out}: the folder is not empty")
    out.mkdir(parents=True, exist_ok=True)
    items, key = [], {}
    for name in names:
        item = secrets.token_hex(6)
        truth, sounds, its_key = page(reference / name, {v: folder / name for v, folder in versions.items()}, seconds)
        (out / f"{item}.js").write_text(f"window.ITEM = {json.dumps({'reference': truth, 'sounds': sounds})};\n")
        items.append(item)
        key[item] = {"recording": name, "sounds": its_key}
    test = secrets.token_hex(4)
    (out / "items.js").write_text(f"window.TEST = {json.dumps(test)};\nwindow.ITEMS = {json.dumps(items)};\n")
    (out / "key.json").write_text(json.dumps({"test": test, "items": key}, indent=1) + "\n")
    shutil.copy(Path(__file__).with_suffix(".html"), out / "index.html")
    print(f"{len(items)} pages: open {out / 'index.html'}; give it away without key.json")


def ratings(key: dict, results: dict) -> list[dict[str, float]]:
    """{version: rating} of each page of one listener."""
    if results["test"] != key["test"]:
        raise SystemExit(f"the results are of test {results['test']}, the key of {key['test']}")
    return [{key["items"][p["item"]]["sounds"][i]: float(r) for i, r in p["ratings"].items()} for p in results["pages"]]


def reliable(pages: list[dict[str, float]]) -> bool:
    """Whether a listener found the hidden reference on most pages."""
    return sum(p[REFERENCE] < 90 for p in pages) <= 0.15 * len(pages)


def score(listeners: list[list[dict[str, float]]], draws: int = 2000) -> dict[str, list[float]]:
    """Median of each version and its 95 % interval: listeners are drawn, and pages of each of them."""
    rng, out = np.random.default_rng(0), {}
    for name in listeners[0][0]:
        table = [np.array([p[name] for p in pages]) for pages in listeners]
        drawn = []
        for _ in range(draws):
            chosen = [table[i] for i in rng.integers(len(table), size=len(table))]
            drawn.append(np.median(np.concatenate([v[rng.integers(len(v), size=len(v))] for v in chosen])))
        out[name] = [float(x) for x in (np.median(np.concatenate(table)), *np.percentile(drawn, [2.5, 97.5]))]
    return out


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sub = p.add_subparsers(dest="command", required=True)
    b = sub.add_parser("build")
    b.add_argument("--reference", type=Path, required=True, help="folder of recordings")
    b.add_argument("--version", action="append", required=True, metavar="NAME=DIR", help="a folder with recordings of the same names; may be repeated")
    b.add_argument("--out", type=Path, required=True)
    b.add_argument("--seconds", type=float, default=10, help="of each recording")
    s = sub.add_parser("score")
    s.add_argument("--key", type=Path, required=True)
    s.add_argument("results", nargs="+", type=Path)
    a = p.parse_args()
    if a.command == "build":
        versions = dict(v.split("=", 1) for v in a.version)
        build(a.reference, {name: Path(folder) for name, folder in versions.items()}, a.out, a.seconds)
    else:
        key = json.loads(a.key.read_text())
        listeners = [ratings(key, json.loads(path.read_text())) for path in a.results]
        kept = [pages for pages in listeners if reliable(pages)]
        print(f"{len(kept)} of {len(listeners)} listeners, {sum(map(len, kept))} pages")
        if not kept:
            raise SystemExit("no listener found the hidden reference")
        for name, (median, low, high) in sorted(score(kept).items(), key=lambda row: -row[1][0]):
            print(f"{name:20} {median:5.1f}  [{low:.1f}, {high:.1f}]")


if __name__ == "__main__":
    main()
