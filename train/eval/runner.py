"""Runs the sideman program on recordings and reads the stems it makes (`sideman render`, `edit`, or `live`
between files)."""

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import soundfile

from .songs import RATE, Song


class Runner:
    """Runs `sideman render`, or `sideman live` if `live`. A take made by the same command with the same
    weights is not made again."""

    def __init__(self, sideman: str, model: str, lag: int | None, threads: int = 1, seed: int = 7, live: bool = False):
        self.sideman, self.model, self.lag, self.threads, self.seed, self.live = sideman, model, lag, threads, seed, live

    def command(self, bass: Path, out: Path, song: Song | None, chords: bool, text: str | None, clock) -> list[str]:
        """The command line for one take."""
        c = [self.sideman, *(["live", "--headless", "--from", str(bass), "--to"] if self.live else ["render", "--bass", str(bass), "--make", "drums,other", "--out"]),
             str(out), "--model", self.model, "--seed", str(self.seed), "--threads", str(self.threads), *([] if self.live else ["--no-chart", "--json"])]
        if self.lag is not None:
            c += ["--lag", str(self.lag)]
        if clock:
            c += ["--tempo", str(clock[0]), "--bar1", str(clock[1])]
        if song is not None:
            c += ["--tempo", f"{song.quarters:.4f}", "--bar1", f"{song.downbeats[0]:.5f}", "--meter", "/".join(map(str, song.label["meter"]))]
            if chords:
                c += ["--chords", song.chart()]
        return c + (["--text", text] if text else [])

    def accompany(self, bass: np.ndarray, out: Path, song: Song | None, chords: bool = True, text: str | None = None, clock: tuple[float, float] | None = None) -> dict[str, np.ndarray]:
        """Drums and other for a bass: float32, 32 kHz, as long as `bass`.

        `song` gives clock and chart, `clock` (quarters per minute, second of bar 1) only a clock; with
        neither, sideman gets only the bass. Raises RuntimeError with the program's error message where it
        fails.
        """
        path = out / "in.wav"
        return self.take(self.command(path, out / "made", song, chords, text, clock), {path: bass}, out)

    def take(self, command: list[str], inputs: dict[Path, np.ndarray], out: Path, stems: tuple[str, ...] = ("drums", "other")) -> dict[str, np.ndarray]:
        """The `stems` that `command` writes into `out`/made: float32, 32 kHz. `inputs`: recordings that are written
        before, by file. What the program prints is kept in `out`/stdout and `out`/stderr. Raises RuntimeError with
        the program's error message where it fails."""
        out.mkdir(parents=True, exist_ok=True)
        made, program = out / "command.json", Path(self.sideman)
        sums = {str(p): hashlib.sha1(np.ascontiguousarray(x, np.float32)).hexdigest()[:16] for p, x in inputs.items()}
        built = f"{program.stat().st_size}:{int(program.stat().st_mtime)}" if program.is_file() else ""
        key = {"command": command, "inputs": sums, "model": weights_stamp(self.model), "program": built}
        if not (made.exists() and json.loads(made.read_text()) == key):
            for path, x in inputs.items():
                path.parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(path, x, RATE, subtype="FLOAT")
            shutil.rmtree(out / "made", ignore_errors=True)
            r = subprocess.run(command, capture_output=True, text=True)
            (out / "stdout").write_text(r.stdout)
            (out / "stderr").write_text(r.stderr)
            if r.returncode:
                raise RuntimeError(f"{' '.join(command)}: {r.stderr.strip()[-400:]}")
            made.write_text(json.dumps(key))
        return {s: soundfile.read(out / "made" / f"{s}.wav", dtype="float32", always_2d=True)[0].mean(1) for s in stems}


def weights_stamp(model: str) -> str:
    """A string that changes when the model's weights do."""
    return " ".join(f"{p.name}:{p.stat().st_size}:{int(p.stat().st_mtime)}" for p in sorted(Path(model).glob("*.safetensors")))
