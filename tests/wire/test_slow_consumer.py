"""A client that does not read: it costs a bounded amount of memory, and nobody else notices."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from websockets.exceptions import ConnectionClosedError

from live_support.limits import Limits
from live_support.websocket.connection import Connection
from schemas.errors import CloseCode
from tests.helpers.services import DEADLINE, UNIT, Service
from tests.helpers.wire import Socket, Talk, contents, say, talk_in

OUTBOX_FRAMES = 16
SOON, NEVER = 5 * UNIT, 6000 * UNIT
ENDLESS = 10**9

WORDS = "\U0001f642" * 3990
"""Four bytes a character: a few hundred messages fill the buffers that the system keeps for a connection."""

slow_if_many_wait = pytest.mark.given(limits=Limits(outbox_frames=OUTBOX_FRAMES, send_seconds=NEVER))
slow_if_it_takes_long = pytest.mark.given(limits=Limits(outbox_frames=10**9, outbox_bytes=10**9, send_seconds=SOON))

pytestmark = pytest.mark.given(chat_max_messages=1_000_000, chat_max_bytes=1_000_000_000)


class Outboxes:
    """What the server's connections hold and do, seen from inside."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.most = 0
        """The most frames that have waited for any connection."""
        self.closed: list[CloseCode] = []
        send, close = Connection.send, Connection.close

        def measured(connection: Connection, frame: bytes) -> None:
            send(connection, frame)
            self.most = max(self.most, len(connection._outbox))

        def noted(connection: Connection, code: CloseCode) -> None:
            self.closed.append(code)
            close(connection, code)

        monkeypatch.setattr(Connection, "send", measured)
        monkeypatch.setattr(Connection, "close", noted)


@pytest.fixture
def outboxes(monkeypatch: pytest.MonkeyPatch) -> Outboxes:
    return Outboxes(monkeypatch)


@asynccontextmanager
async def lazy_tab(talk: Talk) -> AsyncIterator[Socket]:
    """Another tab of the user's, whose client reads no more than it is asked to."""
    small = socket.socket()
    small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)  # as little as the system allows
    small.connect(("127.0.0.1", talk.chat_server.port))
    async with talk.user.chat(talk.chat_server, sock=small, max_queue=1) as tab:
        await tab.send(talk.user_rejoin)
        assert (await tab.receive())["type"] == "ChatHistory"
        yield tab


async def talk_until_it_is_slow(talk: Talk, outboxes: Outboxes) -> list[str]:
    """Let the Support talk, and the user's other tab hear it at once; returns what was said."""
    said: list[str] = []
    async with asyncio.timeout(DEADLINE):
        while CloseCode.SLOW_CONSUMER not in outboxes.closed:
            said.append(f"{len(said)} {WORDS}")
            await say(talk.user.hears(said[-1], talk.support_id), talk.support_socket, talk.user_socket)
    return said


@slow_if_many_wait
async def test_a_client_that_reads_too_late_is_told_to_come_back(chat_server: Service, outboxes: Outboxes) -> None:
    async with talk_in(chat_server) as talk:
        async with lazy_tab(talk) as tab:
            said = await talk_until_it_is_slow(talk, outboxes)
            frames, code = await tab.drain()
        assert code == 4008
        heard = contents(frames)
        assert heard == said[: len(heard)], "what it got has no gap"
        assert len(heard) < len(said)
        await talk.goes_on()
        async with talk.user.chat(chat_server) as again:
            await again.send(talk.user_rejoin)
            history = (await again.receive())["args"]["messages"]
            assert [message["content"] for message in history[: len(said)]] == said
    assert outboxes.most <= OUTBOX_FRAMES


@slow_if_it_takes_long
async def test_a_client_that_takes_nothing_for_long_is_cut_off(chat_server: Service, outboxes: Outboxes) -> None:
    async with talk_in(chat_server) as talk:
        async with lazy_tab(talk) as tab:
            await talk_until_it_is_slow(talk, outboxes)
            with pytest.raises(ConnectionClosedError) as cut:
                await tab.receive_some(ENDLESS)
        assert cut.value.rcvd is None
        await talk.goes_on()
