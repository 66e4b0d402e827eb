"""Client addresses: which of them count as one, and how many connections each may have."""

from asyncio import BaseTransport
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final

_PURGE_AFTER: Final = 1024


def network(address: str) -> str:
    """Return the key for rates and caps: an IPv4 address, or the /64 that an IPv6 host has to itself."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address  # not an IP address, as over a Unix socket
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ip_network((int(parsed), 64), strict=False))


class ConnectionLimiter:
    """Bounds the open connections of each client address in this process.

    A connection may be closed by another object once it has become a WebSocket. So its transport is asked whether it
    is still open: when its address has reached the limit, and for all addresses from time to time.

    Args:
        limit: connections that one address may have; None for any number.
    """

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._open: dict[str, set[BaseTransport]] = {}
        self._until_purge = _PURGE_AFTER

    @property
    def known(self) -> int:
        """How many connections are remembered, some of which may be closed."""
        return sum(map(len, self._open.values()))

    def acquire(self, address: str, transport: BaseTransport) -> bool:
        """Count a connection to an address; return whether the address may have it."""
        if self._limit is None:
            return True
        key = network(address)
        own = self._open.setdefault(key, set())
        if len(own) >= self._limit:
            own = self._open[key] = _still_open(own)
        if len(own) >= self._limit:
            return False
        own.add(transport)
        self._until_purge -= 1
        if self._until_purge <= 0:
            self._purge()
        return True

    def release(self, address: str, transport: BaseTransport) -> None:
        """Forget a connection, if it was counted to this address."""
        key = network(address)
        own = self._open.get(key)
        if own is not None:
            own.discard(transport)
            if not own:
                del self._open[key]

    def _purge(self) -> None:
        remaining = ((key, _still_open(own)) for key, own in self._open.items())
        self._open = {key: own for key, own in remaining if own}
        # So each new connection pays for checking a few others at most, however many there are.
        self._until_purge = max(_PURGE_AFTER, self.known)


def _still_open(transports: set[BaseTransport]) -> set[BaseTransport]:
    return {transport for transport in transports if not transport.is_closing()}
