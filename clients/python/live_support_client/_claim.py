"""Claim: what became of a claim, of which the first version of the protocol tells only the losers.

Behind the claim go frames whose answers are known. The server answers in order, and answers every frame but a claim
that is won. So the answers can tell two stories: the first is the claim's own, or the claim was silent and the first is
that of the frame behind it. Frames are sent until only one story is possible and every answer that it promises is here:
nothing is left behind for the next claim.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import NamedTuple

from live_support_client._errors import NotAcknowledged
from live_support_client._models import ErrorArgs

RATE_LIMITED = "rate_limited"


class _Sent(NamedTuple):
    """A frame, and whether an answer may be its own."""

    frame: str
    fits: Callable[[str], bool]


def _claim(user_id: str) -> _Sent:
    # It is an id, so it is never invalid.
    return _Sent(user_id, lambda code: code != "invalid")


def _nonsense() -> _Sent:
    """No id. A single one between claims does not count as misbehaviour."""
    return _Sent("-", lambda code: code in ("invalid", RATE_LIMITED))


def _nobody() -> _Sent:
    """An id that nobody has."""
    return _Sent(secrets.token_hex(16), lambda code: code in ("not_waiting", RATE_LIMITED, "unavailable"))


class Claim:
    """One claim on one connection.

    Args:
        user_id: who is claimed.
        send: writes a frame.
    """

    def __init__(self, user_id: str, send: Callable[[str], Awaitable[None]]) -> None:
        self._user_id = user_id
        self._send = send
        self._sent: list[_Sent] = []
        self._answers: list[ErrorArgs] = []
        self._told = asyncio.Event()
        self._lost = False

    def answer(self, answer: ErrorArgs) -> None:
        """Hear an answer of the server's."""
        self._answers.append(answer)
        self._told.set()

    def lose(self) -> None:
        """Hear that the connection is gone."""
        self._lost = True
        self._told.set()

    async def outcome(self) -> ErrorArgs | None:
        """Claim, and wait until it is known what became of it: None if it is won, else why not.

        Raises:
            NotAcknowledged: the connection is gone, or the answers make no sense.
            websockets.ConnectionClosed: the connection is gone.
        """
        await self._write(_claim(self._user_id))
        await self._write(_nonsense())
        while True:
            self._told.clear()
            if self._lost:
                raise NotAcknowledged("The connection was lost; the claim is void.")
            won, refused = self._possible(silent=1), self._possible(silent=0)
            missing = len(self._sent) - len(self._answers)
            if not won and not refused:
                raise NotAcknowledged("The server's answers do not fit what was sent; the claim is void.")
            if won and not refused and missing == 1:
                return None
            if refused and not won and missing == 0:
                return self._answers[0]
            if won and refused and missing == 1:
                # Too fast was the claim, or only what came behind it: there may be no further answer.
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._pause()):
                        await self._told.wait()
                if self._told.is_set():
                    continue
                await self._write(_nobody() if len(self._sent) % 2 == 0 else _nonsense())
            await self._told.wait()

    def _possible(self, *, silent: int) -> bool:
        sent = self._sent[silent:]
        return len(self._answers) <= len(sent) and all(
            each.fits(answer.code) for each, answer in zip(sent, self._answers, strict=False)
        )

    def _pause(self) -> float:
        return max(0.001, retry_seconds(self._answers[-1]))

    async def _write(self, sent: _Sent) -> None:
        self._sent.append(sent)
        await self._send(sent.frame)


def retry_seconds(refusal: ErrorArgs) -> float:
    """When the server would take the next frame."""
    return refusal.retry_after_ms / 1000 if isinstance(refusal.retry_after_ms, int) else 0.0
