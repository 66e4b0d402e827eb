"""BoundedProtocol: uvicorn's HTTP class with bounds on connections: their number, and the time each may take."""

from asyncio import TimerHandle, Transport
from collections.abc import Callable
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from live_support.http.bounds import HttpBounds
from live_support.http.faults import FULL, FULL_OF_ADDRESS, RETRY_MS, TOO_SLOW, Fault, answer_of
from live_support.refusal_log import Refusal, refused

# Above `max_connections` a client gets 503; above that plus this many it is aborted without an answer.
_MAX_REFUSED = 256
_REFUSED_SECONDS = 1.0


class BoundedProtocol(HttpToolsProtocol):
    """Admits a connection, watches its deadlines, and refuses what exceeds the bounds. `HttpProtocol` reads requests.

    Of uvicorn's class it relies on names that are not public: `client`, `connections`, `headers`, `cycle`,
    `on_response_complete`, `_start_asgi_task`, `_unset_keepalive_if_required`; and of `RequestResponseCycle` on
    `disconnected`, `message_event`, `response_started` and `response_complete`.

    Args:
        bounds: of the service.
        args: uvicorn's.
        options: uvicorn's.
    """

    def __init__(self, *args: Any, bounds: HttpBounds, **options: Any) -> None:
        super().__init__(*args, **options)
        self.access_log = False  # whatever the logging configuration: a path holds the chatId
        self._bounds = bounds
        self._limits = bounds.limits
        self._address: str | None = None
        """The address to which the connection is counted."""
        self._fault: Fault | None = None
        """Why the first request will be refused, whatever it asks for."""
        self._refused = False
        self._in_head = True
        """Whether the next data belongs to a head."""
        self._head_begun = False
        """Whether the next head has begun."""
        self._idle = False
        """Whether only the keep-alive deadline counts until the next request."""
        self._answering: RequestResponseCycle | None = None
        # Until when the client must have sent what is expected or closed; and until when it must have read.
        self._deadline: TimerHandle | None = None
        self._read_deadline: TimerHandle | None = None

    # Connecting and disconnecting.

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        over = len(self.connections) - self._bounds.max_connections
        if over > _MAX_REFUSED:
            refused(Refusal.CONNECTIONS)
            transport.abort()
            return
        peer = self.client[0] if self.client else ""
        if over > 0:
            self._fault = FULL
        elif not self._bounds.is_proxy(peer):
            self._fault = self._count(peer)
        if self._fault is None:
            self._set_deadline(self._limits.head_seconds, self._on_deadline)
        else:
            # The answer waits for the request: an answer to unread data would be lost by the reset.
            self._set_deadline(_REFUSED_SECONDS, self._refuse_connection)

    def _refuse_connection(self) -> None:
        fault = cast(Fault, self._fault)
        if self._head_begun:
            self._refuse(fault)
        else:
            refused(fault.refusal)
            self.transport.abort()

    def _count(self, address: str) -> Fault | None:
        if self._address is not None:
            self._bounds.limiter.release(self._address, self.transport)
            self._address = None
        if not self._bounds.limiter.acquire(address, self.transport):
            return FULL_OF_ADDRESS
        self._address = address
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_answer()
        super().connection_lost(exc)
        self._clear_deadline()
        self.resume_writing()
        if self._address is not None:
            self._bounds.limiter.release(self._address, self.transport)

    # Answering.

    @property
    def _answered(self) -> bool:
        """Whether the last request that arrived is answered."""
        cycle = cast(RequestResponseCycle | None, self.cycle)
        return cycle is not None and cycle.response_complete

    @property
    def _all_answered(self) -> bool:
        return self._answering is None or self._answered

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._unset_keepalive_if_required()  # uvicorn's own timer stops at the first byte
        if self.transport.is_closing():
            self._set_deadline(self._limits.linger_seconds, self.transport.abort)
        elif self._answered:  # else the next one of a pipeline has begun
            self._await_head()

    def _await_head(self) -> None:
        """Wait for the next request, or for the rest of a request that was answered before its body was complete."""
        if self._head_begun or not self._in_head:
            self._set_deadline(self._limits.head_seconds, self._on_deadline)
        else:
            self._set_deadline(self._bounds.keep_alive_seconds, self._on_deadline)
            self._idle = True

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def _end_answer(self) -> None:
        # uvicorn informs only the last request of a pipeline; the one that is being answered would go on writing.
        cycle = self._answering
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()

    def _on_deadline(self) -> None:
        if self._head_begun or not self._in_head:
            self._refuse(TOO_SLOW)
        else:
            self._close()

    def _refuse(self, fault: Fault, *, retry_ms: int = RETRY_MS) -> None:
        if self._refused:
            return
        self._refused = True
        refused(fault.refusal)
        self._end_answer()
        cycle = self._answering
        if cycle is None or not cycle.response_started or cycle.response_complete:
            self.transport.write(answer_of(fault, self._bounds.cors.headers_for(self.headers or ()), retry_ms))
        self._close()

    def shutdown(self) -> None:
        super().shutdown()
        if self.transport.is_closing():
            self._set_deadline(self._limits.linger_seconds, self.transport.abort)

    def _close(self) -> None:
        self.transport.close()
        # Closing waits until the client has read everything, which may be never.
        self._set_deadline(self._limits.linger_seconds, self.transport.abort)

    # Deadlines: one for the client to send or close, one for it to read.

    def _set_deadline(self, seconds: float, on_expiry: Callable[[], None]) -> None:
        self._clear_deadline()
        self._deadline = self.loop.call_later(seconds, on_expiry)

    def _clear_deadline(self) -> None:
        self._idle = False
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def pause_writing(self) -> None:
        super().pause_writing()
        self._read_deadline = self.loop.call_later(self._limits.read_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._read_deadline is not None:
            self._read_deadline.cancel()
            self._read_deadline = None
