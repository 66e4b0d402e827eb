"""Cors: what a page of another origin may send to the services, and read of the answers."""

from collections.abc import Callable, Iterable, MutableMapping
from typing import Any, Final

from live_support.http.problems import MEDIA_TYPE, problem_body
from live_support.http.security_headers import App, Message, Receive, Send
from live_support.refusal_log import Refusal, refused

Headers = list[tuple[bytes, bytes]]
Allows = Callable[[str, str], bool]
"""Whether a page of an origin (the first argument) may read the answers of a host (the second)."""

_PREFLIGHT: Final = b"access-control-request-method"
_ALLOWED: Final = b"access-control-allow-origin"
_EXPOSED: Final = (b"access-control-expose-headers", b"Retry-After")
_VARY: Final = (b"vary", b"Origin")
_METHODS: Final = b"GET, HEAD, POST"
_HEADERS: Final = b"Content-Type"
_SECONDS: Final = b"600"


class Cors:
    """Tells browsers which pages may read an answer.

    Args:
        allows: the rule; it is also the one that refuses requests of pages.
    """

    def __init__(self, allows: Allows) -> None:
        self._allows = allows

    def headers_for(self, request: Iterable[tuple[bytes, bytes]]) -> Headers:
        """Return the CORS headers of an answer, by those of its request; none if no page asks."""
        given = list(request)
        origins = [value.decode("latin-1") for name, value in given if name == b"origin"]
        if not origins:
            return []
        host = next((value.decode("latin-1") for name, value in given if name == b"host"), "")
        if not all(self._allows(origin, host) for origin in origins):
            return [_VARY]
        return [(_ALLOWED, origins[0].encode("latin-1")), _EXPOSED, _VARY]

    def around(self, app: App) -> App:
        """Wrap an ASGI application: answer preflight requests, and add the headers to other answers."""

        async def serve(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
            headers = self.headers_for(scope["headers"]) if scope["type"] == "http" else []
            if not headers:
                await app(scope, receive, send)
                return
            if scope["method"] == "OPTIONS" and any(name == _PREFLIGHT for name, _ in scope["headers"]):
                await _answer_preflight(send, headers)
                return

            async def send_with_headers(message: Message) -> None:
                if message["type"] == "http.response.start":
                    message["headers"] = [*message["headers"], *headers]
                await send(message)

            await app(scope, receive, send_with_headers)

        return serve


async def _answer_preflight(send: Send, headers: Headers) -> None:
    # The browser compares its request with these lists, so the server need not refuse anything else.
    if any(name == _ALLOWED for name, _ in headers):
        status, body = 204, b""
        more = [
            (b"access-control-allow-methods", _METHODS),
            (b"access-control-allow-headers", _HEADERS),
            (b"access-control-max-age", _SECONDS),
        ]
    else:
        refused(Refusal.ORIGIN)
        status, body = 403, problem_body(403, "This origin is not allowed.")
        more = [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": [*more, *headers]})
    await send({"type": "http.response.body", "body": body, "more_body": False})
