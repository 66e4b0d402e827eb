"""The load generator: a process of its own that opens chats on one server, loads them, and checks what comes back.

python generator.py < plan.json      one line of JSON for each phase
"""

import asyncio
import gc
import sys
from collections.abc import Callable, Iterator
from itertools import cycle, islice
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent.parent / "clients" / "load")]

import msgspec  # noqa: E402
import uvloop  # noqa: E402
from picows import WSError  # noqa: E402

from chatbench.chats import Chat, GeneratorError, Participant, Registration, now_ns  # noqa: E402
from chatbench.cpu import cpu_ns, rss_kib  # noqa: E402
from chatbench.meter import Meter, count  # noqa: E402
from chatbench.plan import Failure, Outcome, Phase, Plan  # noqa: E402
from load_generator.latency import Histogram  # noqa: E402

CONNECTING_AT_ONCE = 16
CALM_SECONDS = 0.5
"""Before idleness or a pace is measured."""
CALM_NS = round(CALM_SECONDS * 10**9)
DOUBLES_SECONDS = 0.1
"""What comes twice comes soon after."""
WARM_OUTSTANDING = 64
"""Enough to be busy. With thousands the first ones would wait for seconds, and servers give up."""
VIOLATIONS_SHOWN = 10
SUSTAINABLE = 0.9
"""A rate above so much of what a server does saturated would only measure a growing queue."""
TICK_NS = 1_000_000
"""uvloop's timers count milliseconds, so the open loop's timetable does."""
IDLE_BASE = 0.02
"""The first connections of an idle server pay for what is there once; they are left out."""


class Generator:
    """Carries out a plan."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._chats: list[Chat] = []
        self._broken: list[str] = []
        self._joined_ns = 0
        self._rss_base = self._rss_base_count = 0

    async def run(self, report: Callable[[Outcome], None]) -> None:
        """Open the chats, and go through the phases.

        Raises:
            GeneratorError: it could not be done.
        """
        await self._open()
        # What is there by now stays: collecting it again and again would be the generator's largest cost.
        gc.collect()
        gc.freeze()
        gc.disable()
        most = float("inf")
        for phase in self._plan.phases:
            if phase.kind == "paced" and phase.rate > SUSTAINABLE * most:
                report(Outcome(kind=phase.kind, rate=phase.rate, chats=len(self._chats)))
                continue
            outcome = await self._phase(phase)
            report(outcome)
            if phase.kind == "saturated":
                most = outcome.messages / outcome.seconds

    @property
    def _participants(self) -> list[Participant]:
        return [participant for chat in self._chats for participant in chat.both]

    async def _open(self) -> None:
        plan = self._plan
        self._chats = [Chat(number) for number in range(plan.chats)]
        base = max(1, round(plan.chats * IDLE_BASE))
        before = sum(map(cpu_ns, plan.server_pids))
        await self._open_some(self._chats[:base])
        self._rss_base, self._rss_base_count = sum(map(rss_kib, plan.server_pids)), 2 * base
        await self._open_some(self._chats[base:])
        self._joined_ns = sum(map(cpu_ns, plan.server_pids)) - before

    async def _open_some(self, chats: list[Chat]) -> None:
        todo = iter(chats)

        async def work() -> None:
            registration = await Registration.connect(self._plan.port) if self._plan.registers else None
            try:
                for chat in todo:
                    await chat.open(self._plan.port, registration)
            finally:
                if registration:
                    registration.close()

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(CONNECTING_AT_ONCE, len(chats))):
                    group.create_task(work())
        except* (OSError, WSError, TimeoutError, GeneratorError) as errors:
            first: BaseException = errors
            while isinstance(first, BaseExceptionGroup):
                first = first.exceptions[0]
            raise GeneratorError(f"a chat could not be opened: {type(first).__name__}: {first}") from None

    async def _phase(self, phase: Phase) -> Outcome:
        if phase.warm_messages:
            await self._saturate(min(WARM_OUTSTANDING, 2 * len(self._chats)), phase.warm_seconds, phase.warm_messages)
            # What was broken is told with what is measured.
            self._broken = self._check()
        match phase.kind:
            case "saturated":
                return await self._saturated(phase)
            case "paced":
                return await self._paced(phase)
            case "idle":
                return await self._idle(phase)

    async def _idle(self, phase: Phase) -> Outcome:
        await asyncio.sleep(CALM_SECONDS)
        meter = Meter(self._plan, self._chats)
        await asyncio.sleep(phase.seconds)
        return meter.outcome(
            phase,
            meter.read(),
            joined_ns=self._joined_ns,
            rss_kib=sum(map(rss_kib, self._plan.server_pids)) - self._rss_base,
            connections=2 * len(self._chats) - self._rss_base_count,
            violations=self._check(),
        )

    async def _saturated(self, phase: Phase) -> Outcome:
        """Keep messages on their way in every chat: each echo lets its sender send the next one.

        Whoever handles all connections alike delivers in waves, so it is measured from rest to rest: everything that
        was sent has come, and no wave is cut in two.
        """
        meter = Meter(self._plan, self._chats)
        await self._saturate(phase.outstanding * len(self._chats), phase.seconds)
        measured = meter.read()
        await asyncio.sleep(DOUBLES_SECONDS)
        return meter.outcome(phase, measured, violations=self._check())

    async def _saturate(self, outstanding: int, seconds: float, messages: float = float("inf")) -> None:
        """Do so until so many messages have come, or for so long, and wait until nothing is on its way."""
        for participant in self._participants:
            participant.saturating = True
        for participant in islice(self._turns(), outstanding):
            participant.send(0)
        # To count them now and then costs less than to count each.
        step, end = seconds if messages == float("inf") else 0.1, now_ns() + round(seconds * 10**9)
        while (left := end - now_ns()) > 0 and count(self._chats) < 2 * messages:  # noqa: ASYNC110
            await asyncio.sleep(min(left / 10**9, step))
        for participant in self._participants:
            participant.saturating = False
        await self._settle()

    async def _paced(self, phase: Phase) -> Outcome:
        """Send by a timetable that does not wait for the server. Latency counts from the time in the timetable."""
        for participant in self._participants:
            participant.timing = True
        lateness: list[int] = []
        begin = now_ns() + 10 * TICK_NS
        warm = begin + CALM_NS
        end = warm + round(phase.seconds * 10**9)
        turns, meter, sent, tick = self._turns(), None, 0, 0
        while (due := begin + tick * TICK_NS) < end:
            now = now_ns()
            if due > now:
                await asyncio.sleep((due - now) / 10**9)
                continue
            if meter is None and due >= warm:
                meter = Meter(self._plan, self._chats)
            tick += 1
            until = round(tick * TICK_NS * phase.rate / 10**9)
            if until > sent and due >= warm:
                lateness.append(now - due)
            for participant in islice(turns, until - sent):
                participant.send(due)
            sent = until
        assert meter is not None  # noqa: S101 - for the type checker
        measured = meter.read()
        await self._settle()
        await asyncio.sleep(DOUBLES_SECONDS)
        for participant in self._participants:
            participant.timing = False
        return meter.outcome(
            phase,
            measured,
            latency=_encoded(self._latencies(warm)),
            lateness=_encoded(lateness),
            violations=self._check(),
        )

    def _latencies(self, since_ns: int) -> list[int]:
        """Of what was due since then, in nanoseconds."""
        latencies = []
        for chat in self._chats:
            due = chat.user.due | chat.support.due
            for participant in chat.both:
                for token, came in zip(participant.got, participant.came, strict=True):
                    if (intended := due.get(token, 0)) >= since_ns:
                        latencies.append(came - intended)
        return latencies

    def _turns(self) -> Iterator[Participant]:
        """Everybody in turn, for ever: first one side of each chat, then the other."""
        users, supports = ([chat.both[(chat.number + side) % 2] for chat in self._chats] for side in (0, 1))
        return cycle([*users, *supports])

    async def _settle(self) -> None:
        """Wait until all that was sent has come, or nothing comes any more."""
        before, since = -1, now_ns()
        while True:
            got = count(self._chats)
            if got >= 2 * sum(len(participant.due) for participant in self._participants):
                return
            if got != before:
                before, since = got, now_ns()
            elif now_ns() - since > self._plan.settle_seconds * 10**9:
                return
            await asyncio.sleep(0.01)

    def _check(self) -> list[str]:
        broken, self._broken = self._broken, []
        return [*broken, *(violation for chat in self._chats for violation in chat.check())][:VIOLATIONS_SHOWN]


def _encoded(latencies: list[int]) -> bytes:
    """As a histogram, or as nothing."""
    histogram = Histogram()
    for latency in latencies:
        histogram.record(latency)
    return histogram.encode() if latencies else b""


def main() -> int:
    """Read a plan, carry it out, and print what each phase gave."""
    plan = msgspec.json.decode(sys.stdin.buffer.read(), type=Plan)

    def report(outcome: Outcome | Failure) -> None:
        sys.stdout.buffer.write(msgspec.json.encode(outcome) + b"\n")
        sys.stdout.buffer.flush()

    try:
        uvloop.run(Generator(plan).run(report))
    except GeneratorError as error:
        report(Failure(text=str(error)))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
