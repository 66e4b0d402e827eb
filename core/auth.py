"""Who is an agent: the tokens (JWT, RFC 7519) that a handshake shows (PROTOCOL section 6)."""

import asyncio
import time
from collections.abc import Callable, Mapping
from hashlib import sha256
from math import inf
from typing import Any, Final, NamedTuple, Self

import jwt
from litestar.connection import ASGIConnection

from core import subprotocol
from core.agent_keys import Key, load_keys
from schemas.errors import CloseCode, NotAuthenticated

SCOPE: Final = "agent"
"""What the `scope` of an agent's token contains."""

_TOKEN_CHARACTERS = 8192
_SUBJECT_CHARACTERS = 255
# For `nbf` only: an issuer's clock may be ahead of ours. A token ends when it says so.
_CLOCK_SECONDS = 30
# What PyJWT lets through of `json`, `base64` and `int` on hostile tokens, besides its own errors.
_DECODE_ERRORS = (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError)


class Agent(NamedTuple):
    """Who a connection's token says is there."""

    id: str
    """A hash of the token's `sub`: Redis and the logs need not know more. Empty where no token is needed."""
    name: str | None
    """The token's `name`, which goes before the one that a `Join` gives."""
    expires_at: float
    """When the token ends, in seconds of POSIX time."""

    def claim_id(self, connection_id: str) -> str:
        """Name what this agent claims over a connection; `hold.lua` reads the agent out of it."""
        return f"{self.id}:{connection_id}"


ANYBODY = Agent(id="", name=None, expires_at=inf)
"""The agent of a service that asks for no token."""


class AgentAuth:
    """Tells agents by their tokens.

    Args:
        keys: by the `kid` that a token names; empty lets everybody be an agent.
        audience: what a token's `aud` must contain; without one, a token that has an `aud` is for somebody else.
    """

    def __init__(self, keys: Mapping[str | None, Key], audience: str | None = None) -> None:
        self._keys = keys
        self._audience = audience

    @classmethod
    def of_setting(cls, text: str | None, audience: str | None = None) -> Self:
        """Read the keys that `AGENT_JWT_KEY` names; None asks for no token.

        Raises:
            UnusableKey: the text is neither a good secret nor leads to public keys.
        """
        return cls({} if text is None else load_keys(text), audience)

    def agent_of(self, socket: ASGIConnection[Any, Any, Any, Any]) -> Agent:
        """Tell who connects, by the handshake's `Authorization` header or subprotocol.

        Raises:
            NotAuthenticated: there is no token, or it does not make an agent now.
        """
        return self.agent(_token_of(socket)) if self._keys else ANYBODY

    def agent(self, token: str) -> Agent:
        """Check a token.

        Raises:
            NotAuthenticated: it does not make its bearer an agent now.
        """
        if len(token) > _TOKEN_CHARACTERS:
            raise NotAuthenticated
        try:
            key = self._key_for(token)
            claims = jwt.decode(
                token,
                key.value,
                algorithms=[key.algorithm],
                audience=self._audience,
                leeway=_CLOCK_SECONDS,
                options={"require": ["sub", "exp"], "verify_iat": False},
            )
            agent = _agent(claims)
        except _DECODE_ERRORS:
            raise NotAuthenticated from None
        if agent.expires_at <= time.time():
            raise NotAuthenticated
        return agent

    def _key_for(self, token: str) -> Key:
        if None in self._keys:  # then it is the only one
            return self._keys[None]
        kid = jwt.get_unverified_header(token).get("kid")
        if kid is None and len(self._keys) == 1:
            kid = next(iter(self._keys))
        if not isinstance(kid, str) or kid not in self._keys:
            raise NotAuthenticated
        return self._keys[kid]


def _agent(claims: Mapping[str, Any]) -> Agent:
    subject, scope, name = claims["sub"], claims.get("scope"), claims.get("name")
    scopes = scope.split() if isinstance(scope, str) else scope
    if not isinstance(scopes, list) or SCOPE not in scopes or not 1 <= len(subject) <= _SUBJECT_CHARACTERS:
        raise NotAuthenticated
    return Agent(
        id=sha256(subject.encode()).hexdigest()[:32],
        name=name if isinstance(name, str) and name.strip() else None,
        expires_at=float(claims["exp"]),
    )


def _token_of(socket: ASGIConnection[Any, Any, Any, Any]) -> str:
    scheme, _, token = socket.headers.get("authorization", "").partition(" ")
    given = [token.strip()] if scheme.lower() == "bearer" else subprotocol.tokens(socket)
    if len(given) != 1:
        raise NotAuthenticated
    return given[0]


def close_at_expiry(agent: Agent, close: Callable[[CloseCode], None]) -> Callable[[], None]:
    """Let a connection close when its agent's token ends; returns what calls that off."""
    if agent is ANYBODY:
        return lambda: None
    seconds = max(0.0, agent.expires_at - time.time())
    return asyncio.get_running_loop().call_later(seconds, close, CloseCode.NOT_AUTHENTICATED).cancel
