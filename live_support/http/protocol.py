"""HttpProtocol: uvicorn's HTTP class, with bounds on requests before an application sees them.

uvicorn waits for ever for the head of a request, accepts one of any size, and lets a client that does not read keep its
socket. Here are the bounds on requests: the size of the head, of trailers and of chunk headers, and the handshakes of
one address. Those on connections are in `live_support.http.bounded_protocol`: time for the head, for the body and for
reading the answer, connections of one address and of all. A client that exceeds a bound gets a problem with status
408, 429, 431 or 503, and is closed; and so is one that breaks the rules of HTTP (`live_support.http.head`).
"""

from math import ceil
from typing import Any, cast

import httptools

from live_support.http.bounded_protocol import BoundedProtocol
from live_support.http.bounds import HttpBounds
from live_support.http.faults import (
    BODY_TOO_LARGE,
    HANDSHAKES_OF_ADDRESS,
    MALFORMED,
    OVERTAKING,
    PIPELINED,
    TOO_LARGE,
    Fault,
)
from live_support.http.head import (
    as_handshake,
    asks_for_websocket,
    fault_of,
    fault_of_handshake,
    in_origin_form,
    is_too_large,
    without_offers,
)

# One read may hold many times what a client may send in all, so it is parsed in pieces.
_PIECE_BYTES = 4096
# How much of a body that no route reads is accepted, so that the client sees the answer: a reset could lose it.
_UNREAD_BYTES = 1024 * 1024


class HttpProtocol(BoundedProtocol):
    """One connection, until it becomes a WebSocket.

    Of uvicorn's class it relies on names that are not public: `parser`, `headers`, `url`, `scope`, `cycle`, `pipeline`,
    `client`, the parser's callbacks (`on_message_begin`, `on_header`, `on_headers_complete`, `on_body`,
    `on_message_complete`), `handle_websocket_upgrade`; and of `RequestResponseCycle` on `keep_alive`. It replaces
    `data_received`, which alone would call `send_400_response`, `_should_upgrade` and `_unsupported_upgrade_warning`.
    """

    def __init__(self, *args: Any, bounds: HttpBounds, **options: Any) -> None:
        super().__init__(*args, bounds=bounds, **options)
        self._is_handshake = False
        self._is_last = False
        self._stray_bytes = 0
        """Bytes since the last head or piece of a body that are neither, such as trailers."""
        self._body_bytes = 0

    # Reading.

    def data_received(self, data: bytes) -> None:
        at = 0
        while at < len(data) and not (self._refused or self._is_last or self.transport.is_closing()):
            piece = data[at : at + _PIECE_BYTES]
            self._stray_bytes += len(piece)
            if self._in_head and not self._head_begun:
                self._begin()
            try:
                self.parser.feed_data(piece)
                at += len(piece)
            except httptools.HttpParserUpgrade as end:
                # The parser has stopped after a head with an offer to upgrade.
                at += end.args[0]
                if self._is_handshake:
                    self._upgrade(data[at:])
                    return
                self._ignore_offer()
            except httptools.HttpParserError:
                self._refuse(MALFORMED)
            if self._stray_bytes > self._limits.head_bytes:
                self._refuse(TOO_LARGE)

    def _begin(self) -> None:
        """Note that a head has begun, so that its deadline counts."""
        self._head_begun = True
        if self._idle:
            self._set_deadline(self._limits.head_seconds, self._on_deadline)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._body_bytes = 0
        if not self._refused:
            self._begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        # The parser reports trailers, too. They are not used.
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._refused:
            return
        self._in_head = False
        self._stray_bytes = 0
        fault = self._fault or self._fault_of_head()
        if fault is None and self._peer_is_proxy and (client := self._bounds.forwarded_for(self.headers)):
            fault = self._count(client)
        if fault is None and asks_for_websocket(self._method, self._version, self.headers):
            # The answer to a handshake would overtake those to earlier requests.
            fault = fault_of_handshake(self.headers) if self._all_answered else OVERTAKING
            self._is_handshake = True
        if fault is not None:
            self._refuse(fault)
        elif not self.parser.should_upgrade():  # otherwise the parser stops here
            self._set_deadline(self._limits.body_seconds, self._on_deadline)
            super().on_headers_complete()

    def _fault_of_head(self) -> Fault | None:
        if is_too_large(self.url, self.headers, self._limits.head_bytes):
            return TOO_LARGE
        # Browsers do not pipeline handshakes.
        if len(self.pipeline) >= self._limits.pipelined_requests:
            return PIPELINED
        if fault := fault_of(self._method, self._version, self.headers):
            return fault
        if not self.url.startswith(b"/") and self.url != b"*":
            try:
                self.url, self.headers[:] = in_origin_form(self.url, self.headers)
            except ValueError:
                return MALFORMED
        return None

    @property
    def _method(self) -> bytes:
        return self.parser.get_method()

    @property
    def _version(self) -> str:
        return self.parser.get_http_version()

    @property
    def _peer_is_proxy(self) -> bool:
        return self.client is not None and self._bounds.is_proxy(self.client[0])

    def _ignore_offer(self) -> None:
        """Parse a head again without its offer to upgrade: the parser would take the body for another protocol."""
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
            self._refuse(MALFORMED)

    def on_body(self, body: bytes) -> None:
        self._stray_bytes = max(0, self._stray_bytes - len(body))
        if self._refused:
            return
        # One byte too many is enough for an application that reads the body to refuse it.
        room = self._limits.body_bytes + 1 - self._body_bytes
        self._body_bytes += len(body)
        if room > 0:
            super().on_body(body[:room])
        elif self._body_bytes > _UNREAD_BYTES:
            self._refuse(BODY_TOO_LARGE)

    def on_message_complete(self) -> None:
        if self._refused or self.parser.should_upgrade():
            return
        self._in_head = True
        self._head_begun = False
        self._stray_bytes = 0
        self._is_last = not self.cycle.keep_alive
        super().on_message_complete()
        if self._answered:  # without waiting for the body
            self._await_head()
        else:
            self._clear_deadline()

    # Upgrading.

    def _upgrade(self, early: bytes) -> None:
        """Become a WebSocket.

        Args:
            early: data after the head: frames of a client that did not wait for the answer.
        """
        if self._refused:
            return
        if self._address is not None and self._bounds.handshakes is not None:
            wait = self._bounds.handshakes.take(self._address, self.loop.time())
            if wait:
                self._refuse(HANDSHAKES_OF_ADDRESS, retry_ms=ceil(wait * 1000))
                return
        self._clear_deadline()
        self.headers[:] = as_handshake(self.headers)
        self.scope["method"] = "GET"
        self.handle_websocket_upgrade()
        protocol = self.transport.get_protocol()
        # The WebSocket class parses the head again. It drops a head that it cannot read without an answer, and would
        # keep the connection for ever.
        if not getattr(protocol, "handshake_initiated", True):
            self._refuse(MALFORMED)
        elif early and not self.transport.is_closing():
            cast(Any, protocol).data_received(early)
