"""Worker: one process of the load generator."""

import asyncio
import os
import signal
import time
from multiprocessing.connection import Connection

import uvloop

from live_support_client import ChatClient, LiveSupportError, Options, RateLimited
from load_generator.agents import Agents
from load_generator.conversation import Conversation
from load_generator.latency import Recorder
from load_generator.plan import Begin, Command, Done, Fatal, Message, Plan, Ramped, Ready, Report, Stop
from load_generator.slot import Slot

VIOLATIONS_SHOWN = 20
JOIN_RATE_HINT = (
    "The server limits registrations ({}). Start it with LIVE_SUPPORT_JOIN_RATE=100000/second, or use --start."
)
# Without keepalive pings, which would be a task for every connection. Proxies have no place in a measurement.
OPTIONS = Options(ping_seconds=None, trust_env=False)


def work(plan: Plan, connection: Connection) -> None:
    """Do a worker's share; the process's main function."""
    # Ctrl-C is for the command, which tells the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_work(plan, connection))


async def _work(plan: Plan, connection: Connection) -> None:
    await _Worker(plan, connection).run()


class _Worker:
    def __init__(self, plan: Plan, connection: Connection) -> None:
        self._plan = plan
        self._connection = connection
        self._recorder = Recorder()
        self._violations: list[str] = []
        self._slots: list[Slot] = []
        self._second = 0
        self._begin: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def run(self) -> None:
        asyncio.get_running_loop().add_reader(self._connection.fileno(), self._listen)
        try:
            await self._run()
        except* RateLimited as errors:
            self._tell(Fatal(JOIN_RATE_HINT.format(_first(errors))))
        except* LiveSupportError as errors:
            self._tell(Fatal(_first(errors)))

    async def _run(self) -> None:
        self._tell(Ready())
        begin_ns = await self._begin
        plan, recorder = self._plan, self._recorder
        async with ChatClient(plan.url, options=OPTIONS) as client, asyncio.TaskGroup() as group:
            agents = Agents(
                plan.joins_url, plan.agents, claim_seconds=plan.claim_seconds, options=OPTIONS, recorder=recorder
            )
            reporting = group.create_task(self._report(begin_ns))
            async with agents, asyncio.TaskGroup() as chats:

                async def begin() -> Conversation:
                    return await Conversation(client, recorder, self._violated).begin(agents)

                self._slots = [Slot(plan, begin, recorder) for _ in range(plan.chats)]
                chats.create_task(self._announce())
                for index, slot in enumerate(self._slots):
                    chats.create_task(self._start(slot, begin_ns + int(index * plan.ramp_seconds * 1e9 / plan.chats)))
            reporting.cancel()
        self._tell(Report(recorder.take(self._second), self._violations))
        self._tell(Done())

    async def _start(self, slot: Slot, at_ns: int) -> None:
        await asyncio.sleep((at_ns - time.monotonic_ns()) / 1e9)
        await slot.run()

    async def _announce(self) -> None:
        for slot in self._slots:
            await slot.ready.wait()
        self._tell(Ramped())

    async def _report(self, begin_ns: int) -> None:
        while True:
            await asyncio.sleep((begin_ns - time.monotonic_ns()) / 1e9 + self._second + 1)
            self._tell(Report(self._recorder.take(self._second), self._violations))
            self._violations = []
            self._second += 1

    def _violated(self, text: str) -> None:
        self._recorder.counts["violations"] += 1
        if self._recorder.counts["violations"] <= VIOLATIONS_SHOWN:
            self._violations.append(text)

    def _listen(self) -> None:
        try:
            command: Command = self._connection.recv()
        except EOFError:
            os._exit(1)  # the command has died
        match command:
            case Begin(at_ns):
                self._begin.set_result(at_ns)
            case Stop(at_ns):
                delay = (at_ns - time.monotonic_ns()) / 1e9
                asyncio.get_running_loop().call_later(max(0.0, delay), self._stop, at_ns)

    def _stop(self, at_ns: int) -> None:
        for slot in self._slots:
            slot.stop(at_ns)

    def _tell(self, message: Message) -> None:
        self._connection.send(message)


def _first(errors: BaseExceptionGroup[BaseException]) -> str:
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error)
