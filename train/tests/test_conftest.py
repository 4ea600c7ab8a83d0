"""The rule of conftest.py: a skip that was not allowed is a failure."""

import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]


def run(folder: Path, body: str, *options: str) -> str:
    """What pytest prints for one test file under our conftest."""
    (folder / "conftest.py").write_text("from train.tests.conftest import *  # noqa: F403\n")
    (folder / "test_one.py").write_text(f"import pytest\n{body}\n")
    r = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder), *options], cwd=REPO, capture_output=True, text=True,
                       env={"PATH": "/nowhere", "SIDEMAN_DATA": str(folder / "none")})
    return r.stdout.splitlines()[-1]


@pytest.mark.parametrize("body", [
    "def test_a(): pytest.skip('no reason')",
    "pytest.importorskip('no_such_module')\ndef test_a(): pass",
    "@pytest.mark.skipif(True, reason='x')\ndef test_a(): pass",
])
def test_a_skip_that_nothing_allows_fails(tmp_path, body):
    last = run(tmp_path, body)
    assert "skipped" not in last and ("1 failed" in last or "1 error" in last), last


def test_a_test_that_needs_what_is_missing_is_skipped_only_where_allowed(tmp_path):
    body = "@pytest.mark.needs('samples')\ndef test_a(): pass"
    assert "1 error" in run(tmp_path, body)
    assert "1 skipped" in run(tmp_path, body, "--may-miss", "samples")
    assert "1 error" in run(tmp_path, body, "--may-miss", "mma")
