"""Http: what the generated HTTP calls share."""

from collections.abc import Mapping
from typing import Any, TypeVar

import httpx
import msgspec

from live_support_client._errors import ConnectionLost, Forbidden, RateLimited, Refused, Unavailable, UnexpectedFrame
from live_support_client._models import ErrorArgs, Problem

T = TypeVar("T")

_BY_STATUS = {403: Forbidden, 429: RateLimited, 502: Unavailable, 503: Unavailable, 504: Unavailable}


class Http:
    """Base of the generated calls."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def _request(self, method: str, path: str, *, answers: Mapping[int, type[T]], body: Any = None) -> T:
        content = None if body is None else msgspec.json.encode(body)
        headers = None if body is None else {"Content-Type": "application/json"}
        try:
            response = await self._http.request(method, path, content=content, headers=headers)
        except httpx.TransportError as error:
            raise ConnectionLost(
                f"{self._http.base_url} cannot be reached: {str(error) or type(error).__name__}"
            ) from error
        if (answer := answers.get(response.status_code)) is None:
            raise _refusal(response)
        try:
            return msgspec.json.decode(response.content, type=answer)
        except msgspec.MsgspecError as error:
            raise UnexpectedFrame(f"The server's answer is not what its documents describe: {error}.") from None


def _refusal(response: httpx.Response) -> Refused:
    """Read a problem (RFC 9457). What stands between us and the server may answer in another form."""
    seconds = response.headers.get("Retry-After", "")
    retry_after = float(seconds) if seconds.isdecimal() else None
    try:
        problem = msgspec.json.decode(response.content, type=Problem)
    except msgspec.MsgspecError:
        problem = Problem(status=response.status_code, title=response.reason_phrase, detail=response.reason_phrase)
    if isinstance(problem.code, str):
        kind = type(Refused.of(ErrorArgs(code=problem.code, message=problem.detail)))
        return kind(problem.code, problem.detail, retry_after=retry_after)
    kind = _BY_STATUS.get(response.status_code, Refused)
    return kind(str(response.status_code), problem.detail, retry_after=retry_after)
