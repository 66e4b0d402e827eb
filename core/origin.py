"""Which browser pages may connect (PROTOCOL section 6): their `Origin` is decided before the upgrade."""

import re
from typing import Any

from litestar.connection import ASGIConnection
from litestar.enums import ScopeType
from litestar.exceptions import PermissionDeniedException
from litestar.handlers.base import BaseRouteHandler

from core.settings import Settings

LOCALHOST = re.compile(r"https?://(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?")


class OriginGuard:
    """A Litestar guard; a client that is no browser sends no `Origin` and passes."""

    def __init__(self, settings: Settings) -> None:
        self._allowed = frozenset(settings.allowed_origins)
        self._any_localhost = settings.on_loopback and not self._allowed

    def __call__(self, connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
        """Let a connection pass; HTTP requests are CORS's business.

        Raises:
            PermissionDeniedException: the page is not on the allow-list; before the upgrade this is a 403.
        """
        origin = connection.headers.get("origin")
        if (
            connection.scope["type"] == ScopeType.WEBSOCKET
            and origin
            and not self._is_allowed(origin, connection.headers.get("host", ""))
        ):
            raise PermissionDeniedException("This origin is not allowed.")

    def _is_allowed(self, origin: str, host: str) -> bool:
        if self._allowed:
            return origin in self._allowed
        same_host = origin in (f"http://{host}", f"https://{host}")
        return same_host or (self._any_localhost and LOCALHOST.fullmatch(origin) is not None)
