"""JoinsClient: an agent's view of the users who wait."""

import asyncio
import secrets
from itertools import count

from websockets.exceptions import ConnectionClosed

from live_support_client._errors import NotAcknowledged, Refused
from live_support_client._models import Error, ErrorArgs, JoinRequest
from live_support_client._options import Options
from live_support_client._sockets import JoinsServerMessage, JoinsSocket
from live_support_client._stream import Stream
from live_support_client._urls import websocket_url

_SHOWN_MAX = 10_000
# No userId, so it is always answered with `invalid`. A single one between claims does not count as misbehaviour.
_PROBE = "-"


class JoinsClient(Stream[JoinsSocket, JoinsServerMessage, JoinRequest]):
    """The waiting users, oldest first, then each new one; `claim` takes one of them.

    After a drop it connects again by itself, and shows who came meanwhile. A user who was shown before is shown again
    only after a `claim`: whatever became of that, the user waits once more. The server gives back what a lost
    connection had claimed, unless the chat was joined already.

    Args:
        url: of the Subscriber, such as `http://localhost:9001`.
        token: the agent's (a JWT), where the server asks for one. When it ends, `NotAuthenticated` is raised.
        options: how to connect.
    """

    def __init__(self, url: str, *, token: str | None = None, options: Options | None = None) -> None:
        super().__init__((options or Options()).with_token(token))
        self._url = websocket_url(url)
        self._turn = asyncio.Lock()
        self._claims: set[asyncio.Task[None]] = set()
        self._answers: asyncio.Queue[ErrorArgs | None] = asyncio.Queue()
        self._shown: dict[str, None] = {}
        self._shown_before: dict[str, None] = {}

    async def claim(self, request: JoinRequest | str) -> None:
        """Take a waiting user; returns once the user is yours. Then join the chat, before the lease of 15 s is over.

        The first version of the protocol tells a winner nothing. So behind the claim goes a frame whose answer is
        known: the server answers in order, and when that answer is the first to come, the claim was won. A claim that
        comes too fast is made again when the server allows it. A cancelled `claim` may still be won.

        Raises:
            AlreadyClaimed: another agent was first.
            NotWaiting: the user is not in the queue any more.
            Unavailable: the server cannot say.
            NotAcknowledged: the connection was lost; the user goes back to the queue.
        """
        user_id = request if isinstance(request, str) else request.user_id
        # In a task of its own, so that a cancelled caller does not leave answers behind for the next claim.
        claim = asyncio.create_task(self._claim(user_id))
        self._claims.add(claim)
        claim.add_done_callback(self._forget)
        # The reader may be waiting for the caller, who now waits for the reader.
        self._room.set()
        await asyncio.shield(claim)

    def _forget(self, claim: asyncio.Task[None]) -> None:
        self._claims.discard(claim)
        if not claim.cancelled():
            claim.exception()  # seen, although the caller may be gone

    async def _claim(self, user_id: str) -> None:
        async with self._turn:
            for attempt in count():
                socket = await self._ready()
                answers = self._answers
                self._shown.pop(user_id, None)
                self._shown_before.pop(user_id, None)
                try:
                    await socket.send(user_id)
                    await socket.send(_PROBE)
                    answer = await _next(answers)
                    if answer.code == "invalid":
                        return
                    if answer.code != "rate_limited":
                        await _next(answers)
                        raise Refused.of(answer)
                    # Either the claim came too fast or only the probe behind it: a frame of another answer tells.
                    pause = (answer.retry_after_ms or 0) / 1000
                    await asyncio.sleep(pause)
                    await socket.send(secrets.token_hex(16))  # nobody has this id
                    if (await _next(answers)).code == "not_waiting":
                        return
                    await _next(answers)
                    # Two frames need more room than the one that the server spoke of.
                    await asyncio.sleep(pause * 2 ** min(attempt + 1, 6))
                except ConnectionClosed as error:
                    raise NotAcknowledged("The connection was lost; the claim is void.") from error

    async def aclose(self) -> None:
        """Close the connection, and end the iteration. Users who were claimed and not joined return to the queue."""
        await super().aclose()
        for claim in self._claims:
            claim.cancel()
        if self._claims:
            await asyncio.wait(self._claims)

    # What the stream asks for.

    @property
    def _unbounded(self) -> bool:
        return bool(self._claims)

    async def _open(self) -> JoinsSocket:
        return await JoinsSocket.connect(f"{self._url}{JoinsSocket.address()}", self._options)

    def _take(self, message: JoinsServerMessage) -> None:
        if isinstance(message, Error):
            self._answers.put_nowait(message.args)
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
        self._answers.put_nowait(None)
        self._answers = asyncio.Queue()

    def _ended(self, error: Exception) -> None:  # noqa: ARG002 - the claims ask for it themselves
        self._answers.put_nowait(None)


async def _next(answers: asyncio.Queue[ErrorArgs | None]) -> ErrorArgs:
    answer = await answers.get()
    if answer is None:
        raise NotAcknowledged("The connection was lost; the claim is void.")
    return answer
