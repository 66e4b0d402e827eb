"""The registry of connections: who is looked at, and who is flushed."""

import asyncio

import pytest

from live_support.timing_wheel import NEVER
from live_support.websocket.connections import TICK_SECONDS, Connections
from schemas.errors import CloseCode
from tests.helpers.services import eventually


class Noting:
    """A connection that notes what is asked of it."""

    def __init__(self) -> None:
        self.due = NEVER
        self.swept = 0
        self.flushed = 0
        self.aborted = False

    def flush(self) -> None:
        self.flushed += 1

    def sweep(self, now: float) -> float:  # noqa: ARG002
        self.swept += 1
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


async def test_only_who_is_open_is_looked_at() -> None:
    connections, at = Connections(), asyncio.get_running_loop().time() + TICK_SECONDS
    gone, early, marker = Noting(), Noting(), Noting()
    for connection in (gone, marker):
        connections.add(connection, at)
    connections.discard(gone)
    connections.wake(early, at)
    assert (list(connections), len(connections)) == ([marker], 1)
    await eventually(lambda: marker.swept)
    assert (gone.swept, early.swept) == (0, 0)
    connections.close()


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
