"""Where the sample libraries and soundfonts lie; environment variables override."""

import os
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]


def data_dir() -> Path:
    """Folder of the training data (README lists it): $SIDEMAN_DATA, else shared/data beside or inside the repository."""
    if "SIDEMAN_DATA" in os.environ:
        return Path(os.environ["SIDEMAN_DATA"])
    inside = REPO / "shared" / "data"
    return inside if inside.is_dir() else REPO.parent / "shared" / "data"


def soundfont(name: str) -> Path:
    """Path of one soundfont, `name` one of 'fluid', 'muse', 'tim'. Raises FileNotFoundError naming the Debian package."""
    file, package = {
        "fluid": ("FluidR3_GM.sf2", "fluid-soundfont-gm"),
        "muse": ("MuseScore_General_Full.sf2", "musescore-general-soundfont-lossless"),
        "tim": ("TimGM6mb.sf2", "timgm6mb-soundfont"),
    }[name]
    path = Path(os.environ.get("SIDEMAN_SF2", "/usr/share/sounds/sf2")) / file
    if not path.is_file():
        raise FileNotFoundError(f"{path}: install the Debian package {package}, or set SIDEMAN_SF2 to its folder")
    return path
