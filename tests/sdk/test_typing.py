"""Who installs the SDK gets types that a strict checker is content with."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SDK = HERE.parent.parent / "clients" / "python"


def check(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run mypy as another project would: elsewhere, with no configuration of ours."""
    (folder / "project.py").write_text(code, "utf-8")
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--cache-dir", ".cache", "project.py"]
    environment = {**os.environ, "MYPYPATH": str(SDK)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_a_project_that_uses_the_sdk_is_well_typed(tmp_path: Path) -> None:
    code = (HERE / "typing" / "example.py").read_text("utf-8")
    checked = check(code, tmp_path)
    assert checked.returncode == 0, checked.stdout

    # The check can fail, too.
    wrong = code + "\n\nasync def wrong(client: ChatClient) -> int:\n    return await client.register(b'Nika')\n"
    checked = check(wrong, tmp_path)
    assert checked.returncode == 1
    assert checked.stdout.count("error:") == 2, checked.stdout


def test_the_package_says_that_it_is_typed() -> None:
    assert (SDK / "live_support_client" / "py.typed").exists()
