"""The examples of the SDK's README are whole programs: each is saved to a file and run."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from live_support_client import ChatClient
from tests.helpers.sdk import hear_said, user_chat
from tests.helpers.services import DEADLINE, Service
from tests.helpers.tokens import SECRET, make_token

SDK = Path(__file__).parent.parent.parent / "clients" / "python"
PROGRAMS = re.findall(r"^```python\n(.*?)^```$", (SDK / "README.md").read_text("utf-8"), re.M | re.S)
USER, AGENT, BOT, TOKEN, MESSAGES, OPTIONS, NEXT_DAY, ERRORS = PROGRAMS


class Program:
    """A running example."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.output = ""

    async def prints(self, text: str) -> None:
        assert self.process.stdout is not None
        async with asyncio.timeout(DEADLINE):
            while text not in self.output:
                more = await self.process.stdout.read(65_536)
                assert more, self.output
                self.output += more.decode()

    async def ends(self) -> str:
        assert self.process.stdout is not None
        async with asyncio.timeout(DEADLINE):
            self.output += (await self.process.stdout.read()).decode()
            assert await self.process.wait() == 0, self.output
        return self.output


Start = Callable[..., Awaitable[Program]]


@pytest.fixture
async def start(chat_server: Service, subscriber_service: Service, tmp_path: Path) -> AsyncIterator[Start]:
    """Save a program, with our addresses instead of the documented, and run it."""
    ours = {"http://localhost:9000": chat_server.http, "http://localhost:9001": subscriber_service.http}
    without_proxies = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    async with AsyncExitStack() as stack:

        async def start(program: str, **more: str) -> Program:
            for documented, actual in {**ours, **more}.items():
                program = program.replace(documented, actual)
            (tmp_path / "example.py").write_text(program, "utf-8")
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-W", "error", "example.py"),
                cwd=tmp_path,
                env={**without_proxies, "PYTHONPATH": str(SDK), "PYTHONUNBUFFERED": "1"},
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            stack.push_async_callback(end, process)
            return Program(process)

        yield start


async def end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
    await process.communicate()


async def test_a_user_and_an_agent_talk(start: Start) -> None:
    user = await start(USER)
    await user.prints("stored at")
    agent = await start(AGENT)
    assert "Support: Hello, please navigate to Transfer :)" in await user.ends()
    await agent.ends()


async def test_the_bot_answers_what_was_said_before_it_came_too(start: Start, client: ChatClient) -> None:
    async with user_chat(client) as first, user_chat(client) as second:
        await first.send("How?")
        await start(BOT)
        assert await hear_said(first, 2) == ["How?", "You asked: How?"]
        await second.send("Why?")
        assert await hear_said(second, 2) == ["Why?", "You asked: Why?"]
        await first.send("When?")
        assert await hear_said(first, 2) == ["When?", "You asked: When?"]


@pytest.mark.given(agent_jwt_secret=SECRET)
async def test_an_agent_asks_for_its_token(start: Start, client: ChatClient) -> None:
    async def issue(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readuntil(b"\r\n\r\n")
        body = b'{"access_token": "%b"}' % make_token().encode()
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(issue, "127.0.0.1", 0) as provider, user_chat(client) as chat:
        port = provider.sockets[0].getsockname()[1]
        agent = await start(TOKEN, **{"https://id.example.org": f"http://127.0.0.1:{port}"})
        assert await hear_said(chat, 1) == ["Hello!"]
        await agent.ends()


async def test_the_next_day_finds_the_history(start: Start, tmp_path: Path) -> None:
    assert await (await start(NEXT_DAY)).ends() == ""
    assert await (await start(NEXT_DAY)).ends() == "1 messages before\n"
    kept = (tmp_path / "chat.json").read_text("utf-8")
    unknown = re.sub(r'(?<="chatId":")[0-9a-f]+', "0" * 32, kept)
    (tmp_path / "chat.json").write_text(unknown, "utf-8")
    assert await (await start(NEXT_DAY)).ends() == "That chat is gone; start again.\n"


@pytest.mark.parametrize(
    ("program", "lines"),
    [
        (MESSAGES, ["User: Hey"]),
        (OPTIONS, ["ok", "now connected", "DEBUG live_support_client: Chat: connected", "now closed"]),
        (ERRORS, ["too_large The content must have at most 4000 characters."]),
    ],
    ids=["messages", "options", "errors"],
)
async def test_an_example_runs(program: str, lines: list[str], start: Start) -> None:
    output = await (await start(program)).ends()
    assert set(lines) <= set(output.splitlines())
