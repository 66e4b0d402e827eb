"""SecurityHeaders: what every HTTP answer tells browsers to leave alone."""

import re
from base64 import b64encode
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from hashlib import sha256
from typing import Any, Final

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Any, Any, Any], Awaitable[None]]

# Data is no page: nothing in it is run, shown or framed.
_DATA: Final = "default-src 'none'; frame-ancestors 'none'"
# Of the docs pages. Swagger UI and the AsyncAPI page write styles into elements.
_PAGE: Final = (
    "default-src 'none'; script-src 'self'{scripts}; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
    " font-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_INLINE_SCRIPT = re.compile(rb"<script(?![^>]*\ssrc=)[^>]*>(.*?)</script>", re.DOTALL)


class SecurityHeaders:
    """Wraps an ASGI application. A page may run its own inline scripts, known by their hashes, and no others."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Pass on, and add the headers to HTTP answers."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        head: Message | None = None

        async def send_with_headers(message: Message) -> None:
            nonlocal head
            if message["type"] == "http.response.start":
                if _is_page(message):
                    head = message  # the policy needs the page itself
                    return
                message["headers"] = [*message["headers"], *_headers(_DATA)]
            elif head is not None:
                policy = _PAGE.format(scripts="".join(_scripts(message.get("body", b""))))
                head["headers"] = [*head["headers"], *_headers(policy)]
                await send(head)
                head = None
            await send(message)

        await self._app(scope, receive, send_with_headers)


def _is_page(head: Message) -> bool:
    return any(name.lower() == b"content-type" and value.startswith(b"text/html") for name, value in head["headers"])


def _scripts(page: bytes) -> Iterator[str]:
    if b"asyncapi-config" in page:
        yield " 'unsafe-eval'"  # its validator makes functions of schemas
    for script in _INLINE_SCRIPT.findall(page):
        yield f" 'sha256-{b64encode(sha256(script).digest()).decode()}'"


def _headers(policy: str) -> list[tuple[bytes, bytes]]:
    return [
        (b"content-security-policy", policy.encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
    ]
