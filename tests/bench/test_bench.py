"""The benchmark as a whole: the command, and its load generator against servers that break the promise."""

import asyncio
import json
import os
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server

from chatbench.options import parse
from chatbench.plan import Outcome, Phase, Plan, decode_answers
from chatbench.quota import missing
from tests.helpers.services import free_port

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent / "benchmarks"

Deliver = Callable[[list[WSTransport], bytes, int], None]


async def run(*command: object, given: bytes = b"") -> tuple[int | None, str, str]:
    """Run a program; returns its exit code and what it printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *map(str, command),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate(given)
    return process.returncode, out.decode(), err.decode()


async def test_a_run_measures_and_verifies(tmp_path: Path) -> None:
    file, plot = tmp_path / "result.json", tmp_path / "plot.svg"
    small = ["--rounds", 1, "--seconds", 0.3, "--chats", 4, "--rates", 50, "--growth", 4, "--growth-rate", 50]
    code, out, err = await run(ROOT / "bench.py", "--peers", "floor", *small, "--json", file, "--plot", plot)
    assert code == 0, out + err
    assert "Every message came to both participants, once, in one order." in out

    result = json.loads(file.read_text("utf-8"))
    assert set(result["figures"]) == {"ours", "floor"}
    for figures in result["figures"].values():
        assert figures["cpu_us"]["median"] > 0
        assert figures["messages_per_second"]["median"] > 0
        assert figures["p50@50"]["median"] > 0
        assert figures["messages_per_second@chats:4"]["median"] > 0
    assert result["figures"]["ours"]["redis_us"]["median"] > result["figures"]["floor"]["redis_us"]["median"]
    # Whatever this machine does meanwhile: to pass frames on costs less than to keep all promises.
    assert result["ours_divided_by"]["floor"]["median"] > 1
    assert plot.stat().st_size > 10_000


async def test_workers_are_measured_together(tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    small = ["--parts", "workers", "--rounds", 1, "--seconds", 0.3, "--chats", 4, "--workers", "1,2"]
    code, out, err = await run(ROOT / "bench.py", *small, "--json", file)
    assert code == 0, out + err
    assert "Every message came to both participants, once, in one order." in out

    result = json.loads(file.read_text("utf-8"))
    figures = result["figures"]["ours"]
    for workers in (1, 2):
        assert figures[f"cpu_us@workers:{workers}"]["median"] > 0
        assert figures[f"redis_us@workers:{workers}"]["median"] > 0
    limited = result["options"]["quota"] > 0
    assert limited is (missing() is None)
    assert limited is ("messages/s" in out)
    if limited:
        # Both together, or one would be at the double of its quota.
        shares = {workers: figures[f"server_share@workers:{workers}"]["median"] / workers for workers in (1, 2)}
        assert max(shares.values()) < 1.5 * result["options"]["quota"]


async def test_workers_without_a_quota_have_no_rates(tmp_path: Path) -> None:
    small = ["--parts", "workers", "--rounds", 1, "--seconds", 0.3, "--chats", 4, "--workers", "2", "--quota", 0]
    code, out, err = await run(ROOT / "bench.py", *small, "--json", tmp_path / "result.json")
    assert code == 0, out + err
    assert "2 workers" in out
    assert "times" not in out


def to_all(members: list[WSTransport], frame: bytes, _: int) -> None:
    """Deliver as promised."""
    for member in members:
        member.send(WSMsgType.TEXT, frame)


def lose(members: list[WSTransport], frame: bytes, number: int) -> None:
    """Lose a message on its way to one side."""
    to_all(members[: 1 if number == 10 else 2], frame, number)


def double(members: list[WSTransport], frame: bytes, number: int) -> None:
    """Deliver a message to one side twice."""
    to_all([*members, members[1]] if number == 10 else members, frame, number)


held: list[bytes] = []


def swap(members: list[WSTransport], frame: bytes, number: int) -> None:
    """Deliver two messages to one side in another order."""
    to_all(members[:1], frame, number)
    if number == 10:
        held.append(frame)
        return
    to_all(members[1:], frame, number)
    while held:
        to_all(members[1:], held.pop(), number)


def cut(members: list[WSTransport], frame: bytes, number: int) -> None:
    """Close a connection."""
    to_all(members, frame, number)
    if number == 10:
        members[0].send_close()


class Server(WSListener):
    """A chat server of one chat, which delivers as it is told."""

    def __init__(self, members: list[WSTransport], deliver: Deliver, counter: Iterator[int]) -> None:
        super().__init__()
        self.members, self.deliver, self.counter = members, deliver, counter

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Enter the chat."""
        self.members.append(transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Join, or deliver."""
        data = frame.get_payload_as_bytes()
        if b'"Join"' in data:
            side = "User" if transport is self.members[0] else "Support"
            transport.send(WSMsgType.TEXT, b'{"type":"Joined","args":{"participant":"%b"}}' % side.encode())
        elif frame.msg_type == WSMsgType.TEXT:
            self.deliver(self.members, data, next(self.counter))


@pytest.mark.parametrize(
    ("deliver", "noticed"),
    [(to_all, ""), (lose, "never got 1 "), (double, "got twice 1 "), (swap, "different order"), (cut, "closed with")],
)
@pytest.mark.parametrize("kind", ["saturated", "paced"])
async def test_the_generator_notices_a_broken_promise(deliver: Deliver, noticed: str, kind: str) -> None:
    members: list[WSTransport] = []
    counter = count(1)

    def listener(_: WSUpgradeRequest) -> WSListener:
        return Server(members, deliver, counter)

    port = free_port()
    server = await ws_create_server(listener, "127.0.0.1", port)
    phases = [Phase(kind="saturated" if kind == "saturated" else "paced", rate=200, seconds=0.3)]
    plan = Plan(
        port=port,
        registers=False,
        chats=1,
        server_pids=[os.getpid()],
        redis_pid=None,
        phases=phases,
        settle_seconds=0.5,
    )
    code, out, err = await run(ROOT / "chatbench" / "generator.py", given=plan.encode())
    server.close()
    await server.wait_closed()

    assert code == 0, out + err
    [outcome] = decode_answers(out.encode())
    assert isinstance(outcome, Outcome)
    assert outcome.messages > 10
    if noticed:
        assert noticed in " ".join(outcome.violations)
    else:
        assert outcome.violations == []


def test_ours_is_always_measured() -> None:
    assert parse(["--peers", "fastapi,floor"]).peers == ["ours", "fastapi", "floor"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--peers", "apache"],
        ["--parts", "all"],
        ["--rounds", "0"],
        ["--workers", "1,0"],
        ["--quota", "2"],
        ["--quota", "0.01"],
        ["--json", "/nowhere/result.json"],
    ],
)
def test_a_wrong_option_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        parse(arguments)
    assert arguments[1].rpartition("/")[0] in capsys.readouterr().err
