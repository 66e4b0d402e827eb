"""schemathesis tries the HTTP routes with what their documents allow, and with what they do not."""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path

import pytest

from tests.helpers.services import Service

pytestmark = pytest.mark.slow

SECONDS = 100


async def schemathesis(service: Service, folder: Path) -> tuple[int | None, str]:
    """Run it against a service; return its exit code and what it says."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{service.http}/schema/openapi.json"),
        *("--max-examples", "40", "--seed", "1", "--generation-deterministic"),
        # Which characters a name may have, and that it is counted after NFC, a schema cannot say.
        *("--checks", "all", "--exclude-checks", "positive_data_acceptance", "--no-color"),
        cwd=folder,
        # The environment's proxies do not lead to this machine.
        env={name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")},
        stdout=PIPE,
        stderr=STDOUT,
    )
    try:
        async with asyncio.timeout(SECONDS):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, output.decode()


async def test_the_chat_server_keeps_to_its_document(chat_server: Service, tmp_path: Path) -> None:
    code, output = await schemathesis(chat_server, tmp_path)
    assert code == 0, output


async def test_the_subscriber_keeps_to_its_document(subscriber_service: Service, tmp_path: Path) -> None:
    code, output = await schemathesis(subscriber_service, tmp_path)
    assert code == 0, output
