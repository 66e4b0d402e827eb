"""Which keys and secrets can be used. What is neither becomes neither, and is refused with one line."""

import base64
import json
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from live_support.agents.auth import AgentAuth
from live_support.agents.keys import load_keys, load_public_keys
from live_support.agents.secret import UnusableKey, load
from live_support.environment import PREFIX
from live_support.settings import Secret, Settings, SettingsError
from schemas.errors import NotAuthenticated
from tests.helpers.provider import ALGORITHMS, ED25519, P256, PRIVATE, RSA, jwk, jwks, pem, public
from tests.helpers.tokens import SECRET, make_token


def is_agent(key: str, token: str) -> bool:
    """Whether the token makes an agent where these public keys are set."""
    try:
        AgentAuth.of(Settings(agent_jwt_key=Secret(key))).agent(token)
    except NotAuthenticated:
        return False
    return True


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_public_key_checks_the_tokens_of_its_private_key(algorithm: str, tmp_path: Path) -> None:
    token = make_token(key=PRIVATE[algorithm], algorithm=algorithm)
    key, keys = pem(PRIVATE[algorithm]), jwks(jwk(algorithm))
    (tmp_path / "key.pem").write_text(key)
    (tmp_path / "keys of the provider").write_text(keys)
    (tmp_path / "of-windows").write_text("\ufeff" + key.replace("\n", "\r\n"))
    forms = [
        key,
        key.replace("\n", "\\n"),
        f"# The key of the identity provider\n{key}",
        f"\ufeff{key}",
        keys,
        f"\ufeff{keys}",
        f" \n{keys}\n",
        str(tmp_path / "key.pem"),
        str(tmp_path / "keys of the provider"),
        str(tmp_path / "of-windows"),
    ]
    for form in forms:
        assert is_agent(form, token)
        assert not is_agent(form, make_token())


def test_a_token_names_its_key() -> None:
    keys = jwks(jwk("RS256", kid="one"), jwk("ES256", kid="two", use="sig", alg="ES256"))
    for kid, algorithm, expected in [
        ("one", "RS256", True),
        ("two", "ES256", True),
        ("two", "RS256", False),
        ("three", "RS256", False),
        (None, "RS256", False),
    ]:
        token = make_token(key=PRIVATE[algorithm], algorithm=algorithm, headers={"kid": kid} if kid else None)
        assert is_agent(keys, token) == expected, (kid, algorithm)


def test_a_lone_key_need_not_be_named() -> None:
    token = make_token(key=RSA, algorithm="RS256")
    named = make_token(key=RSA, algorithm="RS256", headers={"kid": "other"})
    assert is_agent(jwks(jwk("RS256", kid="one")), token)
    assert not is_agent(jwks(jwk("RS256", kid="one")), named)
    assert is_agent(jwks(jwk("RS256")), named)


def test_keys_for_other_things_are_left_out() -> None:
    other = [{"kty": "future", "kid": "x"}, jwk("RS256", kid="y", use="enc"), jwk("RS256", kid="z", alg="PS256")]
    keys = load_public_keys(jwks(*other, jwk("EdDSA", kid="ours")))
    assert {kid: key.algorithm for kid, key in keys.items()} == {"ours": "EdDSA"}


def private(encoding: Encoding = Encoding.PEM, form: PrivateFormat = PrivateFormat.PKCS8, key: Any = RSA) -> bytes:
    made: bytes = key.private_bytes(encoding, form, NoEncryption())
    return made


def plain(data: bytes) -> str:
    """Base64 of it."""
    return base64.b64encode(data).decode()


def openssh(key: Any) -> str:
    """The public half as OpenSSH has it."""
    return public(key, Encoding.OpenSSH, PublicFormat.OpenSSH).decode() + " vika@laptop"


@cache
def never() -> dict[str, str]:
    """What is often set by mistake, and neither a public key nor a secret."""
    keys, key = jwks(jwk("RS256", kid="one")), pem(RSA)
    locked = RSA.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"word")).decode()
    return {
        "the address of a key set": "https://login.microsoftonline.com/common/discovery/v2.0/keys",
        "the address of a key set as a file": "https://www.example.com/.well-known/jwks.json",
        "the address of an issuer": "https://auth.example.com/realms/support-of-our-shop",
        "an address in capitals": "HTTPS://AUTH.EXAMPLE.COM/REALMS/SUPPORT-OF-OUR-SHOP",
        "an address without TLS": "http://localhost:8080/realms/support/protocol/openid-connect/certs",
        "the address of a file": "file:///etc/live-support/keys-of-the-provider.json",
        "an address of a vault": "vault://secret/data/live-support#agent_jwt_secret",
        "a public key as bare base64": plain(public(RSA, Encoding.DER)),
        "an elliptic key as bare base64": plain(public(P256, Encoding.DER)),
        "an Edwards key as bare base64": plain(public(ED25519, Encoding.DER)),
        "a public key of PKCS 1 as bare base64": plain(public(RSA, Encoding.DER, PublicFormat.PKCS1)),
        "a private key as bare base64": plain(private(Encoding.DER)),
        "an elliptic private key as bare base64": plain(private(Encoding.DER, key=P256)),
        "bare base64 in lines": "\n".join(key.splitlines()[1:-1]),
        "bare base64 cut off": plain(public(RSA, Encoding.DER))[:64],
        "bare base64 for addresses": base64.urlsafe_b64encode(public(RSA, Encoding.DER)).decode().rstrip("="),
        "PEM in double quotes": f'"{key.strip()}"',
        "PEM in single quotes": f"'{key.strip()}'",
        "PEM of one line in quotes": '"' + key.strip().replace("\n", "\\n") + '"',
        "a JWKS in double quotes": f'"{keys}"',
        "a JWKS in single quotes": f"'{keys}'",
        "a JWKS in quotes, escaped": json.dumps(keys),
        "a path in quotes": '"/etc/live-support/keys-of-the-provider.json"',
        "an address in quotes": '"https://auth.example.com/realms/support-of-our-shop"',
        "a list of JWKs": json.dumps([jwk("RS256", kid="one")]),
        "a single JWK": json.dumps(jwk("RS256", kid="one")),
        "a secret JWK": json.dumps({"kty": "oct", "k": plain(SECRET.encode())}),
        "an RSA key of OpenSSH": openssh(RSA),
        "an elliptic key of OpenSSH": openssh(P256),
        "an Edwards key of OpenSSH": openssh(ED25519),
        "a private key": private().decode(),
        "an older private key": private(form=PrivateFormat.TraditionalOpenSSL).decode(),
        "a private key of OpenSSH": private(form=PrivateFormat.OpenSSH).decode(),
        "a locked private key": locked,
        "a variable in braces": "${LIVE_SUPPORT_AGENTS_KEY_OF_PRODUCTION}",
        "a variable in braces with a default": "${LIVE_SUPPORT_AGENTS_KEY:-of-the-production}",
        "a variable": "$LIVE_SUPPORT_AGENTS_KEY_OF_PRODUCTION",
        "a variable of Windows": "%LIVE_SUPPORT_AGENTS_KEY_OF_PRODUCTION%",
        "a variable of Windows within": "s-%LIVE_SUPPORT_AGENTS_KEY_OF_PRODUCTION%-2",
        "the name of a variable": "LIVE_SUPPORT_AGENTS_KEY_OF_PRODUCTION",
        "a command": "$(cat /etc/live-support/agents-key-of-production)",
        "a gap to be filled": "<the-key-of-the-identity-provider-goes-here>",
        "a template": "{{ .Values.liveSupport.agents.key.of.production }}",
        "a template of GitHub": "${{ secrets.LIVE_SUPPORT_AGENTS_KEY_PRODUCTION }}",
        "a reference of Azure": "@Microsoft.KeyVault(SecretUri=agents-key-of-production)",
        "a missing file": "/etc/no-such-folder/agents-key-of-production",
        "a missing file here": "./keys/of-the-identity-provider-in-production",
        "a missing file above": "../keys/of-the-identity-provider-in-production",
        "a missing file at home": "~/keys/of-the-identity-provider-in-production",
        "a file of nobody": "~no-such-user-of-this-machine/keys/agents-of-production",
        "a mistyped path": "secrets/agents/public-key/of-production",
        "a file by its ending": "keys-of-the-identity-provider-in-production.pem",
        "a path of Windows": "C:\\ProgramData\\LiveSupport\\agents-key-of-production",
        "a folder": "/usr/share",
        "a device": "/dev/zero",
        "a path with a space": "/etc/live support/the agents' key of production.pem",
        "a token": make_token(),
        "half of PEM": key[: len(key) // 2],
        "a certificate": key.replace("PUBLIC KEY", "CERTIFICATE"),
        "a short text": "mypass",
        "31 bytes": "x" * 31,
    }


@pytest.mark.parametrize("name", never())
@pytest.mark.parametrize("setting", ["AGENT_JWT_KEY", "AGENT_JWT_SECRET"])
def test_what_is_neither_stops_the_start_with_one_line_that_does_not_repeat_it(setting: str, name: str) -> None:
    text = never()[name]
    with pytest.raises(SettingsError) as refused:
        Settings.from_env({f"{PREFIX}{setting}": text})
    line = str(refused.value)
    assert line.startswith(f"{PREFIX}{setting}: ")
    assert "\n" not in line
    assert len(line) < 200
    assert text not in line
    assert text[:20] not in line


NO_SECRETS = {
    "changeme" * 5: "placeholder",
    "change-me-change-me-change-me-change-me": "placeholder",
    "please_change_this_before_going_live_0123": "placeholder",
    "your-secret-your-secret-your-secret-12345": "placeholder",
    "REPLACE-ME-with-32-bytes-of-randomness!!!": "placeholder",
    "a phrase of several words and 32 bytes": "white space",
    "Zt8vKq3nWm5xRb7yHc9dLf2gJh4kPs6t\u200bab": "white space",
    "auth.example.com/.well-known/openid-keys": "path",
    "arn:aws:secretsmanager:eu-west-1:123456789012:secret": "address",
    "tenant.authentication.example.com": "address",
    "dGhlIGtleQ.eyJ" + "a" * 20: "key|address",
    plain(b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"): "key",
    plain(b'{"keys": [{"kty": "OKP"}]}'): "key",
    "/run/secrets/agent_jwt_secret_of_production": "path",
    "/Users/Vika/Keys/agents-secret-of-production": "path",
    "ß" * 15: "at least 32 bytes",
}


@pytest.mark.parametrize("text", NO_SECRETS)
def test_what_somebody_else_could_know_is_no_secret(text: str) -> None:
    with pytest.raises(UnusableKey, match=NO_SECRETS[text]) as refused:
        load(text)
    assert text not in str(refused.value)


@pytest.mark.parametrize("text", ["s" * 32, "s" * 5000, "ß" * 16, SECRET, "/" + "Aa0+" * 11, "~" + "Ab1!" * 9])
def test_a_secret_is_any_other_text(text: str) -> None:
    assert load(text) == text.encode()


def test_a_secret_of_bytes_that_are_no_unicode_is_taken_as_the_environment_has_it() -> None:
    given = bytes(range(128, 168))
    assert load(given.decode("utf-8", "surrogateescape")) == given


@given(st.binary(min_size=32, max_size=96))
def test_a_secret_made_of_random_bytes_is_taken(data: bytes) -> None:
    # Not those of which a random generator gives none: long runs, and what begins like a key.
    if len(set(data)) > 24 and data[0] not in b"0{[":
        for text in (data.hex(), plain(data), base64.urlsafe_b64encode(data).decode(), base64.b32encode(data).decode()):
            assert load(text) == text.encode()


@pytest.mark.parametrize("first", ["/", "+", "//", "/+/"])
def test_a_secret_of_openssl_may_begin_like_a_path(first: str) -> None:
    for _ in range(200):
        text = first + plain(os.urandom(48))[len(first) :]
        assert load(text) == text.encode()


def has_one_line_at_most(attempt: Callable[[str], object], text: str) -> bool:
    """Whether a text is taken, or refused as it should be."""
    try:
        attempt(text)
    except UnusableKey as error:
        return "\n" not in str(error)
    return True


@given(st.text(max_size=200))
def test_no_text_ends_the_start_with_a_traceback(text: str) -> None:
    for form in ("{}", "{{{}}}", "~{}", "/{}", "-----BEGIN {}", '{{"keys":[{{"kty":"{}'):
        for attempt in (load_public_keys, load):
            assert has_one_line_at_most(attempt, form.format(text))


@given(
    st.dictionaries(
        st.sampled_from(["kty", "kid", "use", "alg", "crv", "n", "e", "x", "y"]),
        st.sampled_from(["RSA", "EC", "OKP", "P-256", "Ed25519", "sig", "AQAB", "", "RS256", "ES256"])
        | st.text()
        | st.integers()
        | st.none()
        | st.lists(st.text()),
    )
)
def test_no_jwk_ends_the_start_with_a_traceback(members: dict[str, Any]) -> None:
    for algorithm in ALGORITHMS:
        assert has_one_line_at_most(load_public_keys, jwks(jwk(algorithm) | members))
    assert has_one_line_at_most(load_public_keys, jwks(members))


@cache
def unusable() -> dict[str, tuple[str, str]]:
    """What is refused as a key for a reason of its own: by its name, the setting and a part of the reason."""
    octets = base64.urlsafe_b64encode(SECRET.encode()).decode()
    return {
        "a secret": (SECRET, "a secret goes into LIVE_SUPPORT_AGENT_JWT_SECRET"),
        "a file with something else": (json.__file__, "holds neither"),
        "a file that is no text": ("/proc/self/exe", "can be read"),
        "two keys as PEM": (pem(RSA) + pem(P256), "several PEM blocks"),
        "no key": ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "no PEM"),
        "a small RSA key": (pem(rsa.generate_private_key(65537, 1024)), "2048"),  # noqa: S505
        "another curve": (pem(ec.generate_private_key(ec.SECP384R1())), "none of"),
        "DSA": (pem(dsa.generate_private_key(2048)), "none of"),
        "no JSON": ("{keys", "no JWKS"),
        "deep JSON": ('{"keys":' + "[" * 100_000, "no JWKS"),
        "no keys": ('{"keys": []}', "holds no key"),
        "keys of a wrong shape": ('{"keys": ["a"]}', "no JWKS"),
        "no list": ('{"keys": {}}', "no JWKS"),
        "a secret among public keys": (jwks({"kty": "oct", "k": octets}), "a secret"),
        "a private key among them": (jwks(jwk("RS256", d="AQAB")), "private"),
        "only other keys": (jwks({"kty": "RSA", "n": "AQAB", "e": "AQAB"}), "holds no key"),
        "keys without names": (jwks(jwk("RS256"), jwk("ES256", kid="a")), "needs a `kid`"),
        "no key with a name": (jwks(jwk("RS256"), jwk("ES256")), "needs a `kid`"),
        "keys with odd names": (jwks(jwk("RS256", kid=["a"]), jwk("ES256", kid="a")), "needs a `kid`"),
        "a name twice": (jwks(jwk("RS256", kid="a"), jwk("ES256", kid="b"), jwk("EdDSA", kid="a")), "the same `kid`"),
    }


@pytest.mark.parametrize("name", unusable())
def test_a_key_that_cannot_be_used_is_refused_with_its_reason(name: str) -> None:
    setting, reason = unusable()[name]
    with pytest.raises(UnusableKey, match=reason) as refused:
        load_public_keys(setting)
    assert "\n" not in str(refused.value)
    assert setting not in str(refused.value)


def test_without_either_there_are_no_keys() -> None:
    assert load_keys(None, None) == {}
