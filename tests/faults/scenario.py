"""A scenario: people talk, faults happen, everything heals, and the checker judges what was seen and what is stored."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from tests.faults.checker import PRODUCTION, Bounds, Violation, check
from tests.faults.faults import Fault
from tests.faults.history import (
    Closed,
    Echoed,
    Expired,
    History,
    Message,
    Opened,
    Received,
    Recorder,
    Sent,
    Snapshot,
    Truth,
    Unanswered,
    Waiting,
    now,
)
from tests.faults.people import Crowd, RecordedChat
from tests.faults.report import Injected, Row, fill
from tests.faults.system import ServiceProcess, System
from tests.helpers.keys import KEYS
from tests.helpers.services import UNIT, is_healthy

SETTLE_SECONDS = 400 * UNIT
"""In which everything must have reached everybody after the last fault."""

ANSWER_SECONDS = 50 * UNIT
"""In which a message is answered while its connection stands, be it with `unavailable`: 5 s on a usual machine."""


class Plan(Struct, frozen=True, kw_only=True):
    """How long and how much, as pytest's options say."""

    seconds: float | None = None
    """Of faults, each scenario; None for the short version, which each chooses itself."""
    chats: int = 6
    agents: int = 3
    pause: float = 0.15
    """Seconds between a participant's messages, on average."""


class _Body(Struct):
    content: str
    timestamp: datetime


_decode_body = msgspec.json.Decoder(_Body).decode


class Run:
    """A scenario that is under way."""

    def __init__(self, system: System, row: Row, plan: Plan, *, seconds: float) -> None:
        self.system = system
        self.row = row
        self.plan = plan
        self.seconds = plan.seconds or seconds
        """How long faults are to go on."""
        self.recorder = Recorder()
        self.crowd = Crowd(
            self.recorder,
            [process.service.http for process in system.chat_servers],
            [process.service.http for process in system.subscribers],
            plan.pause,
        )
        self.faults: list[Injected] = []
        self.chats_end = False
        """Whether chats are gone at the end because the scenario wants it."""
        self._people: set[asyncio.Task[None]] = set()
        self._expected_users = 0
        self._to_close: list[RecordedChat] = []

    # People.

    def spawn(self, life: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Let somebody live until the end of the scenario."""
        task = asyncio.create_task(life)
        self._people.add(task)
        return task

    def bring_agents(self) -> None:
        """Let agents come, who take whomever they are shown."""
        for number in range(self.plan.agents):
            self.spawn(self.crowd.work(f"Agent {number}"))

    def bring_users(self, count: int | None = None) -> None:
        """Let users come, as many as there are to be chats if nothing else is said."""
        count = count or self.plan.chats
        for number in range(count):
            self.spawn(self.crowd.visit(f"User {number}"))
        self._expected_users += count

    async def queue_holds(self, count: int) -> bool:
        """Whether so many users are in the queue, claimed or not."""
        return bool(await self.system.redis.client.zcard(KEYS.queue.waiting) == count)

    def expect_users(self, count: int) -> None:
        """Note that so many users take part whom the test itself has brought."""
        self._expected_users += count

    async def fill_with_chats(self) -> None:
        """Let users come and agents take them, and wait until all talk to each other."""
        self.bring_agents()
        self.bring_users()
        await self.until(self.all_talk)

    def all_talk(self) -> bool:
        """Whether the user and the agent of every chat have been echoed."""
        heard = {event.token.rpartition("/")[0] for event in self.recorder.events if isinstance(event, Echoed)}
        return len(heard) == 2 * self._expected_users

    async def until(self, condition: Callable[[], bool | Awaitable[bool]], seconds: float = SETTLE_SECONDS) -> None:
        """Wait for what must come."""
        async with asyncio.timeout(seconds):
            while True:
                self.watch()
                outcome = condition()
                if outcome if isinstance(outcome, bool) else await outcome:
                    return
                await asyncio.sleep(0.05)

    def watch(self) -> None:
        """Raise what has gone wrong in the tests themselves."""
        for task in self._people:
            if task.done() and not task.cancelled() and (error := task.exception()):
                raise error

    def everybody_is_there(self) -> bool:
        """Whether the user and the agent of every chat have joined over a connection that stands."""
        standing = Counter(self.standing().values())
        return len(standing) == self._expected_users and set(standing.values()) == {2}

    # Faults.

    async def inject(self, fault: Fault) -> None:
        """Do something to the system, and note when."""
        start = now()
        await fault(self.system)
        self.faults.append(Injected(start, now()))

    async def keep_injecting(self, *faults: Fault, every: float) -> None:
        """Do these in turn, one every so many seconds, until the scenario's time is over."""
        if self.faults:
            # What the one before held up is to arrive first.
            await asyncio.sleep(max(0.0, every - (self.faults[-1].end - self.faults[-1].start)))
        end = now() + self.seconds
        while now() < end:
            for fault in faults:
                started = now()
                await self.inject(fault)
                self.watch()
                await asyncio.sleep(max(0.0, every - (now() - started)))
                if now() >= end:
                    break

    async def unhealthy_while(self, fault: Fault, *processes: ServiceProcess) -> None:
        """Do something that every one of these services must notice: its health becomes 503 meanwhile."""
        injecting = asyncio.create_task(self.inject(fault))
        try:
            for process in processes:
                while await is_healthy(process.service):
                    assert not injecting.done(), f"{process.name} was healthy all the time"
                    await asyncio.sleep(0.05)
        finally:
            await injecting

    def refusals(self, code: str = "unavailable") -> int:
        """How many messages were answered with an error."""
        return sum(1 for event in self.recorder.events if isinstance(event, Unanswered) and event.code == code)

    def standing(self) -> dict[int, str]:
        """The chat of every connection that stands."""
        views: dict[int, str] = {}
        for event in self.recorder.events:
            match event:
                case Opened():
                    views[event.view] = event.chat
                case Closed() | Expired():
                    views.pop(event.view, None)
        return views

    def late_answers(self) -> list[str]:
        """The messages that were refused after too long a time."""
        sent = {event.token: event.at for event in self.recorder.events if isinstance(event, Sent)}
        return [
            f"{event.token} was answered with {event.code} after {event.at - sent[event.token]:.1f} s"
            for event in self.recorder.events
            if isinstance(event, Unanswered)
            and event.code == "unavailable"
            and event.at - sent[event.token] > ANSWER_SECONDS
        ]

    # The end.

    async def settle(self) -> History:
        """Let everything heal and arrive, then read the truth."""
        await self.system.heal()
        # So that a message of every participant has been through the healed system.
        told = sum(1 for event in self.recorder.events if isinstance(event, Echoed))
        if told:
            await asyncio.sleep(4 * self.plan.pause)
        self.crowd.quiet.set()
        with suppress(TimeoutError):  # the checker says what is missing
            await self.until(self._all_arrived)
        return self.recorder.history({truth.chat: truth for truth in await self.read_truths()})

    async def _all_arrived(self) -> bool:
        shown: Counter[int] = Counter()
        under_way = set()
        for event in self.recorder.events:
            match event:
                case Received():
                    shown[event.view] += 1
                case Snapshot():
                    shown[event.view] += len(event.messages)
                case Sent():
                    under_way.add(event.token)
                case Echoed() | Unanswered():
                    under_way.discard(event.token)
        if under_way:
            return False
        standing = self.standing()
        redis = self.system.redis.client
        for chat in self.recorder.users:
            stored = await redis.hget(KEYS.chat(chat).meta, "messages")
            views = [view for view, of_chat in standing.items() if of_chat == chat]
            if any(shown[view] != int(stored or 0) for view in views):
                return False
        return True

    async def read_truths(self) -> list[Truth]:
        """Read what Redis holds, past all services."""
        attended = self._attended()
        redis = self.system.redis.client
        truths = []
        for chat, user in self.recorder.users.items():
            keys = KEYS.chat(chat)
            owner, support = await redis.hmget(keys.meta, ["userId", "supportId"])
            entries = [fields for _, fields in await redis.xrange(keys.log)]
            bodies = [_decode_body(fields["ChatMessage"]) for fields in entries if "ChatMessage" in fields]
            truths.append(
                Truth(
                    chat=chat,
                    user=user,
                    alive=owner is not None,
                    may_be_gone=self.chats_end,
                    log=tuple(Message(body.content, body.timestamp) for body in bodies),
                    support=support or None,
                    queued=await redis.zscore(KEYS.queue.waiting, user) is not None,
                    attended=chat in attended,
                )
            )
        return truths

    def _attended(self) -> set[str]:
        views: dict[int, str] = {}
        for event in self.recorder.events:
            match event:
                case Opened(role="User"):
                    views[event.view] = event.chat
                case Closed() | Expired():
                    views.pop(event.view, None)
        return set(views.values())

    async def note_who_waits(self) -> frozenset[str]:
        """Take down who waits now and is not claimed; the agents must be shown them in time."""
        redis = self.system.redis.client
        ours = set(self.recorder.users.values())
        waiting = set(await redis.zrange(KEYS.queue.waiting, 0, -1)) & ours
        claimed = set(await redis.zrange(KEYS.queue.leases, 0, -1))
        users = frozenset(waiting - claimed)
        self.recorder.note(Waiting(at=now(), users=users))
        return users

    def at_end(self, *chats: RecordedChat) -> None:
        """Let chats stand until everything was checked."""
        self._to_close += chats

    async def end(self) -> None:
        """Send everybody home."""
        for chat in self._to_close:
            await chat.aclose()
        for task in self._people:
            task.cancel()
        if self._people:
            await asyncio.wait(self._people)


@asynccontextmanager
async def scenario(
    system: System,
    rows: list[Row],
    name: str,
    what: str,
    *,
    plan: Plan,
    seconds: float = 5,
    bounds: Bounds = PRODUCTION,
) -> AsyncIterator[Run]:
    """Run a scenario: the block does the faults, and what follows it is checked.

    Args:
        system: healthy.
        rows: gets this scenario's line.
        name: such as "F1".
        what: is injected, in a few words.
        plan: how long and how much.
        seconds: of faults, in the short version.
        bounds: the times that the promises speak of.
    """
    row = Row(name, what)
    run = Run(system, row, plan, seconds=seconds)
    # Whom the last scenario has left must have gone.
    await run.until(lambda: run.queue_holds(0))
    try:
        yield run
        history = await run.settle()
        violations = check(history, bounds)
        fill(row, history, violations, run.faults)
        rows.append(row)
    finally:
        await run.end()
    assert_none(violations)
    assert run.crowd.shut_out == []
    assert run.crowd.silences == []
    assert run.late_answers() == []


def assert_none(violations: Iterable[Violation]) -> None:
    """Fail with a line for each violation."""
    lines = [str(violation) for violation in violations]
    assert not lines, "\n".join(lines[:50])
