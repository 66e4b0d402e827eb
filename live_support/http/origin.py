"""Which browser pages may connect (PROTOCOL section 6), and under which names a service on loopback may be reached.

Both are checked before the upgrade, and before a request has any effect.
"""

from typing import Any

from litestar.connection import ASGIConnection
from litestar.exceptions import PermissionDeniedException
from litestar.handlers.base import BaseRouteHandler

from live_support.refusal_log import Refusal, refused
from live_support.settings import Settings
from live_support.web_address import DEFAULT_PORTS, Address, WebOrigin, parse_address, parse_origin

_DEFAULT_PORTS = frozenset({None, *DEFAULT_PORTS.values()})


class OriginGuard:
    """A Litestar guard. A client that is not a browser sends no `Origin` and may connect.

    It is a coroutine because Litestar runs a plain function in a thread.
    """

    def __init__(self, settings: Settings) -> None:
        self._allowed = frozenset(map(parse_origin, settings.allowed_origins))
        self._any_localhost = settings.on_loopback and not self._allowed
        self._hosts = _own_names(settings, self._allowed) if settings.on_loopback else None

    async def __call__(self, connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
        """Check a request or handshake.

        Raises:
            PermissionDeniedException: the page is not on the allow-list, or has reached this machine under a name
                that is not this machine's. A handshake is answered with 403, too.
        """
        host = connection.headers.get("host", "")
        if host and not self._is_ours(host):
            refused(Refusal.HOST, host=_shown(_address(host)))
            raise PermissionDeniedException("This host is not allowed.")
        # No browser sends an empty `Origin`, or two of them.
        for origin in connection.headers.getall("origin", []):
            if not self.allows(origin, host):
                refused(Refusal.ORIGIN, origin=_shown(_origin(origin)), host=_shown(_address(host)))
                raise PermissionDeniedException("This origin is not allowed.")

    def allows(self, origin_text: str, host_text: str) -> bool:
        """Whether a page may connect to a host and read its answers."""
        origin = _origin(origin_text)
        if origin is None:
            return False
        if self._allowed:
            return origin in self._allowed
        of_this_machine = self._any_localhost and origin.scheme in DEFAULT_PORTS and origin.address.is_loopback
        return of_this_machine or _is_same_host(origin, _address(host_text))

    def _is_ours(self, text: str) -> bool:
        # A foreign name that resolves to loopback is DNS rebinding: its page would count as one of the same host. The
        # port is not compared: it may be forwarded, and a page cannot choose the name with it.
        if self._hosts is None:
            return True
        address = _address(text)
        return address is not None and (address.is_loopback or address.host in self._hosts)


def _own_names(settings: Settings, allowed: frozenset[WebOrigin]) -> frozenset[str]:
    own = (parse_address(f"[{host}]" if ":" in host else host).host for host in settings.hosts)
    return frozenset({*own, *(origin.address.host for origin in allowed)})


def _is_same_host(origin: WebOrigin, host: Address | None) -> bool:
    """Whether a page comes from the host that it connects to.

    A proxy between the two may add or remove a default port, and may end TLS, so the scheme is not known.
    """
    if host is None or origin.scheme not in DEFAULT_PORTS or origin.address.host != host.host:
        return False
    port = origin.address.port
    return (port or DEFAULT_PORTS[origin.scheme]) == host.port or (port is None and host.port in _DEFAULT_PORTS)


def _origin(text: str) -> WebOrigin | None:
    try:
        # Browsers encode all other characters.
        return parse_origin(text) if text.isascii() else None
    except ValueError:
        return None


def _address(text: str) -> Address | None:
    try:
        return parse_address(text) if text.isascii() else None
    except ValueError:
        return None


def _shown(value: WebOrigin | Address | None) -> str:
    match value:
        case None:
            return "none that a browser sends"
        case WebOrigin():
            return value.text
        case Address(host, port):
            return host if port is None else f"{host}:{port}"


def is_cross_site(request: ASGIConnection[Any, Any, Any, Any]) -> bool:
    """Whether a browser was led to an address by a foreign page, as by an image or a link.

    A request with an `Origin` is checked by the guard: an allowed page may be of another site.
    """
    return request.headers.get("sec-fetch-site", "").strip().lower() == "cross-site" and "origin" not in request.headers
