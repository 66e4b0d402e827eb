"""Answers a WebSocket handshake that is refused before the upgrade with a status and a problem, as an HTTP route would.

Litestar closes such a socket with a code, which the server turns into 403 whatever the reason. But a proxy tries
another process after a 503, and a 404 tells a developer to check the address. Plain HTTP at a WebSocket's address is
answered with 426.
"""

from collections.abc import MutableMapping
from typing import Any, Final, cast

import structlog
from litestar import route
from litestar.enums import HttpMethod, ScopeType
from litestar.exceptions import HTTPException, NotFoundException
from litestar.handlers import HTTPRouteHandler
from litestar.types import Scope

from live_support.http.problems import problem_of
from live_support.http.security_headers import App, Message, Receive, Send
from schemas.errors import ChatError

log = structlog.get_logger()

_ERROR: Final = "live_support.error"
"""The scope's key for the reason why a WebSocket is refused."""


def upgrade_required(path: str) -> HTTPRouteHandler:
    """Make the route that answers plain HTTP at a WebSocket's address (RFC 9110, section 15.5.22)."""

    @route(path, http_method=[HttpMethod.GET, HttpMethod.HEAD], include_in_schema=False)
    async def answer() -> None:
        raise HTTPException(
            "This is the address of a WebSocket: connect with ws: or wss:.",
            status_code=426,
            headers={"Upgrade": "websocket", "Connection": "Upgrade"},
        )

    return answer


async def note_error(error: Exception, scope: Scope) -> None:
    """Remember why a WebSocket is refused: a hook of Litestar's."""
    if scope["type"] == ScopeType.WEBSOCKET:
        known = cast(dict[str, object], scope)
        # Without a handler there is no such path, or it is one of HTTP: Litestar calls the latter a bad request.
        known[_ERROR] = error if "route_handler" in known else NotFoundException()


def answering_refusals(app: App) -> App:
    """Wrap an ASGI application: a handshake that is refused before the upgrade is answered with the reason."""

    async def serve(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket" or "websocket.http.response" not in (scope.get("extensions") or {}):
            await app(scope, receive, send)
            return
        accepted = False

        async def send_or_answer(message: Message) -> None:
            nonlocal accepted
            error = scope.get(_ERROR)
            if message["type"] == "websocket.close" and not accepted and error is not None:
                await refuse(send, error)
                if not isinstance(error, ChatError | HTTPException):
                    log.error("handshake_failed", exc_info=error)
            else:
                accepted = accepted or message["type"] == "websocket.accept"
                await send(message)

        await app(scope, receive, send_or_answer)

    return serve


async def refuse(send: Send, error: Exception) -> None:
    """Answer a handshake as an HTTP route would answer an error; the server must offer that in the scope."""
    status, headers, body = problem_of(error)
    await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body, "more_body": False})
