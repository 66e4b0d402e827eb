"""Which browser pages may connect (PROTOCOL section 6), and by which names a service on loopback is reached.

Both are decided before the upgrade, and before a request does anything.
"""

import re
from typing import Any
from urllib.parse import urlsplit

from litestar.connection import ASGIConnection
from litestar.exceptions import PermissionDeniedException
from litestar.handlers.base import BaseRouteHandler

from core.refusal_log import Refusal, refused
from core.settings import Settings

LOCALHOST = re.compile(r"https?://(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?")
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^:\[\]]+)(:[0-9]{1,5})?")


class OriginGuard:
    """A Litestar guard; a client that is no browser sends no `Origin` and passes.

    It is a coroutine because Litestar runs a plain function in a thread.
    """

    def __init__(self, settings: Settings) -> None:
        self._allowed = frozenset(settings.allowed_origins)
        self._any_localhost = settings.on_loopback and not self._allowed
        self._hosts = _loopback_names(settings) if settings.on_loopback else None

    async def __call__(self, connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
        """Let a connection pass.

        Raises:
            PermissionDeniedException: the page is not on the allow-list, or it has reached this machine under a name
                that is not this machine's; before the upgrade this is a 403, too.
        """
        host = connection.headers.get("host", "")
        if self._hosts is not None and not self._is_ours(host):
            refused(Refusal.HOST)
            raise PermissionDeniedException("This host is not served here.")
        origin = connection.headers.get("origin")
        if origin and not self._is_allowed(origin, host):
            refused(Refusal.ORIGIN)
            raise PermissionDeniedException("This origin is not allowed.")

    def _is_ours(self, host: str) -> bool:
        # A foreign name that leads to loopback is DNS rebinding: its page would pass as one of the same host. The port
        # is not compared: it may be forwarded, and a page cannot choose the name with it.
        match = _HOST.fullmatch(host.lower())
        return not host or (match is not None and match[1] in (self._hosts or ()))

    def _is_allowed(self, origin: str, host: str) -> bool:
        if self._allowed:
            return origin in self._allowed
        same_host = origin in (f"http://{host}", f"https://{host}")
        return same_host or (self._any_localhost and LOCALHOST.fullmatch(origin) is not None)


def _loopback_names(settings: Settings) -> frozenset[str]:
    own = f"[{settings.host}]" if ":" in settings.host else settings.host
    listed = (urlsplit(origin).netloc for origin in settings.allowed_origins)
    names = (match[1] for netloc in listed if (match := _HOST.fullmatch(netloc.lower())))
    return frozenset({"localhost", "127.0.0.1", "[::1]", own.lower(), *names})


def is_cross_site(request: ASGIConnection[Any, Any, Any, Any]) -> bool:
    """Whether a browser was led to an address by a foreign page, as by an image or a link.

    A request with an `Origin` is the guard's business: an allowed page may be of another site.
    """
    return request.headers.get("sec-fetch-site") == "cross-site" and "origin" not in request.headers
