"""SecurityHeaders: adds CSP, `nosniff` and referrer policy to HTTP answers."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from live_support.docs_pages.pages import ASYNCAPI

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Any, Any, Any], Awaitable[None]]

# Data is not a page: nothing in it is run, shown or framed.
_DATA: Final = "default-src 'none'; frame-ancestors 'none'"
# For the docs pages. Swagger UI and the AsyncAPI page write styles into elements.
_PAGE: Final = (
    "default-src 'none'; script-src 'self'{scripts}; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
    " font-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# The AsyncAPI page's validator compiles schemas to functions.
_EVAL: Final = " 'unsafe-eval'"


class SecurityHeaders:
    """Wraps an ASGI application. A page may run scripts of its own service only, and no inline scripts."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Call the application, and add the headers to its HTTP answers."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"]

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *_headers(_policy(path, message))]
            await send(message)

        await self._app(scope, receive, send_with_headers)


def _policy(path: str, head: Message) -> str:
    if not any(name.lower() == b"content-type" and value.startswith(b"text/html") for name, value in head["headers"]):
        return _DATA
    return _PAGE.format(scripts=_EVAL if path == ASYNCAPI else "")


def _headers(policy: str) -> list[tuple[bytes, bytes]]:
    return [
        (b"content-security-policy", policy.encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
    ]
