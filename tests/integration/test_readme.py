"""What the README shows can be typed as it stands there, and read where it is read."""

import asyncio
import json
import re
import sys
from pathlib import Path

from live_support_client import ChatClient, ChatHistory, RegisteredUser
from tests.helpers.sdk import hear
from tests.helpers.services import DEADLINE, Service

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", README, re.M | re.S)
GITHUB_COLUMNS = 95
"""As many characters of a code block does GitHub show without scrolling."""


def test_the_blocks_fit_into_the_page() -> None:
    assert [line for block in BLOCKS for line in block.splitlines() if len(line) > GITHUB_COLUMNS] == []


def test_every_task_that_is_named_exists() -> None:
    tasks = re.findall(r"^  ([a-z:]+):$", (ROOT / "Taskfile.yml").read_text("utf-8"), re.M)
    named = re.findall(r"(?:^|`|&& )task ([a-z:]+)\b", README, re.M)
    assert named
    assert set(named) <= set(tasks)


def test_what_the_first_hour_makes_is_not_committed() -> None:
    ignored = (ROOT / ".gitignore").read_text("utf-8").splitlines()
    assert {".venv/", "tools/", ".live-support/", ".env"} <= set(ignored)


async def test_the_visitor_in_raw_frames(client: ChatClient, chat_server: Service) -> None:
    (block,) = [block for block in BLOCKS if "/user/join/" in block]
    # Only the port, and where the program stands, are the test's own.
    block = block.replace("localhost:9000", f"localhost:{chat_server.port}")
    block = block.replace(".venv/bin/websockets", f"{sys.executable} -m websockets")
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec("sh", "-c", block, cwd=ROOT, stdin=pipe, stdout=pipe)
    assert process.stdin is not None
    assert process.stdout is not None
    async with asyncio.timeout(DEADLINE):
        user = json.loads(await process.stdout.readline())
        output = b""
        while b'"content":"Hey"' not in output:
            more = await process.stdout.read(65_536)
            assert more, output
            output += more
        assert b'"participant":"User"' in output
        process.stdin.close()
        await process.wait()
    registered = RegisteredUser(user_id=user["userId"], username=user["username"], chat_id=user["chatId"])
    async with client.chat(registered) as chat:
        while not isinstance(message := await hear(chat), ChatHistory):
            pass
    assert [stored.content for stored in message.args.messages] == ["Hey"]
