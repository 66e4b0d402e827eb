"""The load generator: a process of its own that opens chats on one server, loads them, and checks what comes back.

    python generator.py < plan.json      one line of JSON for each phase

Its clients are picows connections on uvloop, the cheapest that there are for Python, so that the server tires first.
"""

import asyncio
import gc
import secrets
import sys
import time
from collections.abc import Callable, Iterator
from itertools import cycle, islice
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent.parent / "clients" / "load")]

import msgspec  # noqa: E402
import uvloop  # noqa: E402
from picows import WSError, WSFrame, WSListener, WSMsgType, WSTransport, ws_connect  # noqa: E402

from chatbench.cpu import Machine, cpu_ns, rss_kib  # noqa: E402
from chatbench.plan import Failure, Outcome, Phase, Plan  # noqa: E402
from chatbench.verifier import TOKEN_LENGTH, compare, make_token  # noqa: E402
from load_generator.latency import Histogram  # noqa: E402

JOIN_SECONDS = 20
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

CONTENT = b'"content":'
QUOTE = ord('"')
FILLER = "Hello, how may I help you with your order today?"

now_ns = time.monotonic_ns


class GeneratorError(Exception):
    """Raised when the load cannot go on; the text is the one line that is shown."""


class Participant(WSListener):
    """One side of a chat: a connection and what came on it.

    Args:
        chat: the chat's number.
        sender: `User` or `Support`.
    """

    def __init__(self, chat: int, sender: str) -> None:
        super().__init__()
        self.chat, self.sender = chat, sender
        self.transport: WSTransport | None = None
        self.got: list[bytes] = []
        """Tokens, as they came."""
        self.came: list[int] = []
        """When, while the open loop runs."""
        self.due: dict[bytes, int] = {}
        """Tokens of what was sent, and when it was to be sent."""
        self.joined: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.errors: list[str] = []
        self.saturating = False
        self.timing = False
        self._mark = sender[0].encode()
        self._count = 0
        self._before = self._after = b""

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Keep the connection."""
        self.transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Take a frame."""
        data = frame.get_payload_as_bytes()
        place = data.find(CONTENT)
        if place < 0:
            self._other(transport, frame, data)
            return
        # Python's json writes a space after the colon.
        place += len(CONTENT) + (1 if data[place + len(CONTENT)] == QUOTE else 2)
        token = data[place : place + TOKEN_LENGTH]
        self.got.append(token)
        if self.timing:
            self.came.append(now_ns())
        if self.saturating and token[6:7] == self._mark:
            self.send(0)

    def _other(self, transport: WSTransport, frame: WSFrame, data: bytes) -> None:
        if frame.msg_type == WSMsgType.CLOSE:
            self.errors.append(f"closed with {int.from_bytes(data[:2], 'big')}")
            transport.disconnect()
        elif data.startswith(b'{"type":"Joined"') or b'"Joined"' in data[:32]:
            if f'"{self.sender}"'.encode() in data and not self.joined.done():
                self.joined.set_result(data)
        elif b'"Error"' in data[:32]:
            self.errors.append(data.decode("utf-8", "replace"))

    def on_ws_disconnected(self, transport: WSTransport) -> None:  # noqa: ARG002 - picows gives it
        """Note that the connection is gone."""
        self.transport = None
        if not self.joined.done():
            self.joined.set_exception(
                GeneratorError(f"{self.sender}: refused: {'; '.join(self.errors) or 'no reason'}")
            )

    async def join(self, ids: dict[str, str]) -> str:
        """Join the chat, and return the `supportId` that the answer holds, if any."""
        name = {"supportUserName": "Andre"} if self.sender == "Support" else {}
        self._send({"type": "Join", "args": {**ids, "username": "Nika", **name, "from": self.sender}})
        async with asyncio.timeout(JOIN_SECONDS):
            args = msgspec.json.decode(await self.joined)["args"]
        return str(args.get("supportId", ""))

    def prepare(self, user_id: str, support_id: str) -> None:
        """Encode the frame of a message once, but for its token."""
        args = {"userId": user_id, "supportId": support_id, "content": "\0" + FILLER, "from": self.sender}
        frame = msgspec.json.encode({"type": "ChatMessage", "args": args})
        self._before, _, self._after = frame.partition(rb"\u0000")

    def send(self, due_ns: int) -> None:
        """Send the next message."""
        if self.transport is None:
            return
        self._count += 1
        token = make_token(self.chat, self.sender[0], self._count)
        self.due[token] = due_ns
        self.transport.send(WSMsgType.TEXT, self._before + token + self._after)

    def _send(self, message: object) -> None:
        if self.transport is not None:
            self.transport.send(WSMsgType.TEXT, msgspec.json.encode(message))


class Chat:
    """Both sides of a chat."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.user, self.support = Participant(number, "User"), Participant(number, "Support")

    @property
    def both(self) -> tuple[Participant, Participant]:
        """The User and the Support."""
        return self.user, self.support

    async def open(self, port: int, registration: "Registration | None") -> None:
        """Register, connect and join both."""
        user_id, chat_id = (
            await registration.register() if registration else (secrets.token_hex(16), f"{self.number:032x}")
        )
        ids, support_id = {"userId": user_id}, ""
        for participant in self.both:
            await ws_connect(
                lambda participant=participant: participant,
                f"ws://127.0.0.1:{port}/chat/{chat_id}",
                websocket_handshake_timeout=JOIN_SECONDS,
            )
            support_id = await participant.join(ids)
        for participant in self.both:
            participant.prepare(user_id, support_id)

    def check(self) -> list[str]:
        """Compare what was sent with what came, and forget both."""
        sent, found = [*self.user.due, *self.support.due], []
        got = {participant.sender: participant.got for participant in self.both}
        for participant in self.both:
            # First, as they may be the cause of what is missing.
            found += [f"chat {self.number}: {participant.sender}: {error}" for error in participant.errors[:2]]
        found += compare(self.number, sent, got)
        for participant in self.both:
            participant.got.clear()
            participant.came.clear()
            participant.due.clear()
            participant.errors.clear()
        return found


class Registration:
    """Registers users over one HTTP connection, one after the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._lock = asyncio.Lock()

    @classmethod
    async def connect(cls, port: int) -> "Registration":
        """Connect to the server."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def register(self) -> tuple[str, str]:
        """Return a new user's id, and the chat's."""
        async with self._lock:
            self._writer.write(b"GET /user/join/Nika HTTP/1.1\r\nHost: localhost\r\n\r\n")
            head = await self._reader.readuntil(b"\r\n\r\n")
            length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            body = msgspec.json.decode(await self._reader.readexactly(length))
        if b" 200 " not in head[:16]:
            raise GeneratorError(f"registration: {body}")
        return body["userId"], body["chatId"]

    def close(self) -> None:
        """Close the connection."""
        self._writer.close()


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
        meter = _Meter(self._plan, self._chats)
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
        meter = _Meter(self._plan, self._chats)
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
        while (left := end - now_ns()) > 0 and _count(self._chats) < 2 * messages:  # noqa: ASYNC110
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
                meter = _Meter(self._plan, self._chats)
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
            got = _count(self._chats)
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


class _Measured(msgspec.Struct):
    seconds: float
    messages: float
    server_ns: int
    redis_ns: int | None
    generator_ns: int
    others_ns: int
    stolen_ns: int


class _Meter:
    """Reads the clocks at the beginning and at the end of what is measured."""

    def __init__(self, plan: Plan, chats: list[Chat]) -> None:
        self._plan = plan
        self._chats = chats
        self._before = self._now()

    def _now(self) -> tuple[int, int, int, int, int, Machine]:
        plan = self._plan
        return (
            now_ns(),
            _count(self._chats),
            sum(map(cpu_ns, plan.server_pids)),
            cpu_ns(plan.redis_pid) if plan.redis_pid else 0,
            time.process_time_ns(),
            Machine.now(),
        )

    def read(self) -> _Measured:
        """What was used since the beginning."""
        before, after = self._before, self._now()
        elapsed, got, server, redis, generator = (after[i] - before[i] for i in range(5))  # type: ignore[operator]
        return _Measured(
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
        measured: _Measured,
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


def _encoded(latencies: list[int]) -> bytes:
    """As a histogram, or as nothing."""
    histogram = Histogram()
    for latency in latencies:
        histogram.record(latency)
    return histogram.encode() if latencies else b""


def _count(chats: list[Chat]) -> int:
    return sum(len(chat.user.got) + len(chat.support.got) for chat in chats)


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
