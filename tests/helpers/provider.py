"""Keys of an identity provider, and their public halves in the forms in which it gives them out."""

import json
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

RSA = rsa.generate_private_key(65537, 2048)
P256 = ec.generate_private_key(ec.SECP256R1())
ED25519 = ed25519.Ed25519PrivateKey.generate()
PRIVATE: dict[str, Any] = {"RS256": RSA, "ES256": P256, "EdDSA": ED25519}
ALGORITHMS = sorted(PRIVATE)


def public(private: Any, encoding: Encoding, form: PublicFormat = PublicFormat.SubjectPublicKeyInfo) -> bytes:
    """The public half."""
    made: bytes = private.public_key().public_bytes(encoding, form)
    return made


def pem(private: Any) -> str:
    """The public half as PEM."""
    return public(private, Encoding.PEM).decode()


def jwk(algorithm: str, **members: Any) -> dict[str, Any]:
    """The public half as a JWK."""
    made: dict[str, Any] = jwt.get_algorithm_by_name(algorithm).to_jwk(PRIVATE[algorithm].public_key(), as_dict=True)
    made.pop("key_ops", None)
    return {**made, **members}


def jwks(*keys: dict[str, Any]) -> str:
    """A set of JWKs."""
    return json.dumps({"keys": keys})
