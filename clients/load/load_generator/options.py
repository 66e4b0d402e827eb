"""The command's options."""

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from load_generator.plan import Plan


@dataclass(kw_only=True)
class Options:
    """As given, with every default worked out."""

    url: str
    joins_url: str
    start: bool
    workers: int
    chats: int
    rate: float
    seconds: int
    agents: int
    claim_rate: float
    refresh_rate: float
    ramp: float
    chat_messages: int
    processes: int
    json: Path | None
    plot: Path | None

    def plans(self) -> list[Plan]:
        """Each worker's share."""
        return [
            Plan(
                url=self.url,
                joins_url=self.joins_url,
                chats=chats,
                agents=agents,
                message_seconds=2 * self.chats / self.rate,
                refresh_chance=min(1.0, self.refresh_rate / self.rate),
                claim_seconds=self.processes / self.claim_rate if self.claim_rate else 0.0,
                ramp_seconds=self.ramp,
                chat_messages=self.chat_messages,
            )
            for chats, agents in zip(
                _split(self.chats, self.processes), _split(self.agents, self.processes), strict=True
            )
        ]


def parse(arguments: Sequence[str] | None) -> Options:
    """Read the command line; a wrong option ends the program."""
    parser = _parser()
    given = parser.parse_args(arguments)
    for name in ("chats", "rate", "seconds", "agents", "processes", "chat_messages", "workers"):
        value = getattr(given, name)
        if value is not None and value <= 0:
            parser.error(f"--{name.replace('_', '-')} must be more than 0")
    for name in ("claim_rate", "refresh_rate", "ramp"):
        value = getattr(given, name)
        if value is not None and value < 0:
            parser.error(f"--{name.replace('_', '-')} must not be negative")
    if given.workers > 1 and not given.start:
        parser.error("--workers is for --start; who starts the services says how many there are")
    given.processes = min(given.processes or max(2, (os.cpu_count() or 1) // 2), given.chats)
    given.agents = max(given.processes, given.agents or -(-given.chats // 25))
    given.refresh_rate = given.chats / 60 if given.refresh_rate is None else given.refresh_rate
    given.ramp = given.chats / 50 if given.ramp is None else given.ramp
    return Options(**vars(given))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="load_test.py",
        description="Load both services as users and agents do, through the SDK, and check what is delivered.",
        epilog="Exit code 0: everything was delivered as promised; 1: it was not; 2: the test could not be run.",
    )
    host = os.environ.get("LIVE_SUPPORT_HOST", "127.0.0.1")
    chat_server = f"http://{host}:{os.environ.get('LIVE_SUPPORT_CHAT_PORT', '9000')}"
    subscriber = f"http://{host}:{os.environ.get('LIVE_SUPPORT_SUBSCRIBER_PORT', '9001')}"

    add = parser.add_argument
    add("--url", default=chat_server, help="of the ChatServer (%(default)s)")
    add("--joins-url", default=subscriber, help="of the Subscriber (%(default)s)")
    add("--start", action="store_true", help="start `live-support up` for the test, with suitable settings")
    add("--workers", type=int, default=1, help="ChatServers that --start starts, on one port (%(default)s)")
    add("--chats", type=int, default=100, help="how many at a time (%(default)s)")
    add("--rate", type=float, default=200, help="messages a second, all participants together (%(default)s)")
    add("--seconds", type=int, default=30, help="how long to measure, after the ramp (%(default)s)")
    add("--agents", type=int, help="how many watch the queue (one for 25 chats)")
    add("--claim-rate", type=float, default=0, help="claims a second, all agents together (0: as users come)")
    add(
        "--refresh-rate",
        type=float,
        help="page reloads a second, all participants together (one a minute for each chat)",
    )
    add("--ramp", type=float, help="seconds in which the chats begin (one for 50 chats)")
    add("--chat-messages", type=int, default=200, help="a chat with so many ends, and another one begins (%(default)s)")
    add("--processes", type=int, help="of the load generator (half of the cores, at least 2)")
    add("--json", type=Path, metavar="FILE", help="write the result to a file")
    add("--plot", type=Path, metavar="FILE", help="write a plot (.png, .svg or .pdf)")
    return parser


def _split(total: int, parts: int) -> list[int]:
    return [total // parts + (part < total % parts) for part in range(parts)]
