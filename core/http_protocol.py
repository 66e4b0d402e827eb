"""HttpProtocol: uvicorn's HTTP class, with bounds on what a connection may cost before an application sees it.

uvicorn waits for ever for the head of a request, takes one of any size, and lets a peer that does not read keep its
socket. The bounds are here: time and size of the head, time for the body and for reading the answer, connections of
one address and of all. Who goes beyond gets a plain 408, 429, 431 or 503, and is closed.
"""

from asyncio import TimerHandle, Transport
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, ClassVar, cast

from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from core.address import Census
from core.refusal_log import Refusal, refused
from core.settings import Limits, Settings

_RETRY_AFTER = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
_RETRY_SECONDS = 5
_LOGGED = {
    HTTPStatus.BAD_REQUEST: Refusal.REQUEST_MALFORMED,
    HTTPStatus.REQUEST_TIMEOUT: Refusal.REQUEST_TOO_SLOW,
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: Refusal.REQUEST_TOO_LARGE,
}
# Who comes when all places are taken is told so; beyond so many more, not even that.
_REFUSED_AT_ONCE = 256
_REFUSED_SECONDS = 1.0
# uvicorn's WebSocket class parses a head anew, and takes no more.
_HEADERS_MAX = 100
_LINE_BYTES = 8000
_URL_BYTES = 4096
# As many as the longest name can have, decomposed: unescaping is slow.
_ESCAPES_MAX = 1024
# Headers of a handshake that are parsed item by item, which is slow, too. A browser sends some five items.
_LISTS = frozenset({b"connection", b"upgrade", b"sec-websocket-extensions", b"sec-websocket-protocol"})
_LISTED_MAX = 100


def http_protocol(settings: Settings) -> type[HttpToolsProtocol]:
    """Make the protocol class of a service."""

    class Bounded(HttpProtocol):
        limits = settings.limits
        most = settings.max_connections
        census = Census(settings.most_per_address)
        proxies = ProxyHeadersMiddleware(cast(Any, None), list(settings.trusted_proxies)).trusted_hosts

    return Bounded


class HttpProtocol(HttpToolsProtocol):
    """One connection, until it becomes a WebSocket. Made by `http_protocol`."""

    limits: ClassVar[Limits]
    most: ClassVar[int]
    census: ClassVar[Census]
    proxies: ClassVar[Any]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._refusal: HTTPStatus | None = None
        self._refused = False
        self._in_head = True
        self._head_bytes = 0
        self._answering: RequestResponseCycle | None = None
        self._address: str | None = None
        self._deadline: TimerHandle | None = None
        self._stuck: TimerHandle | None = None

    # Coming and going.

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        over = len(self.connections) - self.most
        if over > 0:
            refused(Refusal.CONNECTIONS)
        if over > _REFUSED_AT_ONCE:
            transport.abort()
            return
        peer = self.client[0] if self.client else ""
        if over > 0:
            self._refusal = HTTPStatus.SERVICE_UNAVAILABLE
        elif peer not in self.proxies:
            self._refusal = self._count_to(peer)
        if self._refusal is None:
            self._expect(self.limits.head_seconds, self._too_slow)
        else:
            self._expect(_REFUSED_SECONDS, transport.abort)

    def _count_to(self, address: str) -> HTTPStatus | None:
        if self._address is not None:
            self.census.leave(self._address, self.transport)
            self._address = None
        if not self.census.enter(address, self.transport):
            refused(Refusal.CONNECTIONS_OF_ADDRESS)
            return HTTPStatus.TOO_MANY_REQUESTS
        self._address = address
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        self._nobody_waits()
        super().connection_lost(exc)
        self._expect_nothing()
        self.resume_writing()
        if self._address is not None:
            self.census.leave(self._address, self.transport)

    def shutdown(self) -> None:
        super().shutdown()
        if self.transport.is_closing():
            self._expect(self.limits.linger_seconds, self.transport.abort)

    # Reading.

    def data_received(self, data: bytes) -> None:
        if self._refused or self.transport.is_closing():
            return
        if self._refusal is not None:
            # Only now: an answer to what was not read yet would be lost.
            self._refuse(self._refusal)
            return
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > self.limits.head_bytes:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def on_headers_complete(self) -> None:
        if self._refused:
            return
        self._in_head = False
        refusal = self._refusal_of_head()
        if refusal is None and self._peer_is_proxy and (client := self._forwarded_for()):
            refusal = self._count_to(client)
        if refusal is not None:
            self._refuse(refusal)
            return
        self._expect(self.limits.body_seconds, self._too_slow)
        super().on_headers_complete()

    def _refusal_of_head(self) -> HTTPStatus | None:
        sizes = [len(name) + len(value) for name, value in self.headers]
        if (
            len(self.url) + sum(sizes) > self.limits.head_bytes
            or len(sizes) > _HEADERS_MAX
            or max(sizes, default=0) > _LINE_BYTES
            or len(self.url) > _URL_BYTES
            or self.url.count(b"%") > _ESCAPES_MAX
            or self._listed() > _LISTED_MAX
        ):
            return HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        # Browsers do not send a request before the answer to the last one.
        if len(self.pipeline) >= self.limits.pipelined_requests:
            refused(Refusal.REQUESTS_IN_A_ROW)
            return HTTPStatus.SERVICE_UNAVAILABLE
        return None

    def _listed(self) -> int:
        return sum(value.count(b",") + value.count(b";") for name, value in self.headers if name in _LISTS)

    @property
    def _peer_is_proxy(self) -> bool:
        return self.client is not None and self.client[0] in self.proxies

    def _forwarded_for(self) -> str:
        values = [value for name, value in self.headers if name == b"x-forwarded-for"]
        host, _ = self.proxies.get_trusted_client_address(b", ".join(values).decode("latin1"))
        return str(host)

    def on_body(self, body: bytes) -> None:
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_head = True
        self._head_bytes = 0
        if self._refused:
            return
        super().on_message_complete()
        if self._answered:  # without waiting for the body
            self._expect(self.limits.head_seconds, self._too_slow)
        else:
            self._expect_nothing()

    def handle_websocket_upgrade(self) -> None:
        if self._refused:
            return
        self._expect_nothing()
        super().handle_websocket_upgrade()
        # The WebSocket class parses the head anew. What it cannot read, as a handshake with a body, it drops without
        # an answer, and would keep the connection for ever.
        if not getattr(self.transport.get_protocol(), "handshake_initiated", True):
            self._refuse(HTTPStatus.BAD_REQUEST)

    def _unsupported_upgrade_warning(self) -> None:
        pass  # any client could fill the log with it

    # Answering.

    @property
    def _answered(self) -> bool:
        """Whether the last request that has come is answered."""
        cycle = cast(RequestResponseCycle | None, self.cycle)
        return cycle is not None and cycle.response_complete

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():
            self._expect(self.limits.linger_seconds, self.transport.abort)
        elif self._answered:  # else the next one of a pipeline has begun
            # Until the next head is complete. uvicorn's own timer stops at the first byte.
            self._expect(self.limits.head_seconds, self._too_slow)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def _nobody_waits(self) -> None:
        # uvicorn tells the last request of a pipeline only; the one that is being answered would write on.
        cycle = self._answering
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - the phrase of the status says as much
        self._refuse(HTTPStatus.BAD_REQUEST)

    def _too_slow(self) -> None:
        if self._head_bytes or not self._in_head:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT)
        else:
            self._close()

    def _refuse(self, status: HTTPStatus) -> None:
        if self._refused:
            return
        self._refused = True
        if status in _LOGGED:
            refused(_LOGGED[status])
        self._nobody_waits()
        cycle = self._answering
        if cycle is None or not cycle.response_started or cycle.response_complete:
            body = status.phrase.encode()
            retry = f"retry-after: {_RETRY_SECONDS}\r\n" if status in _RETRY_AFTER else ""
            head = (
                f"HTTP/1.1 {status.value} {status.phrase}\r\n{retry}connection: close\r\n"
                f"content-type: text/plain\r\ncontent-length: {len(body)}\r\n\r\n"
            )
            self.transport.write(head.encode() + body)
        self._close()

    def _close(self) -> None:
        self.transport.close()
        # Closing waits until the peer has read everything, which may be never.
        self._expect(self.limits.linger_seconds, self.transport.abort)

    # Deadlines: one for the peer to send or to go, one for it to read.

    def _expect(self, seconds: float, otherwise: Callable[[], None]) -> None:
        self._expect_nothing()
        self._deadline = self.loop.call_later(seconds, otherwise)

    def _expect_nothing(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stuck = self.loop.call_later(self.limits.read_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stuck is not None:
            self._stuck.cancel()
            self._stuck = None
