"""Http: what the generated HTTP calls share."""

import asyncio
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import httpx
import msgspec

from live_support_client._errors import ConnectionLost, Forbidden, RateLimited, Refused, Unavailable, UnexpectedFrame
from live_support_client._log import log
from live_support_client._models import ErrorArgs, Problem
from live_support_client._reconnect import seconds_of

T = TypeVar("T")

_BY_STATUS = {403: Forbidden, 429: RateLimited, 502: Unavailable, 503: Unavailable, 504: Unavailable}


_ours: ContextVar[bool] = ContextVar("_ours", default=False)


class _NotOurs(logging.Filter):
    """Keeps out of a log what httpx would write of our requests: the name of a user is in one of the addresses."""

    def filter(self, record: logging.LogRecord) -> bool:  # noqa: ARG002
        return not _ours.get()


logging.getLogger("httpx").addFilter(_NotOurs())


@contextmanager
def _unlogged() -> Iterator[None]:
    token = _ours.set(True)
    try:
        yield
    finally:
        _ours.reset(token)


class Http:
    """Base of the generated calls.

    Args:
        http: to send requests with.
        seconds: how long one may take in all; httpx only bounds each part of it.
    """

    def __init__(self, http: httpx.AsyncClient, seconds: float) -> None:
        self._http = http
        self._seconds = seconds
        self._loop: asyncio.AbstractEventLoop | None = None

    async def _request(self, method: str, path: str, *, answers: Mapping[int, type[T]], body: Any = None) -> T:
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        elif self._loop is not loop:
            raise RuntimeError("A client belongs to one event loop: make one in each `asyncio.run`.")
        content = None if body is None else msgspec.json.encode(body)
        headers = None if body is None else {"Content-Type": "application/json"}
        try:
            async with asyncio.timeout(self._seconds):
                with _unlogged():
                    response = await self._http.request(method, path, content=content, headers=headers)
        except (httpx.HTTPError, TimeoutError) as error:
            raise ConnectionLost(
                f"{self._http.base_url} cannot be reached: {str(error) or type(error).__name__}"
            ) from error
        log.debug("%s request: %d", method, response.status_code)
        if (answer := answers.get(response.status_code)) is None:
            raise self._refusal(response)
        try:
            return msgspec.json.decode(response.content, type=answer)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise UnexpectedFrame(f"The server's answer is not what its documents describe: {error}.") from None

    def _refusal(self, response: httpx.Response) -> Refused | ConnectionLost:
        """Read a problem (RFC 9457). What stands between us and the server may answer in another form."""
        status = response.status_code
        if 300 <= status < 400:
            return ConnectionLost(
                f"{self._http.base_url} leads elsewhere ({status}): give the address that it leads to."
            )
        if status in (404, 405):
            # Whatever is asked for here exists on every server of its kind.
            return ConnectionLost(
                f"{self._http.base_url} answers with {status}: is it the address of the right service?"
            )
        retry_after = seconds_of(response.headers.get("Retry-After", ""))
        try:
            problem = msgspec.json.decode(response.content, type=Problem)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            problem = Problem(status=status, title=response.reason_phrase, detail=response.reason_phrase)
        if isinstance(problem.code, str):
            kind = type(Refused.of(ErrorArgs(code=problem.code, message=problem.detail)))
            return kind(problem.code, problem.detail, retry_after=retry_after)
        kind = _BY_STATUS.get(status, Refused)
        return kind(str(status), problem.detail, retry_after=retry_after)
