"""`task bench:redis`: instructions, not seconds, so what it prints can be compared between machines."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "redis_cost.py"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("valgrind") is None, reason="valgrind is missing")
def test_a_message_costs_more_than_an_echo_and_less_than_a_limit() -> None:
    command = [sys.executable, "-P", str(SCRIPT), "--calls", "100", "--only", "ECHO", "--only", "message"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, timeout=110).stdout
    counted = {name: int(count.replace(",", "")) for name, count in re.findall(r"^(\S+) +([\d,]+) inst", printed, re.M)}
    assert 2_000 < counted["ECHO"] < 10_000
    assert counted["ECHO"] < counted["message"] < 190_000
