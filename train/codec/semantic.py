"""Supervision of the first codebook: the bass note, the drum that is hit, the pitch classes of `other`.

The music is synthetic, so these labels are known. While a codec trains, a small head predicts them from book
0 alone; it is discarded afterwards. Book 0 then carries what matters musically. Pitch is reconstructed
better, and the tokens are easier for the LM to predict.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

LOWEST = 20  # MIDI note; class 0 is silence, class n is note LOWEST + n
NOTES = 80
DRUMS = {35: 0, 36: 0, 37: 1, 38: 1, 39: 1, 40: 1, 42: 2, 44: 2, 46: 3, 49: 4, 52: 4, 55: 4, 57: 4, 51: 5, 53: 5, 59: 5,
         41: 6, 43: 6, 45: 6, 47: 6, 48: 6, 50: 6, 58: 6}  # kick, snare, closed hat, open hat, crash, ride, tom; 7: the rest
OUTPUTS = {"bass": NOTES, "drums": 8, "other": 13}


def labels(stem: str, song: dict) -> np.ndarray:
    """Labels of each 20 ms frame: bass [T] note class; drums [T, 8], hit in this frame; other [T, 13], pitch
    classes that sound, then whether a note starts."""
    frames = song["len"] // 640
    notes = song["notes"][stem]
    if stem == "bass":
        out = np.zeros(frames, np.int64)
        for on, off, midi, _ in notes:
            out[int(on * 50):int(off * 50)] = np.clip(midi - LOWEST, 1, NOTES - 1)
        return out
    out = np.zeros((frames, OUTPUTS[stem]), np.float32)
    for note in notes:
        first = min(int(note[0] * 50), frames - 1)
        if stem == "drums":
            out[first, DRUMS.get(note[1], 7)] = 1
        else:
            out[first:max(first + 1, int(note[1] * 50)), note[2] % 12] = 1
            out[first, 12] = 1
    return out


class SemanticHead(nn.Module):
    """Predicts a frame's label from book 0 at this frame and its two neighbours."""

    def __init__(self, stem: str, latent: int):
        super().__init__()
        self.stem = stem
        self.read = nn.Sequential(nn.Linear(3 * latent, 256), nn.GELU(), nn.Linear(256, OUTPUTS[stem]))

    def forward(self, coarse, target):
        """The loss of latents quantized by book 0 [B, T, latent] against `labels`."""
        x = F.pad(coarse, (0, 0, 1, 1))
        predicted = self.read(torch.cat([x[:, :-2], x[:, 1:-1], x[:, 2:]], -1))
        if self.stem == "bass":
            return F.cross_entropy(predicted.flatten(0, 1), target.flatten())
        weight = torch.full((OUTPUTS[self.stem],), 4.0 if self.stem == "drums" else 1.0, device=x.device)
        return 4 * F.binary_cross_entropy_with_logits(predicted, target, pos_weight=weight)
