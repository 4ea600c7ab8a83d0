"""Makes an unexpected skip a failure, so that no test passes without running.

A test that needs more than Python packages says so: `@pytest.mark.needs("samples")`. Where that is missing,
the test is skipped if `--may-miss` lists it and fails if not. Every other skip (`pytest.skip`,
`importorskip`, `skipif`) is a failure.
"""

import shutil

import pytest

from train.data import mma
from train.data.paths import data_dir, soundfont


def have_soundfonts() -> bool:
    try:
        return all(soundfont(name) for name in ("fluid", "muse", "tim"))
    except FileNotFoundError:
        return False


# name: (is it here?, how to get it)
RESOURCES = {
    "samples": (lambda: (data_dir() / "pop909-chords").is_dir(), f"no sample libraries in {data_dir()}: set SIDEMAN_DATA to their folder (train/data/README.md lists them)"),
    "soundfonts": (have_soundfonts, "no SoundFonts: install Debian's fluid-soundfont-gm, musescore-general-soundfont-lossless and timgm6mb-soundfont"),
    "chromium": (lambda: bool(shutil.which("chromium") or shutil.which("chromium-browser")), "no browser: install Debian's chromium"),
    "mma": (lambda: bool(shutil.which("mma")) and mma.LIBRARY.is_dir(), "no mma: install Debian's mma"),
}
EXPECTED = pytest.StashKey[bool]()


def pytest_addoption(parser):
    parser.addoption("--may-miss", default="", metavar="NAMES", help=f"comma-separated; tests that need one of these are skipped where it is missing: {', '.join(RESOURCES)}")


def pytest_configure(config):
    config.addinivalue_line("markers", "needs(*names): what the test needs beside Python packages; see conftest.py")
    unknown = set(filter(None, config.getoption("--may-miss").split(","))) - set(RESOURCES)
    if unknown:
        raise pytest.UsageError(f"--may-miss: unknown {', '.join(sorted(unknown))} (known: {', '.join(RESOURCES)})")


def pytest_runtest_setup(item):
    for name in [name for mark in item.iter_markers("needs") for name in mark.args]:
        here, remedy = RESOURCES[name]
        if not here():
            if name not in item.config.getoption("--may-miss").split(","):
                pytest.fail(f"{remedy}; --may-miss {name} skips this test", pytrace=False)
            item.stash[EXPECTED] = True
            pytest.skip(remedy)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.skipped and not item.stash.get(EXPECTED, False) and not hasattr(report, "wasxfail"):
        report.outcome, report.longrepr = "failed", f"unexpected skip: {call.excinfo.value} (mark what the test needs with @pytest.mark.needs)"


@pytest.hookimpl(hookwrapper=True)
def pytest_make_collect_report(collector):
    report = (yield).get_result()
    if report.skipped:
        report.outcome, report.longrepr = "failed", f"unexpected skip of a whole file: {report.longrepr}"
