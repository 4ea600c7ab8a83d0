"""Samples training items for the LM: text to stems, edits as in the MusicGen-Stem paper, and live play.

An item is a grid of frames [K, G]: a decimated prefix, a transition frame, a window. The delay pattern turns
it into a sequence [K, S] (docs/explanation/musicgen-stem.md sections 6, 8 and 10). In a live item the prefix
is known only up to a random moment, and the input stem is `lag` frames late.
"""

import json
import random
from pathlib import Path

import numpy as np
import torch

from .caption import caption, style_caption
from .config import DECIMATION, LAGS, STEMS, WEIGHTS, WINDOW

PREFIX = WINDOW // DECIMATION
CONTROLS = ("beat", "tick", "chord")
LIVE, EDIT, TEXT = "live", "edit", "text"


class Song:
    """One song's tokens, labels and controls. `path` is ID.song.npz, which all stems share; each stem's
    tokens are in ID.STEM.npz."""

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
        """Other recordings of the bass line, each [2, frames]: with another tone, and (once bass_variants.py
        has made it) on another instrument."""
        voice = self.of(self.path, "voice")
        if self.voice is None and voice.exists():
            self.voice = np.load(voice)["tokens"]
        return [b for b in (self.bass_other, self.voice, self.voice) if b is not None]

    @staticmethod
    def of(path: Path, stem: str) -> Path:
        """The file of a stem's tokens, next to `path`."""
        return path.with_name(path.name.replace(".song.npz", f".{stem}.npz"))


def encode_texts(tokenizer, texts: list[str]):
    """Text token ids [B, L] and mask [B, L], all False for an empty text."""
    words = [tokenizer.encode(t).ids if t else [] for t in texts]
    L = max(1, max(map(len, words)))
    ids = torch.tensor([w + [0] * (L - len(w)) for w in words])
    return ids, torch.tensor([[True] * len(w) + [False] * (L - len(w)) for w in words])


class ItemSampler:
    """Samples batches of items from the tokens of one split."""

    def __init__(self, root: str, split: str, config: dict, tokenizer, seed: int, limit: int | None = None,
                 guests: float = 0.3, mask_history: float = 0.0, style_only: float = 0.0):
        """`guests`: share of items from songs with a guest drummer, if there are any; `mask_history`: share
        of items to which the method `mask_history` is applied; `style_only`: share of texts that name only
        the drums' style."""
        whole = [p for p in sorted(Path(root).glob("*.song.npz")) if all(Song.of(p, s).exists() for s in STEMS)]
        self.songs = [s for s in map(Song, whole) if s.label["split"] == split][:limit]
        self.guests = [s for s in self.songs if s.label.get("drummer")]
        self.silence = {s: json.loads((Path(root) / f"{s}.json").read_text())["silence"] for s in STEMS}
        self.config, self.tokenizer = config, tokenizer
        self.guest_share, self.mask_share, self.style_share = guests, mask_history, style_only
        self.rng = random.Random(seed)
        self.rest_codes: dict[str, list] = {}
        streams = config["streams"]
        self.cards = np.array([s["card"] for s in streams])
        self.delays = np.array([s["delay"] for s in streams])
        self.stem_of = [s["stem"] for s in streams]
        self.weight = np.array([WEIGHTS[s["stem"]][s["level"]] for s in streams])
        self.rows = {s: [k for k, x in enumerate(self.stem_of) if x == s] for s in STEMS}

    def window(self, frames: int):
        """`frames` of a random song from a random frame: codes [K, frames], controls [3, frames], label."""
        rng = self.rng
        songs = self.guests if self.guests and rng.random() < self.guest_share else self.songs
        for _ in range(20):
            song = rng.choice(songs)
            total = song.tokens.shape[1]
            at = rng.randrange(max(1, total - frames + 1))
            # Avoid windows with long rests: a model trained on them falls silent and stays silent.
            if song.resting[min(at + frames, total)] == song.resting[at]:
                break
        codes = song.tokens[:, at:at + frames].astype(np.int64)
        basses = song.basses()
        if basses and rng.random() < 0.75:
            codes[self.rows["bass"]] = rng.choice(basses)[:, at:at + frames]
        controls = song.controls[:, at:at + frames].copy()
        return *self.pad(codes, controls, frames), song.label

    def pad(self, codes, controls, frames: int):
        """Extends codes and controls to `frames`: codes of silence, controls unknown (−1)."""
        short = frames - codes.shape[1]
        if short:
            rest = np.concatenate([np.full((1, short), v) for s in STEMS for v in self.silence[s]])
            codes = np.concatenate([codes, rest], 1)
            controls = np.pad(controls, ((0, 0), (0, short)), constant_values=-1)
        return codes, controls

    def rests(self, stem: str) -> list[np.ndarray]:
        """Codes [books of the stem, frames] of each rest of a stem in this split's songs; none for the bass,
        which never rests."""
        if stem not in self.rest_codes:
            bit, found = {"drums": 1, "other": 2}.get(stem, 0), []
            for song in self.songs:
                edges = np.flatnonzero(np.diff(np.concatenate([[0], song.rests & bit > 0, [0]]).astype(int)))
                # From one second after the last note, when it has decayed.
                found += [song.tokens[self.rows[stem], a + 50:b - 5].astype(np.int64) for a, b in zip(edges[::2], edges[1::2]) if b - a > 155]
            self.rest_codes[stem] = found
        return self.rest_codes[stem]

    def silent(self, stem: str, frames: int) -> np.ndarray:
        """Codes of `frames` of silence: one rest, repeated."""
        codes = self.rng.choice(self.rests(stem))
        return np.tile(codes, (1, -(-frames // codes.shape[1])))[:, :frames]

    def replace_past(self, source, prefix, entry, stems: list[str]):
        """Sometimes replaces a stem's past up to a random frame, and excludes that past from the loss.

        The replacement is a rest, so that the model learns to come in again after silence; or, for drums,
        another song's drums, so that text, clock and input stem count for more than the model's own past. In
        place: source [K, WINDOW], prefix (where it is known), entry [K]: the first frame that counts.
        """
        for stem in stems:
            chance = self.rng.random()
            rest = chance < 0.1 and self.rests(stem)
            if rest or (stem == "drums" and chance > 0.9):
                rows, at = self.rows[stem], self.rng.randrange(50, WINDOW)
                entry[rows] = at
                source[rows, :at] = self.silent(stem, at) if rest else self.window(at)[0][rows]
                known = prefix[rows] < self.cards[rows][:, None]
                prefix[rows] = np.where(known, source[rows, ::DECIMATION], prefix[rows])

    def item(self, kind: str | None = None, lag: int | None = None):
        """One item; `kind` is LIVE, EDIT or TEXT (random if None), `lag` in frames (random if None)."""
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
                # Mostly the task of `sideman render`: all other stems for a bass that is known completely.
                whole = rng.random() < 0.6
                for stem in ["drums", "other"] if whole else rng.sample(STEMS, rng.choice([1, 2])):
                    rows = self.rows[stem]
                    prefix[rows[rng.choice([0, 0, 1, 2, 3]) if stem == "other" and not whole else 0:]] = self.cards[rows[-1]]
                if whole:
                    self.replace_past(source, prefix, entry, ["drums", "other"])
            else:
                # With a guest drummer the prefix is more often empty: then only the text shows what the drums
                # play.
                fresh = 0.7 if label.get("drummer") else 0.35
                cut = 0 if rng.random() < fresh else rng.randrange(WINDOW)
                prefix[:, -(-cut // DECIMATION):] = self.cards[:, None]
                input_stem = rng.choices(STEMS, [0.75, 0.1, 0.15])[0]
                self.replace_past(source, prefix, entry, [s for s in STEMS if s != input_stem])
                rows = self.rows[input_stem]
                delays[rows] += lag if lag is not None else rng.randint(*LAGS)
                weight[rows] *= 0.2
                if rng.random() < 0.25:  # Keep only the input stem's first book: the notes without the timbre, which at play is never one of the training set.
                    source[rows[1:]], prefix[rows[1:]] = self.cards[rows[1:], None], self.cards[rows[1:], None]
                if rng.random() < 0.1:  # Mask the input stem: the null lane of guidance needs this case.
                    source[rows], prefix[rows] = self.cards[rows, None], self.cards[rows, None]
                elif rng.random() < 0.06:  # An input stem that is another song's or silent: the other stems continue.
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
        text = "" if rng.random() < (0.1 if label.get("drummer") else 0.3) else (style_caption if rng.random() < self.style_share else caption)(label, rng)
        return grid, delays, start, weight, controls, text, label

    def mask_history(self, seq):
        """Masks the drums of a sequence [K, S], sometimes `other` too, completely or in spans.

        The last bar predicts the next frame so well that text, chart and clock hardly matter (a style is
        worth 3.2 nats, once per song). With the history masked they matter in every frame. It is also how
        each song starts: with no history.
        """
        rng = self.rng
        for stem, share in (("drums", 0.9), ("other", 0.4)):
            if rng.random() < share:
                masked = np.full(seq.shape[1], True)
                if rng.random() < 0.5:
                    edges = np.sort([rng.randrange(seq.shape[1]) for _ in range(2 * rng.randint(1, 4))])
                    masked[:] = np.searchsorted(edges, np.arange(seq.shape[1])) % 2 == rng.randrange(2)
                rows = self.rows[stem]
                seq[rows] = np.where(masked, self.cards[rows, None], seq[rows])
        return seq

    def lay_out(self, grid, delays):
        """Applies the delay pattern: grid [K, G] to a sequence [K, G + 1], where step s of stream k holds
        frame s − 1 − delay, else the special token."""
        K, G = grid.shape
        seq = np.repeat(self.cards[:, None], G + 1, 1)
        for k, d in enumerate(delays):
            seq[k, d + 1:] = grid[k, :G - d]
        return seq

    def batch(self, items: int, **kind):
        """Tensors of a batch: seq [B,K,S], controls {name: [B,S−1]}, ids and mask [B,L], target [B,K,S−1]
        (−100: not in the loss), weight [B,K]."""
        seqs, targets, weights, known, texts = [], [], [], [], []
        for _ in range(items):
            grid, delays, start, weight, controls, text, label = self.item(**kind)
            seq = self.lay_out(grid, delays)
            steps = np.arange(1, seq.shape[1])[None] - 1 - delays[:, None]  # the frame in each target step
            targets.append(np.where((steps >= start[:, None]) & (seq[:, 1:] < self.cards[:, None]), seq[:, 1:], -100))
            # Exposure bias: at play the model conditions on its own output, errors included, so train with
            # some wrong tokens.
            noise = np.random.default_rng(self.rng.getrandbits(32))
            wrong = noise.random(seq.shape) < noise.choice([0.0, 0.02, 0.05])
            seq = np.where(wrong & (seq < self.cards[:, None]), noise.integers(0, self.cards[:, None], seq.shape), seq)
            seqs.append((self.mask_history(seq) if self.rng.random() < self.mask_share else seq)[:, :-1])
            weights.append(weight)
            known.append(controls)
            texts.append(text)
        null = {c["name"]: c["card"] for c in self.config["controls"]}
        controls = {n: torch.from_numpy(np.where(v < 0, null[n], v)).long() for n, v in zip(CONTROLS, np.stack(known, 1))}
        ids, mask = encode_texts(self.tokenizer, texts)
        return (torch.from_numpy(np.stack(seqs)).long(), controls, ids, mask,
                torch.from_numpy(np.stack(targets)).long(), torch.from_numpy(np.stack(weights)).float())
