"""The command's options."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from chatbench.peers import OURS, all_peers
from chatbench.quota import LEAST

PARTS = ("load", "growth", "workers")


@dataclass(kw_only=True)
class Options:
    """As given, with every default worked out."""

    rounds: int
    seconds: float
    peers: list[str]
    parts: list[str]
    chats: int
    outstanding: int
    rates: list[int]
    growth: list[int]
    growth_rate: int
    workers: list[int]
    quota: float
    redis_url: str | None
    json: Path | None
    add: bool
    plot: Path | None
    guard: bool


def parse(arguments: Sequence[str] | None) -> Options:
    """Read the command line; a wrong option ends the program."""
    parser = _parser()
    given = parser.parse_args(arguments)
    known = list(all_peers())
    given.peers = given.peers.split(",") if given.peers else known
    if unknown := set(given.peers) - set(known):
        parser.error(f"--peers: unknown: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    if OURS not in given.peers:
        given.peers.insert(0, OURS)
    given.parts = given.parts.split(",")
    if set(given.parts) - set(PARTS):
        parser.error(f"--parts: some of {', '.join(PARTS)}")
    if given.quota and not LEAST <= given.quota <= 1:
        parser.error(f"--quota: a share of a core, from {LEAST:g} to 1, or 0")
    if given.quick:
        given.rounds, given.seconds, given.rates = min(given.rounds, 2), min(given.seconds, 1), given.rates[:1]
        given.parts = [part for part in given.parts if part != "growth"]
    del given.quick
    numbers = [
        given.rounds,
        given.chats,
        given.outstanding,
        given.growth_rate,
        *given.rates,
        *given.growth,
        *given.workers,
    ]
    if min(numbers) < 1 or given.seconds < 0.2:
        parser.error("numbers must be at least 1, --seconds at least 0.2")
    for file in filter(None, (given.json, given.plot)):
        if not file.parent.is_dir():
            parser.error(f"{file.parent} is no folder")
    return Options(**vars(given))


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bench.py",
        description="Measure what a chat message costs, here and with the peers, in turn and on the same Redis.",
        epilog="Exit code 0: measured; 1: something was not delivered as promised, or --guard found a gross "
        "regression; 2: the benchmark could not be run.",
    )
    add = parser.add_argument
    add("--rounds", type=int, default=5, help="how often everybody has a turn (%(default)s)")
    add("--seconds", type=float, default=3, help="of each measurement (%(default)s)")
    add("--peers", metavar="KEYS", help=f"who, separated by commas ({','.join(all_peers())})")
    add(
        "--parts",
        default="load,growth",
        metavar="PARTS",
        help="load: saturated and paced; growth: idle and paced, with more and more chats; workers: several processes "
        "of ours on one port (%(default)s)",
    )
    add("--chats", type=int, default=200, help="under load (%(default)s)")
    add("--outstanding", type=int, default=2, help="messages on their way in each chat, saturated (%(default)s)")
    add("--rates", type=_numbers, default=[500, 2000, 6000], help="messages a second, paced (500,2000,6000)")
    add("--growth", type=_numbers, default=[10, 100, 1000, 10_000], help="chats (10,100,1000,10000)")
    add("--growth-rate", type=int, default=500, help="messages a second for all of these (%(default)s)")
    add("--workers", type=_numbers, default=[1, 2], help="processes on one port (1,2)")
    add("--quota", type=float, default=0.2, help="most of a core that each of them gets; 0: no bound (%(default)s)")
    add("--quick", action="store_true", help="two rounds of a second under load, the lowest rate only")
    add(
        "--redis-url",
        metavar="URL",
        help="use this Redis, not the embedded one; keys that begin with live-support: or "
        "live-support-bench: are deleted from it",
    )
    add("--json", type=Path, metavar="FILE", help="write the result to a file")
    add(
        "--add",
        action="store_true",
        help="add to the rounds that the file of --json holds: several short runs make one",
    )
    add("--plot", type=Path, metavar="FILE", help="write a plot (.svg, .png or .pdf)")
    add("--guard", action="store_true", help="compare with FastAPI alone, and fail on a gross regression")
    return parser
