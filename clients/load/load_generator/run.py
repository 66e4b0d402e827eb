"""Run: the workers from start to end, as the command sees them."""

import multiprocessing
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from load_generator.options import Options
from load_generator.plan import Begin, Command, Done, Fatal, Message, Plan, Ramped, Ready, Report, Stop
from load_generator.server import Server
from load_generator.timeline import Second, Timeline
from load_generator.worker import VIOLATIONS_SHOWN, work

BEGIN_NS = 200_000_000
"""Enough for every worker to hear of the beginning before."""
SPARE_SECONDS = 2
"""Between the ramp and what is measured."""


class LoadError(Exception):
    """Raised when the test cannot go on; the text is the one line that is shown."""


class Run:
    """One run.

    Args:
        options: of the command.
        server: whose CPU to show, if we have started it.
        show: is called with the seconds so far, and what is going on.
    """

    def __init__(self, options: Options, server: Server | None, show: Callable[[list[Second], str], None]) -> None:
        self._options = options
        self._server = server
        self._show = show
        self._workers: dict[Connection, SpawnProcess] = {}
        self._numbers: dict[Connection, int] = {}
        self._states: dict[Connection, type[Message]] = {}
        self._note = "starting the load generator"
        self._begin_ns = 0
        self._server_cpu: dict[str, float] = {}
        self._server_cpu_at = 0.0
        self.timeline = Timeline(options.processes)
        self.violations: list[str] = []
        self.violation_count = 0

    def run(self) -> None:
        """Do it all.

        Raises:
            LoadError: it could not be done.
        """
        try:
            for number, plan in enumerate(self._options.plans()):
                self._start(number, plan)
            self._work()
            self.timeline.finish()
        finally:
            for process in self._workers.values():
                process.terminate()
                process.join()

    def _start(self, number: int, plan: Plan) -> None:
        ours, theirs = multiprocessing.get_context("spawn").Pipe()
        process = multiprocessing.get_context("spawn").Process(target=work, args=(plan, theirs), daemon=True)
        process.start()
        theirs.close()
        self._workers[ours], self._numbers[ours] = process, number

    def _work(self) -> None:
        self._show([], self._note)
        self._wait_for(Ready)
        self._begin_ns = time.monotonic_ns() + BEGIN_NS
        self._tell(Begin(self._begin_ns))
        self._note = f"{self._options.chats} chats begin within {self._options.ramp:g} s"
        self._wait_for(Ramped)
        first = int((time.monotonic_ns() - self._begin_ns) // 10**9) + SPARE_SECONDS
        self.timeline.measure(first, self._options.seconds)
        self._note = f"measured from second {first} to {first + self._options.seconds}"
        self._tell(Stop(self._begin_ns + (first + self._options.seconds) * 10**9))
        try:
            self._wait_for(Done)
        except KeyboardInterrupt:
            now = time.monotonic_ns()
            seconds = (now - self._begin_ns) // 10**9 - first
            if seconds < 1:
                raise  # nothing is measured yet
            self._note = "stopping"
            self.timeline.measure(first, seconds)
            self._tell(Stop(now))
            self._wait_for(Done)

    def _wait_for(self, state: type[Message]) -> None:
        """Read what the workers tell until each of them has come to a state."""
        while pending := [connection for connection in self._workers if self._states.get(connection) is not state]:
            # A worker that has come to the end has closed its connection.
            for ready in wait(pending if state is Done else list(self._workers)):
                assert isinstance(ready, Connection)  # noqa: S101 - for the type checker
                try:
                    message: Message = ready.recv()
                except EOFError:
                    raise LoadError(f"process {self._numbers[ready]} of the load generator died") from None
                self._take(ready, message)

    def _take(self, connection: Connection, message: Message) -> None:
        match message:
            case Fatal(text):
                raise LoadError(text)
            case Report(interval, violations):
                self.violation_count += interval.counts["violations"]
                self.violations += violations[: VIOLATIONS_SHOWN - len(self.violations)]
                self._sample_server()
                if self.timeline.add(self._numbers[connection], interval):
                    self._show(self.timeline.seconds, self._note)
            case _:
                self._states[connection] = type(message)

    def _tell(self, command: Command) -> None:
        for connection in self._workers:
            with suppress(BrokenPipeError):
                connection.send(command)

    def _sample_server(self) -> None:
        now = time.monotonic()
        if self._server is None or now - self._server_cpu_at < 0.9:
            return
        cpu, elapsed = self._server.cpu_seconds(), now - self._server_cpu_at
        before, self._server_cpu, self._server_cpu_at = self._server_cpu, cpu, now
        if before:
            self.timeline.note_server({name: round((cpu[name] - before.get(name, 0.0)) / elapsed, 3) for name in cpu})
