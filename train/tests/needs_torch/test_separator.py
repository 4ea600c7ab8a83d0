"""The separator's net: its transform is invertible, the sources add up, it sees a second around it and no more."""

import numpy as np
import torch

from train.separator.evaluate import oracle, si_sdr
from train.separator.mixtures import Mixtures, Song
from train.separator.model import CONFIG, Separator, features, spectrum, waveform
from train.separator.train import loss_of

SMALL = {**CONFIG, "channels": [4, 8, 8, 16], "width": 32, "hidden": 48}


def net():
    torch.manual_seed(3)
    made = Separator(SMALL).eval()
    for p in made.parameters():  # biases by row begin at zero, layer scales small: a fault in them would not show
        torch.nn.init.normal_(p, std=0.2)
    return made


def test_the_inverse_gives_the_signal_back_to_its_ends():
    x = torch.randn(2, 12345)
    assert (waveform(spectrum(x), 12345) - x).abs().max() < 1e-5


def test_the_sources_add_up_to_the_mixture():
    x = torch.randn(1, 20000) * 0.1
    sources = net().separate(x)[0]
    assert (sources.sum(0) - x[0]).abs().max() < 1e-5
    assert all(s.square().mean() > 1e-6 for s in sources)


def test_a_frame_depends_on_a_second_around_it():
    # 54 frames in the blocks and 6 in the layers along frequency, on each side.
    net_, x = net().double(), torch.randn(1, 512 * 200).double() * 0.1
    changed = x.clone()
    changed[:, 512 * 100:512 * 101] += 0.3
    with torch.no_grad():
        a, b = net_(features(spectrum(x))), net_(features(spectrum(changed)))
    frames = torch.nonzero((a - b).abs().amax((0, 1, 3)))[:, 0]
    first, last = 100, 103  # frames whose window holds changed samples
    assert frames.min() == first - 60 and frames.max() == last + 60


def song(length, voice, silent=False):
    made = Song.__new__(Song)
    noise = np.random.default_rng(1).integers(-8000, 8000, length).astype(np.int16)
    made.label, made.length, made.downbeats, made.voice = {"bpm": 100.0, "meter": [4, 4]}, length, np.arange(0, length / 32000, 2.4), voice
    made.stems = {s: noise * (0 if silent else 1) for s in ("drums", "bass", "other")}
    return made


def test_mixtures_are_their_sources_but_for_noise_and_loss(tmp_path):
    np.savez(tmp_path / "voice.npz", voice=np.full(90000, 3000, np.int16), start=20000)
    music = Mixtures.__new__(Mixtures)
    music.songs, music.rng = [song(300000, tmp_path / "voice.npz"), song(250000, tmp_path / "voice.npz")], np.random.default_rng(4)
    exact = 0
    for _ in range(20):
        mix, sources = music.item(65536)
        assert mix.shape == (65536,) and sources.shape == (4, 65536) and np.isfinite(mix).all()
        exact += np.abs(mix - sources.sum(0)).max() < 1e-4
    assert exact >= 8, "most have neither noise nor a low-pass"


def test_a_crop_beyond_the_voice_is_silent(tmp_path):
    np.savez(tmp_path / "voice.npz", voice=np.full(1000, 3276, np.int16), start=500)
    got = song(4000, tmp_path / "voice.npz").crop("voice", 0, 4000)
    assert not got[:500].any() and not got[1500:].any() and abs(got[500] - 0.1) < 1e-3


def test_the_loss_falls_for_the_oracle():
    torch.manual_seed(1)
    t = torch.arange(40000) / 32000
    sources = torch.stack([torch.sin(2 * np.pi * hz * t) for hz in (100.0, 700.0, 3000.0, 9000.0)]) * 0.1
    mix = sources.sum(0, keepdim=True)
    made = net()
    made.shares = lambda spectra: torch.ones(1, 4, *spectra.shape[1:]) / 4
    even = loss_of(made, mix, sources[None], False)
    size = spectrum(sources).abs() + 1e-9
    made.shares = lambda spectra: (size / size.sum(0))[None]
    assert loss_of(made, mix, sources[None], True) < 0.3 * even


def test_controls_bracket_a_separation():
    rng = np.random.default_rng(2)
    a, b = np.sin(np.arange(40000) * 0.05), rng.standard_normal(40000)
    mix = torch.from_numpy((a + b)[None]).float()
    by_mask = oracle(mix, torch.from_numpy(np.stack([a, b])).float()).numpy()
    assert si_sdr(a, a + b) < 0 < si_sdr(a, by_mask[0].astype(np.float64)) - 5
