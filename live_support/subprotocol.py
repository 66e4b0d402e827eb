"""The WebSocket subprotocols that a client may offer: a version of the protocol, and an agent's token.

Browsers cannot set headers at a handshake, but they can offer subprotocols. They fail a connection for which they
offered some and none was selected, so the version has a name that a browser offers beside its token.
"""

from collections.abc import Collection, Mapping
from typing import Any, Final, cast

from litestar.connection import ASGIConnection

from schemas import wire_v1
from schemas.wire import Wire

V1: Final = "live-support.v1"
"""The version that is used without any subprotocol, too."""
BEARER: Final = "bearer."
"""Prefix of a token. Never selected, so the token is not repeated in the answer."""

_WIRES: Final[Mapping[str | None, Wire]] = {V1: wire_v1.V1, None: wire_v1.V1}
"""The version of each name, the best first, and the one without a name."""


def select(socket: ASGIConnection[Any, Any, Any, Any]) -> str | None:
    """Return the version to select; None where the client offers none that is known."""
    offered = _offered(socket)
    return next((name for name in _WIRES if name in offered), None)


def wire(selected: str | None) -> Wire:
    """Return how frames are read and written in the version that `select` returned."""
    return _WIRES[selected]


def tokens(socket: ASGIConnection[Any, Any, Any, Any]) -> list[str]:
    """Return the tokens that a client offers."""
    return [name.removeprefix(BEARER) for name in _offered(socket) if name.startswith(BEARER)]


def _offered(socket: ASGIConnection[Any, Any, Any, Any]) -> Collection[str]:
    return cast(Collection[str], socket.scope.get("subprotocols", ()))
