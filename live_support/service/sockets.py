"""The sockets that a service listens on: one for each address of `HOST`, all on one port."""

import errno
import socket
from collections.abc import Sequence
from typing import Any

_ANYWHERE = {socket.AF_INET: "0.0.0.0", socket.AF_INET6: "::"}  # noqa: S104 - compared with
_TRIES = 20


class PortRefused(Exception):
    """Raised when the service cannot listen on an address."""

    def __init__(self, host: str, port: int, error: OSError) -> None:
        self.host = host
        self.port = port
        # An unknown name has an error of another kind, whose numbers are not those of the system.
        self.reason = "already in use" if error.errno == errno.EADDRINUSE else (error.strerror or str(error)).lower()
        super().__init__(f"port {port} on {host}: {self.reason}")


def open_sockets(hosts: Sequence[str], port: int, *, shared: bool = False) -> list[socket.socket]:
    """Bind a port at each address of some hosts. The sockets do not listen yet: connections would have to wait.

    `::` is both families, unless all of IPv4 is named, too.

    Args:
        hosts: addresses or names.
        port: 0 for one that is free at all of them.
        shared: let other processes share it.

    Raises:
        PortRefused: an address cannot be bound.
    """
    for _ in range(_TRIES):
        try:
            return _bind(hosts, port, shared=shared)
        except PortRefused as refused:
            # The port that is free at the first address may be taken at another.
            if port != 0 or refused.reason != "already in use":
                raise
    return _bind(hosts, port, shared=shared)


def _bind(hosts: Sequence[str], port: int, *, shared: bool) -> list[socket.socket]:
    addresses = _addresses(hosts, port)
    # A socket on all addresses of a family needs no other one on a single address, which could not be bound anyway.
    everywhere = {family for family, address in addresses if address[0] == _ANYWHERE[family]}
    both = everywhere == {socket.AF_INET6}
    opened: list[socket.socket] = []
    for (family, address), host in addresses.items():
        if address[0] != _ANYWHERE[family] and (both or family in everywhere):
            continue
        each = socket.socket(family, socket.SOCK_STREAM)
        opened.append(each)
        each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            each.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not both)
        try:
            each.bind((address[0], port, *address[2:]))
        except OSError as error:
            for bound in opened:
                bound.close()
            raise PortRefused(host, port, error) from None
        port = each.getsockname()[1]
    return opened


def _addresses(hosts: Sequence[str], port: int) -> dict[tuple[socket.AddressFamily, Any], str]:
    """Resolve the hosts; each address once, since a second socket would get a share of its connections."""
    found: dict[tuple[socket.AddressFamily, Any], str] = {}
    for host in hosts:
        try:
            known = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        except OSError as error:
            raise PortRefused(host, port, error) from None
        for family, _, _, _, address in known:
            found.setdefault((family, address), host)
    return found
