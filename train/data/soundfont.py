"""Renders notes with SoundFonts through libfluidsynth (Debian libfluidsynth3), to mono float audio."""

import ctypes
from functools import lru_cache

import numpy as np

from .paths import soundfont

RATE = 32000
BLOCK = 64  # samples; fluidsynth starts voices on block boundaries, so onsets are within 1 ms
GEN_FINETUNE = 52


class Synth:
    """A fluidsynth that loads SoundFonts on first use, without reverb and chorus (mix.py adds rooms)."""

    def __init__(self):
        lib = ctypes.CDLL("libfluidsynth.so.3")
        for name in ("new_fluid_settings", "new_fluid_synth", "fluid_synth_get_sfont_by_id"):
            getattr(lib, name).restype = ctypes.c_void_p
        settings = ctypes.c_void_p(lib.new_fluid_settings())
        lib.fluid_settings_setnum(settings, b"synth.sample-rate", ctypes.c_double(RATE))
        lib.fluid_settings_setnum(settings, b"synth.gain", ctypes.c_double(0.6))
        ints = {"reverb.active": 0, "chorus.active": 0, "polyphony": 128, "dynamic-sample-loading": 1, "lock-memory": 0}
        for key, value in ints.items():
            lib.fluid_settings_setint(settings, f"synth.{key}".encode(), value)
        self.lib, self.settings = lib, settings
        self.synth = ctypes.c_void_p(lib.new_fluid_synth(settings))
        lib.fluid_set_log_function(2, None, None)
        self.fonts = {}

    def font(self, name):
        """The handle of 'fluid', 'muse' or 'tim', loaded once and shared by the synths of all renders."""
        if name not in self.fonts:
            sfid = self.lib.fluid_synth_sfload(self.synth, str(soundfont(name)).encode(), 0)
            if sfid < 0:
                raise RuntimeError(f"{soundfont(name)}: fluidsynth cannot load this SoundFont")
            self.fonts[name] = ctypes.c_void_p(self.lib.fluid_synth_get_sfont_by_id(self.synth, sfid))
        return self.fonts[name]

    def render(self, font, bank, program, notes, samples, cents=0.0):
        """Mono float32 [samples] of `notes` = [(on s, off s, midi, vel 1-127)] with one program, detuned by
        `cents`."""
        lib, channel, handle = self.lib, 0, self.font(font)
        # A new synth per render: voices keep filter state, and a song must not depend on the one before.
        synth = ctypes.c_void_p(lib.new_fluid_synth(self.settings))
        sfid = lib.fluid_synth_add_sfont(synth, handle)
        if lib.fluid_synth_program_select(synth, channel, sfid, bank, program) != 0:
            raise ValueError(f"soundfont {font}: no program {bank}:{program}")
        lib.fluid_synth_set_gen(synth, channel, GEN_FINETUNE, ctypes.c_float(cents))
        events = []
        for on, off, midi, vel in notes:
            a, b = round(on * RATE / BLOCK), round(off * RATE / BLOCK)
            events.append((a, 1, midi, vel))
            events.append((max(b, a + 1), 0, midi, 0))
        events.sort()
        left = np.zeros(-(-samples // BLOCK) * BLOCK, np.float32)
        right = np.zeros_like(left)
        lp, rp = left.ctypes.data_as(ctypes.c_void_p), right.ctypes.data_as(ctypes.c_void_p)
        at, end = 0, len(left) // BLOCK
        for block, on, midi, vel in [*events, (end, 0, 0, 0)]:
            block = min(block, end)
            if block > at:
                n = (block - at) * BLOCK
                lib.fluid_synth_write_float(synth, n, lp, at * BLOCK, 1, rp, at * BLOCK, 1)
                at = block
            if at >= end:
                break
            if on:
                lib.fluid_synth_noteon(synth, channel, int(midi), int(vel))
            else:
                lib.fluid_synth_noteoff(synth, channel, int(midi))
        lib.fluid_synth_remove_sfont(synth, handle)
        lib.delete_fluid_synth(synth)
        return (left[:samples] + right[:samples]) * 0.5


@lru_cache(1)
def shared_synth() -> Synth:
    """The one synth of this process, because a SoundFont may take half a gigabyte."""
    return Synth()
