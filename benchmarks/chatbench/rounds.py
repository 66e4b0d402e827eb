"""Who has a turn when: everybody once a round, freshly started, so that what changes on the machine meets all."""

import os
import platform
from collections.abc import Callable
from contextlib import ExitStack

from msgspec import structs

from chatbench.options import Options
from chatbench.peers import OURS, Peer, all_peers
from chatbench.plan import Outcome, Phase, Plan
from chatbench.quota import missing
from chatbench.result import Result
from chatbench.servers import (
    SPARE_FILES,
    BenchError,
    Cores,
    RedisServer,
    Running,
    load,
    raise_file_limit,
    running,
    running_redis,
    running_workers,
)

WARM_MESSAGES = 10_000
WARM_SECONDS = 4.0
"""At the most; a short measurement has a short warm-up, too."""

Tell = Callable[[str], None]


def run(options: Options, tell: Tell) -> Result:
    """Measure everything.

    Args:
        options: of the command.
        tell: is given a line about what goes on.

    Raises:
        BenchError: it could not be done.
    """
    cores, files = Cores.available(), raise_file_limit()
    with ExitStack() as stack:
        redis_server = stack.enter_context(running_redis(options.redis_url, cores))
        machine = {
            "cores": os.cpu_count(),
            "pinned": str(cores),
            "open_files": files,
            "redis": redis_server.name,
            "python": platform.python_version(),
        }
        result = Result(machine=machine, options=vars(options))
        first = result.read(options.json) if options.add and options.json and options.json.exists() else 0
        peers = []
        for key in options.peers if {"load", "growth"} & set(options.parts) else []:
            peer = all_peers()[key]
            if peer.missing:
                result.skipped[key] = peer.missing
                tell(f"{peer.label}: skipped, {peer.missing}")
            else:
                peers.append(peer)
        if "workers" in options.parts and options.quota and (why := missing()):
            options.quota = 0
            tell(f"workers: CPU a message only, {why}")
        turns = _Turns(options, redis_server, cores, result, tell)
        for number in range(first, first + options.rounds):
            for peer in peers:
                if "load" in options.parts:
                    turns.load(peer, number)
            if "workers" in options.parts:
                for count in options.workers:
                    turns.share(count, number)
        if "growth" in options.parts:
            for number in range(first, first + options.rounds):
                for chats in options.growth:
                    for peer in peers:
                        turns.grow(peer, number, chats, files)
        redis_server.clear()
    return result


class _Turns:
    """What a server goes through when it is its turn."""

    def __init__(self, options: Options, redis_server: RedisServer, cores: Cores, result: Result, tell: Tell) -> None:
        self._options = options
        self._redis = redis_server
        self._cores = cores
        self._result = result
        self._tell = tell
        self._warm_seconds = min(WARM_SECONDS, 2 * options.seconds)

    def load(self, peer: Peer, number: int) -> None:
        """As much as it can do, then the fixed rates."""
        options = self._options
        phases = [
            self._saturated,
            *(Phase(kind="paced", seconds=options.seconds, rate=rate) for rate in options.rates),
        ]
        for outcome in self._run(peer, options.chats, phases):
            self._result.add(peer.key, number, outcome, f"@{outcome.rate:g}" if outcome.kind == "paced" else "")
            self._say(peer, number, outcome)

    def grow(self, peer: Peer, number: int, chats: int, files: int) -> None:
        """Idle and at one fixed rate, with so many chats, or as many as the limit on open files lets us have."""
        most = (files - SPARE_FILES) // 2 // peer.files_per_connection
        phases = [
            # What is done now and then is to fall into it as often as into any other while.
            Phase(kind="idle", seconds=2 * self._options.seconds),
            self._warmed(Phase(kind="paced", seconds=self._options.seconds, rate=self._options.growth_rate)),
        ]
        for outcome in self._run(peer, min(chats, most), phases):
            name = "idle" if outcome.kind == "idle" else "chats"
            self._result.add(peer.key, number, outcome, f"@{name}:{chats}")
            self._say(peer, number, outcome)

    def share(self, count: int, number: int) -> None:
        """As much as so many workers can do on one port, each with its quota."""
        self._tell(f"{count} x {all_peers()[OURS].label} ...")
        self._redis.clear()
        with running_workers(count, self._options.quota, self._redis, self._cores) as server:
            for outcome in load(server, self._plan(server, self._options.chats, [self._saturated]), self._cores):
                self._result.add(OURS, number, outcome, f"@workers:{count}")
                self._say(server.peer, number, outcome)

    @property
    def _saturated(self) -> Phase:
        options = self._options
        return self._warmed(Phase(kind="saturated", seconds=options.seconds, outstanding=options.outstanding))

    def _warmed(self, phase: Phase) -> Phase:
        return structs.replace(phase, warm_messages=WARM_MESSAGES, warm_seconds=self._warm_seconds)

    def _run(self, peer: Peer, chats: int, phases: list[Phase]) -> list[Outcome]:
        self._tell(f"{peer.label} ...")
        self._redis.clear()
        with running(peer, self._redis, self._cores) as server:
            return load(server, self._plan(server, chats, phases), self._cores)

    def _plan(self, server: Running, chats: int, phases: list[Phase]) -> Plan:
        return Plan(
            port=server.port,
            registers=server.peer.registers,
            chats=chats,
            server_pids=server.pids,
            redis_pid=self._redis.pid,
            phases=phases,
        )

    def _say(self, peer: Peer, number: int, outcome: Outcome) -> None:
        text = f"round {number + 1}, {peer.label}, {outcome.chats} chats, {outcome.kind}"
        if outcome.kind == "paced":
            text += f" {outcome.rate:g}/s"
        if not outcome.seconds:
            self._tell(f"{text}: left out, more than it can do")
            return
        if outcome.kind == "idle":
            text += f": {outcome.rss_kib / outcome.connections:.1f} KiB a connection"
        else:
            text += (
                f": {outcome.server_ns / 1000 / max(outcome.messages, 1):.1f} us a message, "
                f"{outcome.messages / outcome.seconds:,.0f}/s"
            )
        self._tell(f"{text} (other work: {outcome.others_ns / outcome.seconds / 10**9:.2f} of a core)")


__all__ = ["BenchError", "run"]
