"""JoinsClient: an agent's view of the users who wait."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import count

from websockets.exceptions import ConnectionClosed

from live_support_client._checks import checked_id
from live_support_client._claim import RATE_LIMITED, Claim, retry_seconds
from live_support_client._errors import NotAcknowledged, Refused
from live_support_client._models import Error, ErrorArgs, JoinRequest
from live_support_client._options import ConnectionState, Options, Token
from live_support_client._sockets import JoinsServerMessage, JoinsSocket
from live_support_client._stream import Stream
from live_support_client._urls import websocket_url

_SHOWN_MAX = 10_000


class JoinsClient(Stream[JoinsSocket, JoinsServerMessage, JoinRequest]):
    """The waiting users, oldest first, then each new one; `claim` takes one of them.

    After a drop it connects again by itself, and shows who came meanwhile. A user who was shown before is shown again
    only after a `claim`: whatever became of that, the user waits once more. The server gives back what a lost
    connection had claimed, unless the chat was joined already.

    Args:
        url: of the Subscriber, such as `http://localhost:9001`.
        token: the agent's (a JWT), where the server asks for one. When it ends, `NotAuthenticated` is raised; a
            function is asked for another one, and raises that only if the next is refused as well.
        options: how to connect.
        on_state: is called with every new `state`.
    """

    def __init__(
        self,
        url: str,
        *,
        token: Token | None = None,
        options: Options | None = None,
        on_state: Callable[[ConnectionState], object] | None = None,
    ) -> None:
        super().__init__(options or Options(), token, on_state)
        self._url = websocket_url(url)
        self._turn = asyncio.Lock()
        self._claims: set[asyncio.Task[None]] = set()
        self._claim: Claim | None = None
        self._over = asyncio.Event()
        self._shown: dict[str, None] = {}
        self._shown_before: dict[str, None] = {}

    async def claim(self, request: JoinRequest | str) -> None:
        """Take a waiting user; returns once the user is yours. Then join the chat, before the lease of 15 s is over.

        Several tasks may claim at the same time; the claims go out one by one, each after the answers to the one
        before. A claim that comes too fast is made again when the server allows it. A `claim` that is cancelled after
        it has gone out may still be won.

        Raises:
            AlreadyClaimed: another agent was first.
            NotWaiting: the user is not in the queue any more.
            Unavailable: the server cannot say.
            RateLimited: the server wants a longer pause than `answer_seconds`.
            NotAcknowledged: the connection was lost; the user goes back to the queue.
            InvalidInput: it is no `userId`.
            TypeError: it is neither a join request nor a text.
            RuntimeError: the client was not entered, or belongs to another event loop.
        """
        self._check_entered()
        user_id = checked_id(request.user_id if isinstance(request, JoinRequest) else request, "A userId")
        await self._turn.acquire()
        try:
            self._check_open()
        except BaseException:
            self._turn.release()
            raise
        # In a task of its own, so that a cancelled caller does not leave answers behind for the next claim.
        claim = asyncio.create_task(self._make(user_id))
        self._claims.add(claim)
        claim.add_done_callback(self._forget)
        await asyncio.shield(claim)

    def _forget(self, claim: asyncio.Task[None]) -> None:
        self._turn.release()
        self._claims.discard(claim)
        if not claim.cancelled():
            claim.exception()  # seen, although the caller may be gone

    async def _make(self, user_id: str) -> None:
        started = asyncio.get_running_loop().time()
        with self._reading_on():
            for attempt in count(1):
                refusal = await self._exchange(user_id)
                if refusal is None:
                    return
                # Two frames need more room than the one that the server spoke of.
                pause = retry_seconds(refusal) * 2 ** min(attempt, 6)
                waited = asyncio.get_running_loop().time() - started
                if refusal.code != RATE_LIMITED or waited + pause > self._options.answer_seconds:
                    raise Refused.of(refusal)
                await self._pause(pause)

    async def _exchange(self, user_id: str) -> ErrorArgs | None:
        socket = await self._ready()
        self._shown.pop(user_id, None)
        self._shown_before.pop(user_id, None)
        claim = self._claim = Claim(user_id, socket.send)
        try:
            async with asyncio.timeout(self._options.answer_seconds):
                return await claim.outcome()
        except ConnectionClosed as error:
            raise NotAcknowledged("The connection was lost; the claim is void.") from error
        except TimeoutError:
            # With the connection go the user, and whatever the server may still answer.
            socket.abort()
            raise NotAcknowledged("The server does not answer; the claim is void.") from None
        except BaseException:
            socket.abort()
            raise
        finally:
            self._claim = None

    async def _pause(self, seconds: float) -> None:
        """Wait, but not beyond the end of the stream."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._over.wait()

    async def aclose(self) -> None:
        """Close the connection, and end the iteration. Users who were claimed and not joined return to the queue."""
        try:
            await super().aclose()
        finally:
            if claims := self._claims - {asyncio.current_task()}:
                await asyncio.wait(claims)

    # What the stream asks for.

    async def _open(self, headers: Mapping[str, str]) -> JoinsSocket:
        return await JoinsSocket.connect(f"{self._url}{JoinsSocket.address()}", self._options, headers)

    def _take(self, message: JoinsServerMessage) -> None:
        if isinstance(message, Error):
            # What nobody has asked for must not answer the next claim.
            if self._claim is not None:
                self._claim.answer(message.args)
            return
        user_id = message.user_id
        known = user_id in self._shown_before
        self._shown_before.pop(user_id, None)
        self._shown[user_id] = None
        if len(self._shown) > _SHOWN_MAX:
            del self._shown[next(iter(self._shown))]
        # On one connection the server tells each stay once. After a drop it begins anew.
        if not known:
            self._push(message)

    def _lost(self) -> None:
        self._shown_before = {**self._shown_before, **self._shown}
        self._shown = {}
        if self._claim is not None:
            self._claim.lose()

    def _ended(self, error: Exception) -> None:  # noqa: ARG002 - the claims ask for it themselves
        self._over.set()
        if self._claim is not None:
            self._claim.lose()
