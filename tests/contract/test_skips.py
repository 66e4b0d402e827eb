"""A run in CI fails if a tool is missing, and says which."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.skips import LISTED

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]

A_TEST = "import pytest\n\ndef test_passes(): pass\n\ndef test_skips(): pytest.skip({!r})\n"
A_MODULE = "import pytest\n\npytest.skip({!r}, allow_module_level=True)\n"


def run(folder: Path, *arguments: str, ci: str) -> subprocess.CompletedProcess[str]:
    """Run the tests in a folder."""
    command = [sys.executable, "-m", "pytest", "-p", "tests.helpers.skips", "-c", "pyproject.toml", "--rootdir", "."]
    return subprocess.run(
        [*command, *arguments, str(folder)],
        cwd=ROOT,
        env=os.environ | {"CI": ci},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_skip_that_is_not_listed_is_a_failure_in_ci_only(tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text(A_TEST.format("there is no curl"))
    (tmp_path / "test_none.py").write_text(A_MODULE.format("Chromium is not installed"))
    done = run(tmp_path, "-n", "1", ci="true")
    assert done.returncode == 1, done.stdout
    assert "\nChromium is not installed\nthere is no curl\n" in done.stdout
    assert run(tmp_path, ci="").returncode == 0


def test_what_is_listed_may_be_skipped(tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text(A_TEST.format(f"{LISTED[0]} (Read-only file system)"))
    assert run(tmp_path, ci="true").returncode == 0
