"""The keys that agents' tokens are checked with, as `AGENT_JWT_KEY` gives them.

The key decides the algorithm, never the token: so a token that names another one, `none` or an HMAC over a public key
is no token. Keys are read once, at the start, and nothing is fetched.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jwt
import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from msgspec import Struct

_SECRET_BYTES = 32
_RSA_BITS = 2048
_PATH_BEGINS = ("/", "./", "../", "~")
_PATH_ENDS = (".pem", ".pub", ".json", ".jwks")


class UnusableKey(ValueError):
    """Raised when a key cannot be used; the text says why, and holds nothing of the key."""


class Key(NamedTuple):
    """A key and the one algorithm that it is good for."""

    value: Any
    algorithm: str


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
