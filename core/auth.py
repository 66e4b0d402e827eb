"""Who is an agent: tokens (JWT, RFC 7519), and the keys that they are checked with (PROTOCOL section 6).

The key decides the algorithm, never the token: so a token that names another one, `none` or an HMAC over a public key
is no token. Keys are read once, at the start, and nothing is fetched.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from hashlib import sha256
from math import inf
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import jwt
import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from litestar.connection import ASGIConnection
from msgspec import Struct

from core import subprotocol
from schemas.errors import CloseCode, NotAuthenticated

SCOPE: Final = "agent"
"""What the `scope` of an agent's token contains."""

_SECRET_BYTES = 32
_RSA_BITS = 2048
_TOKEN_CHARACTERS = 8192
_SUBJECT_CHARACTERS = 255
# For `nbf` only: an issuer's clock may be ahead of ours. A token ends when it says so.
_CLOCK_SECONDS = 30
_PATH_BEGINS = ("/", "./", "../", "~")
_PATH_ENDS = (".pem", ".pub", ".json", ".jwks")
# What PyJWT lets through of `json`, `base64` and `int` on hostile tokens, besides its own errors.
_DECODE_ERRORS = (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError)


class UnusableKey(ValueError):
    """Raised when a key cannot be used; the text says why, and holds nothing of the key."""


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


class Key(NamedTuple):
    """A key and the one algorithm that it is good for."""

    value: Any
    algorithm: str


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


# Keys.


def load_keys(text: str) -> dict[str | None, Key]:
    """Read what `AGENT_JWT_KEY` holds: an HS256 secret, or public keys as PEM or JWKS, inline or as a file's path.

    What looks like a path is one: a mistyped path must not become a secret that everybody could guess.

    Raises:
        UnusableKey: it is none of these, or too weak.
    """
    if _is_public(text):
        return _public_keys(text)
    path = Path(text).expanduser()
    if text.startswith(_PATH_BEGINS) or text.endswith(_PATH_ENDS) or _is_file(path):
        try:
            content = path.read_text("utf-8").strip()
        except (OSError, ValueError):
            raise UnusableKey("this file cannot be read") from None
        if not _is_public(content):
            raise UnusableKey("this file holds neither a PEM public key nor a JWKS")
        return _public_keys(content)
    secret = text.encode(errors="surrogateescape")  # as the environment had it, even if it is no UTF-8
    if len(secret) < _SECRET_BYTES:
        raise UnusableKey(f"a secret has at least {_SECRET_BYTES} bytes")
    return {None: Key(secret, "HS256")}


def _is_public(text: str) -> bool:
    return text.startswith(("-----BEGIN", "{"))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a secret may be too long for a name, or hold what a name cannot
        return False


def _public_keys(text: str) -> dict[str | None, Key]:
    return _jwks(text) if text.startswith("{") else {None: _pem(text)}


def _pem(text: str) -> Key:
    if "PRIVATE KEY" in text:
        raise UnusableKey("this is a private key, which only the issuer may have; give the public one")
    try:
        # A variable of one line holds `\n` where the file has line ends.
        key = load_pem_public_key(text.replace("\\n", "\n").encode())
    except (ValueError, UnsupportedAlgorithm):
        raise UnusableKey("this is no PEM public key") from None
    return _usable(key)


class _Jwks(Struct):
    keys: list[dict[str, Any]]


_decode_jwks = msgspec.json.Decoder(_Jwks).decode


def _jwks(text: str) -> dict[str | None, Key]:
    try:
        listed = _decode_jwks(text.encode()).keys
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise UnusableKey("this is no JWKS") from None
    if any(jwk.get("kty") == "oct" or "d" in jwk for jwk in listed):
        raise UnusableKey("this JWKS holds a secret or a private key; give the public ones")
    keys = {_kid(jwk): key for jwk in listed if jwk.get("use", "sig") == "sig" and (key := _from_jwk(jwk))}
    if not keys:
        raise UnusableKey("this JWKS holds no key for RS256, ES256 or EdDSA")
    if len(keys) > 1 and None in keys:
        raise UnusableKey("each of several keys of a JWKS needs a `kid`")
    return keys


def _kid(jwk: Mapping[str, Any]) -> str | None:
    kid = jwk.get("kid")
    return kid if isinstance(kid, str) else None


def _from_jwk(jwk: dict[str, Any]) -> Key | None:
    """Read a key; None for what a JWKS may hold beside ours (RFC 7517 section 5: such keys are ignored)."""
    try:
        key = _usable(jwt.PyJWK(jwk).key)
    except (jwt.PyJWTError, ValueError, TypeError):
        return None
    return key if jwk.get("alg", key.algorithm) == key.algorithm else None


def _usable(key: Any) -> Key:
    match key:
        case RSAPublicKey() if key.key_size >= _RSA_BITS:
            return Key(key, "RS256")
        case RSAPublicKey():
            raise UnusableKey(f"an RSA key has at least {_RSA_BITS} bits")
        case EllipticCurvePublicKey() if isinstance(key.curve, SECP256R1):
            return Key(key, "ES256")
        case Ed25519PublicKey() | Ed448PublicKey():
            return Key(key, "EdDSA")
    raise UnusableKey("this key is for none of RS256, ES256 and EdDSA")
