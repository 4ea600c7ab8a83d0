"""Folders of the sample libraries and SoundFonts; environment variables override them."""

import os
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]


def data_dir() -> Path:
    """The folder of the sample libraries (README.md lists them): $SIDEMAN_DATA, else shared/data in the
    repository or in its parent folder."""
    if "SIDEMAN_DATA" in os.environ:
        return Path(os.environ["SIDEMAN_DATA"])
    inside = REPO / "shared" / "data"
    return inside if inside.is_dir() else REPO.parent / "shared" / "data"


def soundfont(name: str) -> Path:
    """The path of a SoundFont: 'fluid', 'muse' or 'tim'. Raises FileNotFoundError with the Debian package to
    install."""
    file, package = {
        "fluid": ("FluidR3_GM.sf2", "fluid-soundfont-gm"),
        "muse": ("MuseScore_General_Full.sf2", "musescore-general-soundfont-lossless"),
        "tim": ("TimGM6mb.sf2", "timgm6mb-soundfont"),
    }[name]
    path = Path(os.environ.get("SIDEMAN_SF2", "/usr/share/sounds/sf2")) / file
    if not path.is_file():
        raise FileNotFoundError(f"{path}: install the Debian package {package}, or set SIDEMAN_SF2 to its folder")
    return path
