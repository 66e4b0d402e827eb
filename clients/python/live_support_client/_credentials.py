"""Credentials: the headers with which a connection is opened, and whether another token may help."""

import asyncio
import inspect

from live_support_client._checks import checked_token
from live_support_client._errors import NotAuthenticated
from live_support_client._options import Options, Token
from live_support_client._reconnect import NoToken

# A connection that stood so long was not refused for its token: the token has ended since.
_TOKEN_TAKEN_SECONDS = 1.0


class Credentials:
    """The token of one client, or the function that gives it.

    Args:
        token: shown when connecting.
        options: how to connect.
    """

    def __init__(self, token: Token | None, options: Options) -> None:
        self._token = token if token is None or callable(token) else checked_token(token)
        self._options = options
        self._renewing = False
        self._connected_at = 0.0

    async def headers(self) -> dict[str, str]:
        """Return the headers of a handshake.

        Raises:
            NoToken: the function gave none; its cause says why.
            ValueError: what it gave is no token.
        """
        token = self._token
        if callable(token):
            try:
                async with asyncio.timeout(self._options.connect_seconds):
                    given = token()
                    token = await given if inspect.isawaitable(given) else given
            except Exception as error:
                raise NoToken from error
            token = checked_token(token)
        headers = dict(self._options.headers)
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        return headers

    def connected(self) -> None:
        """Note that a connection stands."""
        self._connected_at = asyncio.get_running_loop().time()

    def lost(self) -> None:
        """Note that it has ended."""
        if asyncio.get_running_loop().time() - self._connected_at > _TOKEN_TAKEN_SECONDS:
            self._renewing = False

    def may_renew(self, reason: Exception) -> bool:
        """Whether the token has ended, and there may be another one. A new one that is refused is not tried again."""
        if not isinstance(reason, NotAuthenticated) or not callable(self._token) or self._renewing:
            return False
        self._renewing = True
        return True
