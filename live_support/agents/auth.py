"""Authenticates agents by the tokens (JWT, RFC 7519) of their handshakes (PROTOCOL section 6)."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from math import inf, isnan
from typing import Any, NamedTuple, Self, TypeGuard

import jwt
from jwt.exceptions import InvalidSubjectError
from litestar.connection import ASGIConnection

from live_support import subprotocol
from live_support.agents.keys import Key, load_keys
from live_support.environment import PREFIX
from live_support.refusal_log import Refusal, refused
from live_support.settings import Settings, SettingsError
from schemas.errors import CloseCode, InvalidContent, NotAuthenticated
from schemas.text import clean_name

_TOKEN_CHARACTERS = 8192
_SUBJECT_CHARACTERS = 255
# For `nbf` only: an issuer's clock may be ahead of ours. A token ends exactly at its `exp`.
_CLOCK_SECONDS = 30
# The year 2100. An `exp` beyond it is a mistake, such as milliseconds.
_LATEST_END = 4_102_444_800
# Exceptions of `json` and `base64` that PyJWT does not catch on hostile tokens.
_DECODE_ERRORS = (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError)
_REFUSALS: dict[type[Exception], Refusal] = {
    jwt.InvalidSignatureError: Refusal.TOKEN_SIGNATURE,
    jwt.InvalidAlgorithmError: Refusal.TOKEN_ALGORITHM,
    jwt.InvalidAudienceError: Refusal.TOKEN_AUDIENCE,
    jwt.MissingRequiredClaimError: Refusal.TOKEN_AUDIENCE,
    InvalidSubjectError: Refusal.TOKEN_SUBJECT,
}


class NoAgent(NotAuthenticated):
    """Raised when a token does not make its bearer an agent."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__()
        self.refusal = refusal


class Agent(NamedTuple):
    """The bearer of a connection's token."""

    id: str
    """A hash of the token's `sub`, all that Redis and the logs need. Empty where no token is needed."""
    name: str | None
    """The token's `name`, which replaces the one of a `Join`."""
    expires_at: float
    """When the token ends, in seconds of POSIX time."""


ANYBODY = Agent(id="", name=None, expires_at=inf)
"""The agent of a service that requires no token."""


class AgentAuth:
    """Authenticates agents by their tokens.

    Args:
        keys: by the `kid` that a token names; if empty, every client may be an agent.
        audience: what a token's `aud` must contain; without one, a token that has an `aud` is refused.
        scope_claim: the name of the claim that lists what a token's bearer may do.
        scope: the word in that claim that makes the bearer an agent.
    """

    def __init__(self, keys: Mapping[str | None, Key], *, audience: str | None, scope_claim: str, scope: str) -> None:
        self._keys = keys
        self._audience = audience
        self._scope_claim = scope_claim
        self._scope = scope

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Read the keys that the settings name; without one, no token is required.

        Raises:
            UnusableKey: a key cannot be used.
        """
        return cls(
            load_keys(settings.agent_jwt_key, settings.agent_jwt_secret),
            audience=settings.agent_jwt_audience,
            scope_claim=settings.agent_jwt_scope_claim,
            scope=settings.agent_jwt_scope,
        )

    def agent_of(self, tokens: Sequence[str]) -> Agent:
        """Authenticate a client by its handshake's `offered_tokens`.

        Raises:
            NotAuthenticated: there is no token, or it does not make its bearer an agent now.
        """
        if not self._keys:
            return ANYBODY
        try:
            return self.agent(_only(tokens))
        except NoAgent as error:
            refused(error.refusal)
            raise

    def agent(self, token: str) -> Agent:
        """Check a token.

        Raises:
            NoAgent: the token does not make its bearer an agent now.
        """
        if len(token) > _TOKEN_CHARACTERS:
            raise NoAgent(Refusal.TOKEN_MALFORMED)
        try:
            key = self._key_for(token)
            claims = jwt.decode(
                token,
                key.value,
                algorithms=[key.algorithm],
                audience=self._audience,
                # `exp` and `nbf` are checked here: PyJWT would accept texts for them.
                options={"verify_exp": False, "verify_nbf": False, "verify_iat": False},
            )
        except _DECODE_ERRORS as error:
            raise NoAgent(_REFUSALS.get(type(error), Refusal.TOKEN_MALFORMED)) from None
        end = _valid_until(claims, time.time())
        if not self._has_scope(claims):
            raise NoAgent(Refusal.TOKEN_SCOPE)
        return Agent(id=_agent_id(claims.get("sub")), name=_name(claims.get("name")), expires_at=end)

    def _key_for(self, token: str) -> Key:
        if None in self._keys:  # then it is the only one
            return self._keys[None]
        kid = jwt.get_unverified_header(token).get("kid")
        if kid is None and len(self._keys) == 1:
            kid = next(iter(self._keys))
        if not isinstance(kid, str) or kid not in self._keys:
            raise NoAgent(Refusal.TOKEN_KID)
        return self._keys[kid]

    def _has_scope(self, claims: Mapping[str, Any]) -> bool:
        given = claims.get(self._scope_claim)
        words = given.split() if isinstance(given, str) else given
        return isinstance(words, list) and self._scope in words


def _valid_until(claims: Mapping[str, Any], now: float) -> float:
    """Return when a token that is valid now expires."""
    end, start = claims.get("exp"), claims.get("nbf", 0)
    if not _is_number(end):
        raise NoAgent(Refusal.TOKEN_EXP)
    if end > _LATEST_END:
        raise NoAgent(Refusal.TOKEN_EXP_TOO_FAR)
    if end <= now:
        raise NoAgent(Refusal.TOKEN_EXPIRED)
    if not _is_number(start) or start > now + _CLOCK_SECONDS:
        raise NoAgent(Refusal.TOKEN_NOT_YET_VALID)
    return float(end)


def _is_number(value: object) -> TypeGuard[int | float]:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and not (isinstance(value, float) and isnan(value))
    )


def _agent_id(subject: object) -> str:
    if not isinstance(subject, str) or not 1 <= len(subject) <= _SUBJECT_CHARACTERS:
        raise NoAgent(Refusal.TOKEN_SUBJECT)
    try:
        return sha256(subject.encode()).hexdigest()[:32]
    except UnicodeEncodeError:
        raise NoAgent(Refusal.TOKEN_SUBJECT) from None


def _name(name: object) -> str | None:
    """Return the name of a token; one that is not a valid name is ignored."""
    try:
        return clean_name(name) if isinstance(name, str) else None
    except InvalidContent:
        return None


def offered_tokens(socket: ASGIConnection[Any, Any, Any, Any]) -> list[str]:
    """Return the tokens in a handshake's `Authorization` header or, without one, in its subprotocols."""
    scheme, _, token = socket.headers.get("authorization", "").partition(" ")
    return [token.strip()] if scheme.lower() == "bearer" else subprotocol.tokens(socket)


def _only(tokens: Sequence[str]) -> str:
    if not tokens or not tokens[0]:
        raise NoAgent(Refusal.TOKEN_MISSING)
    if len(tokens) > 1:
        raise NoAgent(Refusal.TOKEN_NOT_ALONE)
    return tokens[0]


def close_at_expiry(agent: Agent, close: Callable[[CloseCode], None]) -> Callable[[], None]:
    """Let a connection close when its agent's token expires; return a function that cancels that."""
    if agent is ANYBODY:
        return lambda: None

    def end() -> None:
        refused(Refusal.TOKEN_ENDED)
        close(CloseCode.NOT_AUTHENTICATED)

    seconds = max(0.0, agent.expires_at - time.time())
    return asyncio.get_running_loop().call_later(seconds, end).cancel


def make_token(settings: Settings, *, name: str, subject: str, minutes: int) -> str:
    """Make an agent's token that these settings accept, for a first try.

    Raises:
        SettingsError: there is no secret to sign it with, or the name is not valid.
    """
    if settings.agent_jwt_key is not None:
        raise SettingsError(
            f"{PREFIX}AGENT_JWT_KEY: holds public keys, which sign nothing; your identity provider makes the tokens"
        )
    if settings.agent_jwt_secret is None:
        raise SettingsError(f"{PREFIX}AGENT_JWT_SECRET: not set, so agents need no token")
    try:
        name = clean_name(name)
    except InvalidContent as error:
        raise SettingsError(f"--name: {error}") from None
    try:
        _agent_id(subject)
    except NoAgent:
        raise SettingsError(f"--sub: it has 1..{_SUBJECT_CHARACTERS} characters.") from None
    scope = settings.agent_jwt_scope
    claims = {
        "sub": subject,
        "name": name,
        "exp": int(time.time()) + 60 * minutes,
        # A word with a space in it is only possible in a list.
        settings.agent_jwt_scope_claim: [scope] if " " in scope else scope,
    }
    if settings.agent_jwt_audience is not None:
        claims["aud"] = settings.agent_jwt_audience
    (key,) = load_keys(None, settings.agent_jwt_secret).values()
    return jwt.encode(claims, key.value, algorithm=key.algorithm)
