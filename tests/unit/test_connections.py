"""The registry of connections: which is called at its deadline, and which is flushed."""

import asyncio

import pytest

from live_support.timing_wheel import NEVER
from live_support.websocket.connections import TICK_SECONDS, Connections, RegisteredConnection
from schemas.errors import CloseCode
from tests.helpers.services import DEADLINE, eventually


class Noting(RegisteredConnection):
    """A connection that notes what is asked of it."""

    def __init__(self) -> None:
        super().__init__()
        self.called = 0
        self.flushed = 0
        self.aborted = False

    def flush(self) -> None:
        self.flushed += 1

    def on_deadline(self, now: float) -> float:  # noqa: ARG002
        self.called += 1
        return NEVER

    @property
    def working(self) -> bool:
        raise NotImplementedError

    def stop_receiving(self) -> None:
        raise NotImplementedError

    def close(self, code: CloseCode) -> None:
        raise NotImplementedError

    def abort(self) -> None:
        self.aborted = True


async def test_only_an_open_connection_is_called() -> None:
    connections, at = Connections(), asyncio.get_running_loop().time() + TICK_SECONDS
    gone, early, marker = Noting(), Noting(), Noting()
    for connection in (gone, marker):
        connections.add(connection, at)
    connections.discard(gone)
    connections.schedule(early, at)
    assert (list(connections), len(connections)) == ([marker], 1)
    await eventually(lambda: marker.called)
    assert (gone.called, early.called) == (0, 0)
    await connections.close(0)


async def test_all_who_have_sent_are_flushed_at_the_end_of_the_turn(capsys: pytest.CaptureFixture[str]) -> None:
    class Broken(Noting):
        def flush(self) -> None:
            raise RuntimeError("broken")

    connections = Connections()
    first, broken, last = Noting(), Broken(), Noting()
    for connection in (first, broken, last):
        connections.flush_soon(connection)
    assert (first.flushed, last.flushed) == (0, 0)
    await asyncio.sleep(0)
    assert (first.flushed, last.flushed) == (1, 1)
    assert "flush_failed" in capsys.readouterr().out
    assert [connection.aborted for connection in (first, broken, last)] == [False, True, False]
    connections.flush_soon(first)
    await asyncio.sleep(0)
    assert (first.flushed, last.flushed) == (2, 1)


async def test_what_runs_for_a_connection_is_waited_for_but_not_for_ever() -> None:
    connections = Connections()
    ended: list[str] = []

    async def short() -> None:
        await asyncio.sleep(0)
        ended.append("short")

    async def endless() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("endless")

    connections.spawn(short())
    await connections.close(DEADLINE)
    assert ended == ["short"]
    connections.spawn(endless())
    await connections.close(0)
    assert ended == ["short", "endless"]
