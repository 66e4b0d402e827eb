"""The keys that agents' tokens are checked with, as `AGENT_JWT_KEY` and `AGENT_JWT_SECRET` give them.

The key decides the algorithm, never the token: so a token that names another algorithm, `none`, or an HMAC over a
public key is refused. Keys are read once, at the start, and never fetched.
"""

import re
from collections import Counter
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

from live_support.agents import secret as agent_secret
from live_support.agents.secret import UnusableKey

_RSA_BITS = 2048
_FILE_BYTES = 1024 * 1024
_BOM = "\ufeff"
_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)


class Key(NamedTuple):
    """A key and the one algorithm that it is used with."""

    value: Any
    algorithm: str


def load_keys(key: str | None, secret: str | None) -> dict[str | None, Key]:
    """Read the settings `AGENT_JWT_KEY` and `AGENT_JWT_SECRET`, of which one may be set.

    Raises:
        UnusableKey: the value cannot be used.
    """
    if key is not None:
        return load_public_keys(key)
    return {} if secret is None else {None: Key(agent_secret.load(secret), "HS256")}


def load_public_keys(text: str) -> dict[str | None, Key]:
    """Read public keys: PEM or JWKS, inline or as the path of a file with either.

    Raises:
        UnusableKey: the text is neither, or a key is too weak. The text never becomes a secret.
    """
    keys = _public_keys(text)
    if keys is None:
        agent_secret.refuse_what_was_not_meant(text)
        keys = _public_keys(_content(text))
    if keys is None:
        raise UnusableKey("this file holds neither a PEM public key nor a JWKS")
    return keys


def _content(path: str) -> str:
    try:
        file = Path(path).expanduser()
        if file.exists() and not file.is_file():
            raise IsADirectoryError
        with file.open("rb") as opened:
            return opened.read(_FILE_BYTES).decode()
    except IsADirectoryError:
        raise UnusableKey("this path leads to a folder or something else that is no file with keys") from None
    except FileNotFoundError:
        raise UnusableKey(
            "neither a PEM public key nor a JWKS, and no file of this name;"
            " a secret goes into LIVE_SUPPORT_AGENT_JWT_SECRET"
        ) from None
    except (OSError, ValueError, RuntimeError):
        # Not text, no permission, an unknown user's home, or not a possible path.
        raise UnusableKey("neither a PEM public key nor a JWKS, nor the path of a file that can be read") from None


def _public_keys(text: str) -> dict[str | None, Key] | None:
    """Read a text that begins like a JWKS, or holds a PEM block; None for any other."""
    text = text.removeprefix(_BOM).strip()
    if text.startswith(("{", "[")):
        return _jwks(text)
    # A PEM file may begin with comments. A text that begins with a quotation mark is another mistake.
    if "-----BEGIN" in text and not text.startswith(('"', "'")):
        return {None: _pem(text)}
    return None


def _pem(text: str) -> Key:
    # A variable of one line holds `\n` where the file has line ends.
    blocks = list(_BLOCK.finditer(text.replace("\\n", "\n").replace("\\r", "")))
    labels = [block[1] for block in blocks] or [text]
    if any("PRIVATE KEY" in label for label in labels):
        raise UnusableKey("this is a private key, which only the issuer may have; give the public one")
    if any("CERTIFICATE" in label for label in labels):
        raise UnusableKey("this is a certificate; give its public key (`openssl x509 -pubkey -noout`)")
    if len(blocks) > 1:
        raise UnusableKey("this holds several PEM blocks; several keys are given as a JWKS")
    try:
        key = load_pem_public_key(blocks[0][0].encode())
    except (IndexError, ValueError, UnsupportedAlgorithm):
        raise UnusableKey("this is no PEM public key") from None
    return _usable(key)


class _Jwks(Struct):
    keys: list[dict[str, Any]]


_decode_jwks = msgspec.json.Decoder(_Jwks).decode


def _jwks(text: str) -> dict[str | None, Key]:
    try:
        listed = _decode_jwks(text.encode()).keys
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise UnusableKey('this is no JWKS, which is an object with a list: {"keys": [...]}') from None
    if any(jwk.get("kty") == "oct" or "d" in jwk or "k" in jwk for jwk in listed):
        raise UnusableKey("this JWKS holds a secret or a private key; give the public ones")
    keys = [(_kid(jwk), key) for jwk in listed if jwk.get("use", "sig") == "sig" and (key := _from_jwk(jwk))]
    names = Counter(kid for kid, _ in keys)
    if not keys:
        raise UnusableKey("this JWKS holds no key for RS256, ES256 or EdDSA")
    if len(keys) > 1 and None in names:
        raise UnusableKey("each of several keys of a JWKS needs a `kid`")
    if len(names) < len(keys):
        raise UnusableKey("two keys of this JWKS have the same `kid`")
    return dict(keys)


def _kid(jwk: Mapping[str, Any]) -> str | None:
    kid = jwk.get("kid")
    return kid if isinstance(kid, str) else None


def _from_jwk(jwk: dict[str, Any]) -> Key | None:
    """Read a key; None for a kind of key that is not used here (RFC 7517, section 5: it is ignored)."""
    try:
        key = _usable(jwt.PyJWK(jwk).key)
    except (jwt.PyJWTError, ValueError, TypeError, AttributeError, LookupError, UnsupportedAlgorithm, OverflowError):
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
