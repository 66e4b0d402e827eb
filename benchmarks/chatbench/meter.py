"""Meter: what a phase of the load has used, by the kernel's clocks."""

import time

import msgspec

from chatbench.chats import Chat, now_ns
from chatbench.cpu import Machine, cpu_ns
from chatbench.plan import Outcome, Phase, Plan


class Measured(msgspec.Struct):
    """What a phase has used."""

    seconds: float
    messages: float
    server_ns: int
    redis_ns: int | None
    generator_ns: int
    others_ns: int
    stolen_ns: int


class Meter:
    """Reads the clocks at the beginning and at the end of what is measured."""

    def __init__(self, plan: Plan, chats: list[Chat]) -> None:
        self._plan = plan
        self._chats = chats
        self._before = self._now()

    def _now(self) -> tuple[int, int, int, int, int, Machine]:
        plan = self._plan
        return (
            now_ns(),
            count(self._chats),
            sum(map(cpu_ns, plan.server_pids)),
            cpu_ns(plan.redis_pid) if plan.redis_pid else 0,
            time.process_time_ns(),
            Machine.now(),
        )

    def read(self) -> Measured:
        """What was used since the beginning."""
        before, after = self._before, self._now()
        elapsed, got, server, redis, generator = (after[i] - before[i] for i in range(5))  # type: ignore[operator]
        return Measured(
            seconds=elapsed / 10**9,
            messages=got / 2,
            server_ns=server,
            redis_ns=redis if self._plan.redis_pid else None,
            generator_ns=generator,
            others_ns=max(0, after[5].busy - before[5].busy - server - redis - generator),
            stolen_ns=after[5].stolen - before[5].stolen,
        )

    def outcome(
        self,
        phase: Phase,
        measured: Measured,
        *,
        violations: list[str],
        latency: bytes = b"",
        lateness: bytes = b"",
        joined_ns: int = 0,
        rss_kib: int = 0,
        connections: int = 0,
    ) -> Outcome:
        """Put together what a phase gave."""
        return Outcome(
            kind=phase.kind,
            rate=phase.rate,
            chats=len(self._chats),
            latency=latency,
            lateness=lateness,
            joined_ns=joined_ns,
            rss_kib=rss_kib,
            connections=connections,
            violations=violations,
            **msgspec.structs.asdict(measured),
        )


def count(chats: list[Chat]) -> int:
    """Count the messages that have come."""
    return sum(len(chat.user.got) + len(chat.support.got) for chat in chats)
