"""What the LM practises, item by item: text to stems, edits as in the paper, and above all live play.

A grid [K, G] of frames is laid out by the delay pattern into a sequence [K, S] (docs/explanation/musicgen-stem.md sections 6, 8, 10);
in a live item the prefix is known up to a random moment only, and the player's stem comes `lag` frames late.
"""

import json
import random
from pathlib import Path

import numpy as np
import torch

from .caption import brief, caption
from .config import DECIMATION, LAGS, STEMS, WEIGHTS, WINDOW

PREFIX = WINDOW // DECIMATION
CONTROLS = ("beat", "tick", "chord")
LIVE, EDIT, TEXT = "live", "edit", "text"


class Song:
    """`path`: what all stems share (ID.song.npz); each stem's tokens lie beside it."""

    def __init__(self, path: Path):
        z = np.load(path)
        self.label = json.loads(str(z["label"]))
        self.controls = np.stack([z[c] for c in CONTROLS])
        self.rests = z["rests"]
        self.resting = np.append(0, np.cumsum(self.rests > 0))
        stems = {s: np.load(self.of(path, s)) for s in STEMS}
        self.tokens = np.concatenate([z["tokens"] for z in stems.values()])
        self.bass_other = stems["bass"]["other"] if "other" in stems["bass"] else None
        self.path, self.voice = path, None

    def basses(self) -> list:
        """The bass line's other recordings, each [2, frames]: another hand's, another instrument's (`voices.py`, once it is there)."""
        voice = self.of(self.path, "voice")
        if self.voice is None and voice.exists():
            self.voice = np.load(voice)["tokens"]
        return [b for b in (self.bass_other, self.voice, self.voice) if b is not None]

    @staticmethod
    def of(path: Path, stem: str) -> Path:
        return path.with_name(path.name.replace(".song.npz", f".{stem}.npz"))


def padded(tokenizer, texts: list[str]):
    """Token ids [B, L] and mask [B, L] (True: a word); nothing for an empty text."""
    words = [tokenizer.encode(t).ids if t else [] for t in texts]
    L = max(1, max(map(len, words)))
    ids = torch.tensor([w + [0] * (L - len(w)) for w in words])
    return ids, torch.tensor([[True] * len(w) + [False] * (L - len(w)) for w in words])


class ItemSampler:
    """Draws batches of items from the tokens of one split."""

    def __init__(self, root: str, split: str, config: dict, tokenizer, seed: int, limit: int | None = None,
                 guests: float = 0.3, forgetful: float = 0.0, brief: float = 0.0):
        """`guests`: share of the items with a guest drummer, where the tokens hold such songs; `forgetful`: of the items in which the
        band has forgotten some or all of what it has played (see `forget`); `brief`: of the texts that name the drums' style and nothing else."""
        whole = [p for p in sorted(Path(root).glob("*.song.npz")) if all(Song.of(p, s).exists() for s in STEMS)]
        self.songs = [s for s in map(Song, whole) if s.label["split"] == split][:limit]
        self.guests = [s for s in self.songs if s.label.get("drummer")]
        self.silence = {s: json.loads((Path(root) / f"{s}.json").read_text())["silence"] for s in STEMS}
        self.config, self.tokenizer = config, tokenizer
        self.share, self.forgetful, self.brief = guests, forgetful, brief
        self.rng = random.Random(seed)
        self.rest: dict[str, list] = {}
        streams = config["streams"]
        self.cards = np.array([s["card"] for s in streams])
        self.delays = np.array([s["delay"] for s in streams])
        self.stem_of = [s["stem"] for s in streams]
        self.weight = np.array([WEIGHTS[s["stem"]][s["level"]] for s in streams])
        self.rows = {s: [k for k, x in enumerate(self.stem_of) if x == s] for s in STEMS}

    def window(self, frames: int):
        """`frames` of a random song from a random frame: codes [K, frames], controls [3, frames], label."""
        rng = self.rng
        songs = self.guests if self.guests and rng.random() < self.share else self.songs
        for _ in range(20):
            song = rng.choice(songs)
            total = song.tokens.shape[1]
            at = rng.randrange(max(1, total - frames + 1))
            # A band that lays out for seconds at a time is taught to fall silent, and silence leads to silence.
            if song.resting[min(at + frames, total)] == song.resting[at]:
                break
        codes = song.tokens[:, at:at + frames].astype(np.int64)
        basses = song.basses()
        if basses and rng.random() < 0.75:
            codes[self.rows["bass"]] = rng.choice(basses)[:, at:at + frames]
        controls = song.controls[:, at:at + frames].copy()
        return *self.padded(codes, controls, frames), song.label

    def padded(self, codes, controls, frames: int):
        """Codes and controls of a song that is shorter than `frames`, silence behind it and nothing told of it."""
        short = frames - codes.shape[1]
        if short:
            rest = np.concatenate([np.full((1, short), v) for s in STEMS for v in self.silence[s]])
            codes = np.concatenate([codes, rest], 1)
            controls = np.pad(controls, ((0, 0), (0, short)), constant_values=-1)
        return codes, controls

    def silences(self, stem: str) -> list[np.ndarray]:
        """Codes [books of the stem, frames] of its rests in the band's songs (bass never rests)."""
        if stem not in self.rest:
            bit, found = {"drums": 1, "other": 2}.get(stem, 0), []
            for song in self.songs:
                edges = np.flatnonzero(np.diff(np.concatenate([[0], song.rests & bit > 0, [0]]).astype(int)))
                # A second after the last stroke, when nothing of it sounds any more.
                found += [song.tokens[self.rows[stem], a + 50:b - 5].astype(np.int64) for a, b in zip(edges[::2], edges[1::2]) if b - a > 155]
            self.rest[stem] = found
        return self.rest[stem]

    def silent(self, stem: str, frames: int) -> np.ndarray:
        """So many frames of a rest, one rest over and over: what a band that fell silent has behind it. It learns to come in again."""
        codes = self.rng.choice(self.silences(stem))
        return np.tile(codes, (1, -(-frames // codes.shape[1])))[:, :frames]

    def interrupt(self, source, prefix, entry, stems: list[str]):
        """Now and then gives a stem another past than its own up to a random frame, from where on it is judged: a rest, so that it learns
        to come in again; or (drums) what another song's drummer played, so that a new text, the clock and the player count for more
        than what has been going on. In place: source [K, WINDOW], prefix (where it is known), entry [K]."""
        for stem in stems:
            draw = self.rng.random()
            rest = draw < 0.1 and self.silences(stem)
            if rest or (stem == "drums" and draw > 0.9):
                rows, at = self.rows[stem], self.rng.randrange(50, WINDOW)
                entry[rows] = at
                source[rows, :at] = self.silent(stem, at) if rest else self.window(at)[0][rows]
                known = prefix[rows] < self.cards[rows][:, None]
                prefix[rows] = np.where(known, source[rows, ::DECIMATION], prefix[rows])

    def item(self, kind: str | None = None, lag: int | None = None):
        rng = self.rng
        kind = kind or rng.choices([LIVE, EDIT, TEXT], [0.65, 0.27, 0.08])[0]
        delays, weight, entry = self.delays.copy(), self.weight.copy(), np.zeros(len(self.cards), int)
        if kind == TEXT:
            grid, controls, label = self.window(WINDOW + PREFIX + 1)
            start, source = np.zeros(len(self.cards), int), grid
        else:
            source, controls, label = self.window(WINDOW)
            prefix = source[:, ::DECIMATION].copy()
            if kind == EDIT:
                # Most of all what `render` asks for: everything to a bass that is known whole.
                whole = rng.random() < 0.6
                for stem in ["drums", "other"] if whole else rng.sample(STEMS, rng.choice([1, 2])):
                    rows = self.rows[stem]
                    prefix[rows[rng.choice([0, 0, 1, 2, 3]) if stem == "other" and not whole else 0:]] = self.cards[rows[-1]]
                if whole:
                    self.interrupt(source, prefix, entry, ["drums", "other"])
            else:
                # With a guest more often nothing has been heard yet: then words are all that tells what the drums will be.
                fresh = 0.7 if label.get("drummer") else 0.35
                cut = 0 if rng.random() < fresh else rng.randrange(WINDOW)
                prefix[:, -(-cut // DECIMATION):] = self.cards[:, None]
                player = rng.choices(STEMS, [0.75, 0.1, 0.15])[0]
                self.interrupt(source, prefix, entry, [s for s in STEMS if s != player])
                rows = self.rows[player]
                delays[rows] += lag if lag is not None else rng.randint(*LAGS)
                weight[rows] *= 0.2
                if rng.random() < 0.25:  # Only what the player plays, not how it sounds: no sound of theirs is one that was practised with.
                    source[rows[1:]], prefix[rows[1:]] = self.cards[rows[1:], None], self.cards[rows[1:], None]
                if rng.random() < 0.1:  # A player who isn't heard at all: what guidance by the player leans away from.
                    source[rows], prefix[rows] = self.cards[rows, None], self.cards[rows, None]
                elif rng.random() < 0.06:  # A player who plays something else, or nothing: the band holds on.
                    wrong = self.window(WINDOW)[0] if rng.random() < 0.5 else np.repeat(np.concatenate([self.silence[s] for s in STEMS])[:, None], WINDOW, 1)
                    source[rows], prefix[rows] = wrong[rows], np.where(prefix[rows] == self.cards[rows][:, None], prefix[rows], wrong[rows][:, ::DECIMATION])
            middle = self.cards[:, None]
            grid = np.concatenate([prefix, middle, source], 1)
            controls = np.concatenate([controls[:, ::DECIMATION], np.full((len(CONTROLS), 1), -1), controls], 1)
            start = PREFIX + 1 + entry
        if rng.random() < 0.1:
            controls[:2] = -1
        if rng.random() < 0.5:
            controls[2] = -1
        text = "" if rng.random() < (0.1 if label.get("drummer") else 0.3) else (brief if rng.random() < self.brief else caption)(label, rng)
        return grid, delays, start, weight, controls, text, label

    def forget(self, seq):
        """Takes from a laid-out item [K, S] what the drums (now and then `other` too) have played: everything, or spans of it.

        What sounds next is told by the last bar so well that words, chart and clock hardly matter (a style is worth 3.2 nats, once a
        song). Who has forgotten the last bar needs them in every frame. At play that is how each song begins.
        """
        rng = self.rng
        for stem, share in (("drums", 0.9), ("other", 0.4)):
            if rng.random() < share:
                gone = np.full(seq.shape[1], True)
                if rng.random() < 0.5:
                    edges = np.sort([rng.randrange(seq.shape[1]) for _ in range(2 * rng.randint(1, 4))])
                    gone[:] = np.searchsorted(edges, np.arange(seq.shape[1])) % 2 == rng.randrange(2)
                rows = self.rows[stem]
                seq[rows] = np.where(gone, self.cards[rows, None], seq[rows])
        return seq

    def lay_out(self, grid, delays):
        """Grid [K, G] to the valid steps of training, [K, G + 1]: step s of stream k holds frame s − 1 − delay, else special."""
        K, G = grid.shape
        seq = np.repeat(self.cards[:, None], G + 1, 1)
        for k, d in enumerate(delays):
            seq[k, d + 1:] = grid[k, :G - d]
        return seq

    def batch(self, items: int, **kind):
        """Tensors of a batch: seq [B,K,S], controls {name: [B,S−1]}, ids/mask [B,L], target [B,K,S−1] (−100: not judged), weight [B,K]."""
        seqs, targets, weights, known, texts = [], [], [], [], []
        for _ in range(items):
            grid, delays, start, weight, controls, text, label = self.item(**kind)
            seq = self.lay_out(grid, delays)
            steps = np.arange(1, seq.shape[1])[None] - 1 - delays[:, None]  # frame that each target step holds
            targets.append(np.where((steps >= start[:, None]) & (seq[:, 1:] < self.cards[:, None]), seq[:, 1:], -100))
            # Exposure: at play the band hears itself, mistakes included.
            noise = np.random.default_rng(self.rng.getrandbits(32))
            wrong = noise.random(seq.shape) < noise.choice([0.0, 0.02, 0.05])
            seq = np.where(wrong & (seq < self.cards[:, None]), noise.integers(0, self.cards[:, None], seq.shape), seq)
            seqs.append((self.forget(seq) if self.rng.random() < self.forgetful else seq)[:, :-1])
            weights.append(weight)
            known.append(controls)
            texts.append(text)
        null = {c["name"]: c["card"] for c in self.config["controls"]}
        controls = {n: torch.from_numpy(np.where(v < 0, null[n], v)).long() for n, v in zip(CONTROLS, np.stack(known, 1))}
        ids, mask = padded(self.tokenizer, texts)
        return (torch.from_numpy(np.stack(seqs)).long(), controls, ids, mask,
                torch.from_numpy(np.stack(targets)).long(), torch.from_numpy(np.stack(weights)).float())
