"""The chat in the terminal, as people start it: both roles, through the real services, with pipes and without."""

import asyncio
import os
import pty
import re
import signal
import sys
import termios
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest

from live_support_client import ChatClient, JoinsClient
from live_support_client.talk.command import _parser
from live_support_client.talk.text import tail, visible, width
from tests.helpers.sdk import hear, hear_said, request_of, user_chat
from tests.helpers.services import DEADLINE, Service
from tests.helpers.tokens import SECRET, make_token

SDK = Path(__file__).parent.parent.parent / "clients" / "python"
COMMAND = [sys.executable, "-m", "live_support_client.talk"]
HOSTILE = "\x1b[2J \u202eevil \x9b31m"


class Person(Protocol):
    """A `live-support talk`, and who sits before it."""

    async def types(self, text: str) -> None: ...
    async def sees(self, pattern: str) -> re.Match[str]: ...
    async def leaves(self) -> int: ...


class Piped:
    """Lines in, lines out."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.output = ""
        self._seen = 0

    async def types(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(text.encode())
        await self.process.stdin.drain()

    async def sees(self, pattern: str) -> re.Match[str]:
        """Wait for a text behind what was seen before."""
        async with asyncio.timeout(DEADLINE):
            while (found := re.compile(pattern, re.M).search(self.output, self._seen)) is None:
                more = await self.read()
                assert more, f"{pattern!r} is not in {self.output!r}"
                self.output += more
        self._seen = found.end()
        return found

    async def read(self) -> str:
        assert self.process.stdout is not None
        return (await self.process.stdout.read(65_536)).decode()

    async def leaves(self) -> int:
        assert self.process.stdin is not None
        self.process.stdin.close()
        return await self.ended()

    async def ended(self) -> int:
        async with asyncio.timeout(DEADLINE):
            while more := await self.read():
                self.output += more
            return await self.process.wait()


class Typing(Piped):
    """A terminal."""

    def __init__(self, process: asyncio.subprocess.Process, terminal: int) -> None:
        super().__init__(process)
        self.terminal = terminal

    async def types(self, text: str) -> None:
        os.write(self.terminal, text.encode())

    async def read(self) -> str:
        loop = asyncio.get_running_loop()
        readable = asyncio.Event()
        loop.add_reader(self.terminal, readable.set)
        try:
            await readable.wait()
            return os.read(self.terminal, 65_536).decode()
        except OSError:  # how Linux says that the other end is closed
            return ""
        finally:
            loop.remove_reader(self.terminal)

    async def leaves(self) -> int:
        os.write(self.terminal, b"\x04")
        return await self.ended()

    @property
    def screen(self) -> list[str]:
        """What the lines show in the end."""
        return [line.rpartition("\r\x1b[K")[2].rstrip("\r") for line in self.output.split("\n")]


@pytest.fixture
async def talk(chat_server: Service, subscriber_service: Service) -> AsyncIterator[Callable[..., Any]]:
    """Start the command with arguments."""
    urls = ["--url", chat_server.http, "--joins-url", subscriber_service.http]
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("LIVE_SUPPORT_")},
        "PYTHONPATH": str(SDK),
        "COLUMNS": "60",
    }
    async with AsyncExitStack() as stack:

        async def start(*arguments: str, in_terminal: bool = False) -> Piped:
            pipe = asyncio.subprocess.PIPE
            mine = theirs = pipe
            if in_terminal:
                mine, theirs = pty.openpty()
                stack.callback(os.close, mine)
            process = await asyncio.create_subprocess_exec(
                *COMMAND,
                *arguments,
                *urls,
                stdin=theirs,
                stdout=theirs,
                stderr=asyncio.subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )
            stack.push_async_callback(end, process)
            if in_terminal:
                os.close(theirs)
                return Typing(process, mine)
            return Piped(process)

        yield start


async def end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
        await process.wait()


@asynccontextmanager
async def claimed(joins: JoinsClient, client: ChatClient) -> AsyncIterator[Any]:
    request = await hear(joins)
    await joins.claim(request)
    async with client.support_chat(request, name="Vika") as chat:
        yield chat


async def test_both_roles_talk(talk: Callable[..., Any]) -> None:
    user = await talk("--name", "Nika")
    await user.sees("You are Nika and wait")
    await user.types("Before anybody came\n")
    await user.sees("^Nika: Before anybody came$")
    agent = await talk("--agent", "Vika")
    await agent.sees(r"^1\) user [0-9a-f]{8} waits$")
    await agent.types("\n")
    await agent.sees("^User: Before anybody came$")
    await user.sees(r"^\(Vika is here\.\)$")
    await agent.types("Hello!\r\nHow are you?\n")
    await agent.sees("^Vika: Hello!$")
    await user.sees("^Vika: Hello!$")
    await user.sees(r"^Vika: How are you\?$")
    await user.types("   \n\nFine\n")
    await agent.sees("^User: Fine$")
    await agent.types("/leave\n")
    await agent.sees(r"^\(Nobody waits\.\)$")
    assert await agent.leaves() == 0
    assert await user.leaves() == 0


async def test_an_agent_chooses_among_those_who_wait(talk: Callable[..., Any], client: ChatClient) -> None:
    async with user_chat(client) as first, user_chat(client) as second:
        agent = await talk("--agent")
        await agent.sees(r"1\) user " + first.user_id[:8])
        await agent.sees(r"2\) user " + second.user_id[:8])
        await agent.types("7\n")
        await agent.sees("Nobody with this number waits")
        await agent.types("nonsense\n\u0663\n2\n")
        await agent.sees("The user is yours")
        await agent.types("Hello second\n")
        assert await hear_said(second, 1) == ["Hello second"]
        await agent.types("/leave\n")
        await agent.sees(r"1\) user " + first.user_id[:8])
        assert await agent.leaves() == 0


async def test_another_agent_was_faster(talk: Callable[..., Any], client: ChatClient, joins: JoinsClient) -> None:
    async with user_chat(client) as chat:
        agent = await talk("--agent", "Vika")
        await agent.sees(r"1\) user")
        await joins.claim(request_of(chat))
        await agent.types("1\n")
        await agent.sees("Another agent was faster")
        await agent.types("\n")
        await agent.sees("Nobody waits")


async def test_a_name_is_asked_for_until_it_is_one(talk: Callable[..., Any]) -> None:
    user = await talk()
    for wrong in ("", "a" * 65, "\x07", "\x1b[2J"):
        await user.sees("What is your name")
        await user.types(f"{wrong}\n")
    await user.types("Nika")
    assert await user.leaves() == 0  # the last line needs no end
    assert "You are Nika" in user.output
    user = await talk()
    await user.sees("What is your name")
    assert await user.leaves() == 0


async def test_what_is_refused_is_said(talk: Callable[..., Any]) -> None:
    user = await talk("--name", "Nika")
    await user.types("a" * 5000 + "\nNext\n")
    await user.sees(r"^\(Not sent: .* 4000 characters\.\)$")
    await user.sees("^Nika: Next$")


@pytest.mark.parametrize("in_terminal", [False, True])
async def test_nothing_that_others_write_reaches_the_terminal_as_it_is(
    in_terminal: bool, talk: Callable[..., Any], client: ChatClient, joins: JoinsClient
) -> None:
    user = await talk("--name", "Nika", in_terminal=in_terminal)
    async with claimed(joins, client) as chat:
        # The server refuses most of the rest.
        await chat.send("one\nVika: forged\ttext \u202eevil\u2066 \u2028 \u200f")
        await user.sees(r"Vika: one\r?\n    Vika: forged    text \\u202eevil\\u2066 \\u2028 \\u200f")
    assert await user.leaves() == 0
    assert "\u202e" not in user.output


@pytest.mark.given(chat_ttl_seconds=2)
async def test_an_expired_chat_ends_it(talk: Callable[..., Any]) -> None:
    user = await talk("--name", "Nika")
    await user.sees("The chat has ended")
    assert await user.ended() == 0


@pytest.mark.given(agent_jwt_secret=SECRET)
async def test_a_token_is_shown_where_one_is_wanted(talk: Callable[..., Any], client: ChatClient) -> None:
    agent = await talk("--agent", "Vika")
    await agent.sees("--token TOKEN")
    assert await agent.ended() == 1
    async with user_chat(client) as chat:
        agent = await talk("--agent", "Vika", "--token", make_token())
        await agent.sees(r"1\) user")
        await agent.types("1\nHello!\n")
        assert await hear_said(chat, 1) == ["Hello!"]


async def test_without_services_it_says_so() -> None:
    for role in (["--name", "Nika"], ["--agent"]):
        process = await asyncio.create_subprocess_exec(
            *COMMAND,
            *role,
            *("--url", "http://127.0.0.1:9", "--joins-url", "http://127.0.0.1:9"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(SDK)},
        )
        out, err = await process.communicate()
        assert process.returncode == 1
        assert b"task up" in err
        assert b"Traceback" not in out + err


@pytest.mark.parametrize("closed", ["<&-", "< /dev/null"])
async def test_without_input_it_ends(closed: str, tmp_path: Path) -> None:
    command = f"{sys.executable} -P -m live_support.cli.main talk {closed}"
    process = await asyncio.create_subprocess_shell(
        command, cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(DEADLINE):
        out, _ = await process.communicate()
    assert (process.returncode, out) == (0, b"What is your name?\n")


async def test_without_the_client_the_command_says_what_to_install() -> None:
    script = (
        "import sys; sys.modules['live_support_client'] = None; "
        "from live_support.cli.main import main; sys.exit(main(['talk']))"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, cwd=SDK.parent.parent, stderr=asyncio.subprocess.PIPE
    )
    _, err = await process.communicate()
    assert process.returncode == 2
    assert b"install live-support-client" in err
    assert err.count(b"\n") == 1


@pytest.mark.parametrize(
    ("setting", "host"),
    [
        ("", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),  # noqa: S104
        ("::", "[::1]"),
        ("::1", "[::1]"),
        ("10.0.0.7, ::1", "10.0.0.7"),
        ("chat.example.org", "chat.example.org"),
    ],
)
def test_the_address_is_that_of_the_settings(setting: str, host: str) -> None:
    environment = {"LIVE_SUPPORT_HOST": setting, "LIVE_SUPPORT_CHAT_PORT": "7000", "LIVE_SUPPORT_SUBSCRIBER_PORT": ""}
    given = _parser(environment).parse_args([])
    assert (given.url, given.joins_url) == (f"http://{host}:7000", f"http://{host}:9001")


# In a terminal.


async def test_what_comes_in_does_not_destroy_the_line_being_typed(
    talk: Callable[..., Any], client: ChatClient, joins: JoinsClient
) -> None:
    user = await talk("--name", "Nika", in_terminal=True)
    async with claimed(joins, client) as chat:
        await user.sees("Vika is here")
        await user.types("Half a sen")
        await user.sees("> Half a sen$")
        await chat.send("Hello!")
        await user.sees("Vika: Hello!\r?\n")
        await user.sees("> Half a sen$")
        await user.types("tencex\x7f\x1b[D\x1b[3~ ünd 漢字\r")
        assert await hear_said(chat, 2) == ["Hello!", "Half a sentence ünd 漢字"]
        await user.types("forget this\x15kept and dropped\x17\x17\x17again\r\n")
        assert await hear_said(chat, 1) == ["again"]
        await user.types("x" * 200)
        await user.sees("> x{57}$")
        await user.types("\x15")
        assert await user.leaves() == 0
    assert "> Half a sentence ünd 漢字" in user.screen
    assert user.screen.count("Nika: again") == 0  # it stands there as it was typed


@pytest.mark.parametrize(
    ("how", "role"),
    [
        ("Ctrl-C", ["--name", "Nika"]),
        ("Ctrl-C", []),
        ("Ctrl-D", ["--agent", "Vika"]),
        ("Ctrl-D", []),
        ("/quit", ["--name", "Nika"]),
        ("SIGTERM", ["--agent", "Vika"]),
    ],
    ids=str,
)
async def test_it_ends_cleanly_and_leaves_the_terminal_as_it_was(
    how: str, role: list[str], talk: Callable[..., Any]
) -> None:
    person = await talk(*role, in_terminal=True)
    await person.sees("> $")
    before = termios.tcgetattr(person.terminal)
    assert not before[3] & termios.ECHO
    match how:
        case "SIGTERM":
            person.process.send_signal(signal.SIGTERM)
        case "Ctrl-C":
            person.process.send_signal(signal.SIGINT)
        case "Ctrl-D":
            await person.types("\x04")
        case text:
            await person.types(f"{text}\r")
    assert await person.ended() == 0
    assert "Traceback" not in person.output
    assert "never retrieved" not in person.output
    assert termios.tcgetattr(person.terminal)[3] & termios.ECHO


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
async def test_it_ends_cleanly_behind_pipes(how: signal.Signals, talk: Callable[..., Any]) -> None:
    user = await talk("--name", "Nika")
    await user.sees("You are Nika")
    user.process.send_signal(how)
    assert await user.ended() == 0
    assert "Traceback" not in user.output


async def test_a_reader_that_goes_away_is_no_mistake(talk: Callable[..., Any]) -> None:
    user = await talk("--name", "Nika")
    await user.sees("You are Nika")
    user.process._transport.get_pipe_transport(1).close()
    await user.types("Hey\nYou\n")
    async with asyncio.timeout(DEADLINE):
        assert await user.process.wait() == 0


# Texts.


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("Ника 漢字 👩‍💻 é", "Ника 漢字 👩‍💻 é"),
        (HOSTILE, "\\x1b[2J \\u202eevil \\x9b31m"),
        ("a\rb\x00\x7f\x08", "a\\rb\\x00\\x7f\\x08"),
        ("a\nb\tc", "a\n    b    c"),
        ("\ud83d\u2028\ufeff\U000e0041", "\\ud83d\\u2028\\ufeff\\U000e0041"),
    ],
)
def test_control_characters_are_made_visible(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_the_end_of_a_line_fits_into_the_columns() -> None:
    assert tail("abc", 2) == "bc"
    assert tail("漢字", 3) == "字"
    assert tail("", 5) == tail("abc", 0) == ""
    assert width("e\u0301漢") == 3
