"""HttpBounds: what the HTTP connections of a service share."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Self, cast

from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from live_support.addresses import ConnectionLimiter
from live_support.http.cors import Cors
from live_support.http.origin import OriginGuard
from live_support.limits import Limits
from live_support.rate import Buckets, Rate
from live_support.settings import Settings

_HANDSHAKES: Final = Rate("20/second")


@dataclass(frozen=True)
class HttpBounds:
    """The bounds of one connection and of all of them, and the counters of their clients."""

    limits: Limits
    keep_alive_seconds: float
    max_connections: int
    limiter: ConnectionLimiter
    """Counts the connections of each address."""
    handshakes: Buckets | None
    """Bounds the WebSocket handshakes of each address; None for any number."""
    cors: Cors
    proxies: Any
    """Uvicorn's set of the proxies whose `X-Forwarded-For` names the client."""

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Make the bounds of a service with these settings."""
        handshakes = settings.handshake_rate
        # Where all clients seem to have one address, that address is not bounded.
        counts_handshakes = handshakes is not None or settings.max_per_address is not None
        return cls(
            limits=settings.limits,
            keep_alive_seconds=settings.keep_alive_seconds,
            max_connections=settings.max_connections,
            limiter=ConnectionLimiter(settings.max_per_address),
            handshakes=Buckets(handshakes or _HANDSHAKES) if counts_handshakes else None,
            cors=Cors(OriginGuard(settings).allows),
            proxies=ProxyHeadersMiddleware(cast(Any, None), list(settings.trusted_proxies)).trusted_hosts,
        )

    def is_proxy(self, address: str) -> bool:
        """Whether an address is that of a trusted proxy."""
        return address in self.proxies

    def forwarded_for(self, headers: Iterable[tuple[bytes, bytes]]) -> str:
        """Return the address of a proxy's client, by the headers of a request; "" if they do not name it."""
        values = [value for name, value in headers if name == b"x-forwarded-for"]
        host, _ = self.proxies.get_trusted_client_address(b", ".join(values).decode("latin1"))
        return str(host)
