"""Words for a song, from what is known of it; and the small vocabulary they are split by."""

import json
import random
from pathlib import Path

import tokenizers
from tokenizers import Tokenizer, models, pre_tokenizers, processors, decoders, trainers

NAMES = {"ep": "electric piano", "clav": "clavinet", "vibes": "vibraphone", "gtr": "guitar"}


def brief(song: dict, rng: random.Random) -> str:
    """Nothing but the drums' style."""
    style = song.get("drummer") or song["style"]
    return rng.choice([f"{style} drums", f"{style} drums", f"{style} groove", style])


def caption(song: dict, rng: random.Random) -> str:
    """A few words in no fixed order: style, drums, instruments, tempo, mood; each may be left out."""
    tags, style = song["caption_tags"], song["style"]
    other = [NAMES.get(i, i.replace("_", " ").replace("-", " ")) for i in song["instruments"]["other"]]
    parts = []
    drummer = song.get("drummer")
    if drummer:  # A guest plays the drums: words must tell, for nothing else does.
        parts.append(rng.choice([f"{drummer} drums", f"{drummer} drums", f"{drummer} groove", drummer, f"{style} band with {drummer} drums"]))
    elif rng.random() < 0.85:
        parts.append(rng.choice([style, f"{style} drums", f"{style} groove", f"a {style} band", f"{style} trio"]))
    if rng.random() < 0.7:
        parts.append(rng.choice([" and ".join(other), "with " + " and ".join(other), rng.choice(other)]))
    if rng.random() < 0.4:
        parts.append(rng.choice([tags["tempo"], f"{tags['tempo']} tempo", f"{round(song['bpm'])} bpm"]))
    for key in ("mood", "density", "mode"):
        if rng.random() < 0.3:
            parts.append(str(tags[key]))
    rng.shuffle(parts)
    return rng.choice([", ", " ", ", "]).join(parts)


def train_tokenizer(songs: list[dict], vocab: int, out: Path) -> Tokenizer:
    """A unigram vocabulary in T5's convention (pad 0, </s> 1, unk 2), written as tokenizer.json."""
    rng = random.Random(1)
    texts = [caption(s, rng) for s in songs for _ in range(40)]
    letters = [chr(c) for c in range(32, 127)]
    t = Tokenizer(models.Unigram())
    t.pre_tokenizer = pre_tokenizers.Metaspace()
    t.decoder = decoders.Metaspace()
    t.normalizer = tokenizers.normalizers.Lowercase()
    trainer = trainers.UnigramTrainer(vocab_size=vocab, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>", initial_alphabet=letters)
    t.train_from_iterator(texts + ["".join(letters)] * 3, trainer)
    t.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    t.save(str(out))
    assert t.get_vocab_size() <= vocab, json.dumps(t.get_vocab_size())
    return t
