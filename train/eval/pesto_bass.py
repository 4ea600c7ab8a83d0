"""Estimates the pitch of a bass with PESTO: `python pesto_bass.py IN.wav OUT.npy` writes [3, frames]:
seconds, Hz, confidence.

It is a separate program because PESTO is LGPL; harmony.py runs it. PESTO fails below 60 Hz, so it is given
twice the sample rate, which transposes the line up an octave. PESTO imports torchaudio only to open files,
which is not done here, so an empty module replaces it.
"""

import sys
import types

import numpy as np
import soundfile
import torch

sys.modules["torchaudio"] = types.ModuleType("torchaudio")
from pesto import predict  # noqa: E402

torch.set_num_threads(1)
x, rate = soundfile.read(sys.argv[1], dtype="float32")
t, hz, confidence, _ = predict(torch.from_numpy(x), 2 * rate, step_size=5.0)
np.save(sys.argv[2], np.stack([2 * t.numpy() / 1000, hz.numpy() / 2, confidence.numpy()]))
