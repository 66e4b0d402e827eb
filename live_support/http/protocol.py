"""HttpProtocol: uvicorn's HTTP class, with bounds on what a connection may cost before an application sees it.

uvicorn waits for ever for the head of a request, takes one of any size, and lets a peer that does not read keep its
socket. The bounds are here: time and size of the head and of whatever else is no body, time for the body and for
reading the answer, connections and handshakes of one address, connections of all. Who goes beyond gets a problem with
status 408, 429, 431 or 503, and is closed; and so is who breaks the rules of HTTP (`live_support.http.head`).
"""

from asyncio import TimerHandle, Transport
from collections.abc import Callable
from http import HTTPStatus
from math import ceil
from typing import Any, ClassVar, Final, cast

import httptools
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from live_support.addresses import ConnectionLimiter
from live_support.http.cors import Cors
from live_support.http.head import (
    Fault,
    as_handshake,
    asks_for_websocket,
    fault_of,
    fault_of_handshake,
    in_origin_form,
    without_offers,
)
from live_support.http.origin import OriginGuard
from live_support.http.problems import MEDIA_TYPE, problem_body, retry_after
from live_support.limits import Limits
from live_support.rate import Buckets, Rate
from live_support.refusal_log import Refusal, refused
from live_support.settings import Settings

_RETRY_MS = 5000
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
# One read may bring many times what a peer may send in all, so it is looked at in pieces.
_PIECE_BYTES = 4096
# So much of a body that nobody reads is taken, for the peer to see the answer; a reset could lose it.
_UNREAD_BYTES = 1024 * 1024
_HANDSHAKES: Final = Rate("20/second")

_TOO_LARGE: Final = Fault(
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "The head or the trailers are too large.", Refusal.REQUEST_TOO_LARGE
)
_BODY_TOO_LARGE: Final = Fault(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The body is too large.", Refusal.REQUEST_TOO_LARGE)
_TOO_SLOW: Final = Fault(HTTPStatus.REQUEST_TIMEOUT, "The request did not come in time.", Refusal.REQUEST_TOO_SLOW)
_MALFORMED: Final = Fault(HTTPStatus.BAD_REQUEST, "This is no HTTP request.")
_PIPELINED: Final = Fault(
    HTTPStatus.SERVICE_UNAVAILABLE, "Too many requests wait for an earlier answer.", Refusal.REQUESTS_IN_A_ROW
)
_OVERTAKING: Final = Fault(HTTPStatus.BAD_REQUEST, "A WebSocket handshake waits for the answers to earlier requests.")
_FULL: Final = Fault(HTTPStatus.SERVICE_UNAVAILABLE, "All connections are taken.", Refusal.CONNECTIONS)
_FULL_OF_ADDRESS: Final = Fault(
    HTTPStatus.TOO_MANY_REQUESTS, "Too many connections from your address.", Refusal.CONNECTIONS_OF_ADDRESS
)
_HANDSHAKES_OF_ADDRESS: Final = Fault(
    HTTPStatus.TOO_MANY_REQUESTS, "Too many handshakes from your address.", Refusal.HANDSHAKES
)


def http_protocol(settings: Settings) -> type[HttpToolsProtocol]:
    """Make the protocol class of a service."""

    class Bounded(HttpProtocol):
        limits = settings.limits
        keep_alive_seconds = settings.keep_alive_seconds
        most = settings.max_connections
        census = ConnectionLimiter(settings.max_per_address)
        handshakes = _handshakes(settings)
        proxies = ProxyHeadersMiddleware(cast(Any, None), list(settings.trusted_proxies)).trusted_hosts
        cors = Cors(OriginGuard(settings).allows)

    return Bounded


def _handshakes(settings: Settings) -> Buckets | None:
    # Where all clients seem to have one address, that address has any number.
    if settings.handshake_rate is None and settings.max_per_address is None:
        return None
    return Buckets(settings.handshake_rate or _HANDSHAKES)


class HttpProtocol(HttpToolsProtocol):
    """One connection, until it becomes a WebSocket. Made by `http_protocol`.

    Of uvicorn's class it relies on names that are not public: `parser`, `headers`, `url`, `scope`, `cycle`, `pipeline`,
    `client`, `connections`, the parser's callbacks (`on_message_begin`, `on_header`, `on_headers_complete`, `on_body`,
    `on_message_complete`), `on_response_complete`, `handle_websocket_upgrade`, `_start_asgi_task`,
    `_unset_keepalive_if_required`; and of `RequestResponseCycle` on `disconnected`, `message_event`, `keep_alive`,
    `response_started` and `response_complete`. It replaces `data_received`, which alone would call `send_400_response`,
    `_should_upgrade` and `_unsupported_upgrade_warning`.
    """

    limits: ClassVar[Limits]
    keep_alive_seconds: ClassVar[float]
    most: ClassVar[int]
    census: ClassVar[ConnectionLimiter]
    handshakes: ClassVar[Buckets | None]
    proxies: ClassVar[Any]
    cors: ClassVar[Cors]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.access_log = False  # whoever configures the loggers: a path holds the chatId
        self._fault: Fault | None = None
        self._refused = False
        self._in_head = True
        self._begun = False
        self._idle = False
        self._is_handshake = False
        self._is_last = False
        self._stray_bytes = 0
        self._body_bytes = 0
        self._answering: RequestResponseCycle | None = None
        self._address: str | None = None
        self._deadline: TimerHandle | None = None
        self._stuck: TimerHandle | None = None

    # Coming and going.

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        over = len(self.connections) - self.most
        if over > _REFUSED_AT_ONCE:
            refused(Refusal.CONNECTIONS)
            transport.abort()
            return
        peer = self.client[0] if self.client else ""
        if over > 0:
            self._fault = _FULL
        elif peer not in self.proxies:
            self._fault = self._count_to(peer)
        if self._fault is None:
            self._expect(self.limits.head_seconds, self._too_slow)
        else:
            # The answer waits for the request: one to what was not read yet would be lost.
            self._expect(_REFUSED_SECONDS, self._refuse_at_last)

    def _refuse_at_last(self) -> None:
        fault = cast(Fault, self._fault)
        if self._begun:
            self._refuse(fault)
        else:
            refused(fault.refusal)
            self.transport.abort()

    def _count_to(self, address: str) -> Fault | None:
        if self._address is not None:
            self.census.release(self._address, self.transport)
            self._address = None
        if not self.census.acquire(address, self.transport):
            return _FULL_OF_ADDRESS
        self._address = address
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        self._nobody_waits()
        super().connection_lost(exc)
        self._expect_nothing()
        self.resume_writing()
        if self._address is not None:
            self.census.release(self._address, self.transport)

    def shutdown(self) -> None:
        super().shutdown()
        if self.transport.is_closing():
            self._expect(self.limits.linger_seconds, self.transport.abort)

    # Reading.

    def data_received(self, data: bytes) -> None:
        at = 0
        while at < len(data) and not (self._refused or self._is_last or self.transport.is_closing()):
            piece = data[at : at + _PIECE_BYTES]
            self._stray_bytes += len(piece)
            if self._in_head and not self._begun:
                self._begin()
            try:
                self.parser.feed_data(piece)
                at += len(piece)
            except httptools.HttpParserUpgrade as end:
                # The parser has stopped behind a head with an offer to upgrade.
                at += end.args[0]
                if self._is_handshake:
                    self._upgrade(data[at:])
                    return
                self._ignore_offer()
            except httptools.HttpParserError:
                self._refuse(_MALFORMED)
            if self._stray_bytes > self.limits.head_bytes:
                self._refuse(_TOO_LARGE)

    def _begin(self) -> None:
        """Note that a head has begun: now it has to end."""
        self._begun = True
        if self._idle:
            self._expect(self.limits.head_seconds, self._too_slow)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._body_bytes = 0
        if not self._refused:
            self._begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        # The parser tells of trailers, too. Nobody reads them.
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._refused:
            return
        self._in_head = False
        self._stray_bytes = 0
        fault = self._fault or self._fault_of_head()
        if fault is None and self._peer_is_proxy and (client := self._forwarded_for()):
            fault = self._count_to(client)
        if fault is None and asks_for_websocket(self._method, self._version, self.headers):
            # The answer to a handshake would overtake the others.
            fault = fault_of_handshake(self.headers) if self._all_answered else _OVERTAKING
            self._is_handshake = True
        if fault is not None:
            self._refuse(fault)
        elif not self.parser.should_upgrade():  # else the parser stops here
            self._expect(self.limits.body_seconds, self._too_slow)
            super().on_headers_complete()

    def _fault_of_head(self) -> Fault | None:
        sizes = [len(name) + len(value) for name, value in self.headers]
        if (
            len(self.url) + sum(sizes) > self.limits.head_bytes
            or len(sizes) > _HEADERS_MAX
            or max(sizes, default=0) > _LINE_BYTES
            or len(self.url) > _URL_BYTES
            or self.url.count(b"%") > _ESCAPES_MAX
            or self._listed() > _LISTED_MAX
        ):
            return _TOO_LARGE
        # Browsers do not send a request before the answer to the last one.
        if len(self.pipeline) >= self.limits.pipelined_requests:
            return _PIPELINED
        if fault := fault_of(self._method, self._version, self.headers):
            return fault
        if not self.url.startswith(b"/") and self.url != b"*":
            try:
                self.url, self.headers[:] = in_origin_form(self.url, self.headers)
            except ValueError:
                return _MALFORMED
        return None

    def _listed(self) -> int:
        return sum(value.count(b",") + value.count(b";") for name, value in self.headers if name in _LISTS)

    @property
    def _method(self) -> bytes:
        return self.parser.get_method()

    @property
    def _version(self) -> str:
        return self.parser.get_http_version()

    @property
    def _peer_is_proxy(self) -> bool:
        return self.client is not None and self.client[0] in self.proxies

    def _forwarded_for(self) -> str:
        values = [value for name, value in self.headers if name == b"x-forwarded-for"]
        host, _ = self.proxies.get_trusted_client_address(b", ".join(values).decode("latin1"))
        return str(host)

    def _ignore_offer(self) -> None:
        """Read a head again without its offer to upgrade: the parser would take the body for another protocol."""
        if self._refused:
            return
        method, url, version, headers = self._method, self.url, self._version, without_offers(self.headers)
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        self._in_head = True
        lines = [b"%b %b HTTP/%b" % (method, url, version.encode()), *(b"%b: %b" % header for header in headers)]
        try:
            self.parser.feed_data(b"\r\n".join([*lines, b"", b""]))
        except httptools.HttpParserError:
            self._refuse(_MALFORMED)

    def on_body(self, body: bytes) -> None:
        self._stray_bytes = max(0, self._stray_bytes - len(body))
        if self._refused:
            return
        # One byte too many is enough for the application to refuse it, if it reads a body at all.
        room = self.limits.body_bytes + 1 - self._body_bytes
        self._body_bytes += len(body)
        if room > 0:
            super().on_body(body[:room])
        elif self._body_bytes > _UNREAD_BYTES:
            self._refuse(_BODY_TOO_LARGE)

    def on_message_complete(self) -> None:
        if self._refused or self.parser.should_upgrade():
            return
        self._in_head = True
        self._begun = False
        self._stray_bytes = 0
        self._is_last = not self.cycle.keep_alive
        super().on_message_complete()
        if self._answered:  # without waiting for the body
            self._await_head()
        else:
            self._expect_nothing()

    # Upgrading.

    def _upgrade(self, early: bytes) -> None:
        """Become a WebSocket.

        Args:
            early: what came behind the head; frames, if the peer did not wait for the answer.
        """
        if self._refused:
            return
        if self._address is not None and self.handshakes is not None:
            wait = self.handshakes.take(self._address, self.loop.time())
            if wait:
                self._refuse(_HANDSHAKES_OF_ADDRESS, retry_ms=ceil(wait * 1000))
                return
        self._expect_nothing()
        self.headers[:] = as_handshake(self.headers)
        self.scope["method"] = "GET"
        self.handle_websocket_upgrade()
        protocol = self.transport.get_protocol()
        # The WebSocket class parses the head anew. What it cannot read it drops without an answer, and would keep the
        # connection for ever.
        if not getattr(protocol, "handshake_initiated", True):
            self._refuse(_MALFORMED)
        elif early and not self.transport.is_closing():
            cast(Any, protocol).data_received(early)

    # Answering.

    @property
    def _answered(self) -> bool:
        """Whether the last request that has come is answered."""
        cycle = cast(RequestResponseCycle | None, self.cycle)
        return cycle is not None and cycle.response_complete

    @property
    def _all_answered(self) -> bool:
        return self._answering is None or self._answered

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._unset_keepalive_if_required()  # uvicorn's own timer stops at the first byte
        if self.transport.is_closing():
            self._expect(self.limits.linger_seconds, self.transport.abort)
        elif self._answered:  # else the next one of a pipeline has begun
            self._await_head()

    def _await_head(self) -> None:
        """Wait for the next request; or for the end of the last one, whose answer did not need its body."""
        if self._begun or not self._in_head:
            self._expect(self.limits.head_seconds, self._too_slow)
        else:
            self._expect(self.keep_alive_seconds, self._too_slow)
            self._idle = True

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def _nobody_waits(self) -> None:
        # uvicorn tells the last request of a pipeline only; the one that is being answered would write on.
        cycle = self._answering
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()

    def _too_slow(self) -> None:
        if self._begun or not self._in_head:
            self._refuse(_TOO_SLOW)
        else:
            self._close()

    def _refuse(self, fault: Fault, *, retry_ms: int = _RETRY_MS) -> None:
        if self._refused:
            return
        self._refused = True
        refused(fault.refusal)
        self._nobody_waits()
        cycle = self._answering
        if cycle is None or not cycle.response_started or cycle.response_complete:
            self.transport.write(self._answer(fault, retry_ms))
        self._close()

    def _answer(self, fault: Fault, retry_ms: int) -> bytes:
        status = fault.status
        again = status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
        body = problem_body(status, fault.detail, retry_after_ms=retry_ms if again else None)
        lines = [
            f"HTTP/1.1 {status.value} {status.phrase}",
            f"content-type: {MEDIA_TYPE}",
            f"content-length: {len(body)}",
            "connection: close",
            "cache-control: no-store",
            "x-content-type-options: nosniff",
            *fault.headers,
        ]
        if again:
            lines.append(f"retry-after: {retry_after(retry_ms)}")
        cors = self.cors.headers_for(self.headers or ())
        lines += [f"{name.decode()}: {value.decode('latin-1')}" for name, value in cors]
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + body

    def _close(self) -> None:
        self.transport.close()
        # Closing waits until the peer has read everything, which may be never.
        self._expect(self.limits.linger_seconds, self.transport.abort)

    # Deadlines: one for the peer to send or to go, one for it to read.

    def _expect(self, seconds: float, otherwise: Callable[[], None]) -> None:
        self._expect_nothing()
        self._deadline = self.loop.call_later(seconds, otherwise)

    def _expect_nothing(self) -> None:
        self._idle = False
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
