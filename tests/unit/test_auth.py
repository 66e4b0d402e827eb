"""Which keys can be used, and which tokens make an agent."""

import base64
import hashlib
import hmac
import json
import time
from functools import cache
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from core.agent_keys import UnusableKey, load_keys
from core.auth import Agent, AgentAuth
from schemas.errors import NotAuthenticated
from tests.tokens import OTHER_SECRET, SECRET, make_token

RSA = rsa.generate_private_key(65537, 2048)
P256 = ec.generate_private_key(ec.SECP256R1())
ED25519 = ed25519.Ed25519PrivateKey.generate()
PRIVATE: dict[str, Any] = {"RS256": RSA, "ES256": P256, "EdDSA": ED25519}
ALGORITHMS = sorted(PRIVATE)


def pem(private: Any) -> str:
    """The public half as PEM."""
    text: bytes = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return text.decode()


def jwk(algorithm: str, **members: Any) -> dict[str, Any]:
    """The public half as a JWK."""
    public = PRIVATE[algorithm].public_key()
    made: dict[str, Any] = jwt.get_algorithm_by_name(algorithm).to_jwk(public, as_dict=True)
    made.pop("key_ops", None)
    return {**made, **members}


def jwks(*keys: dict[str, Any]) -> str:
    return json.dumps({"keys": keys})


def is_agent(key: str, token: str, audience: str | None = None) -> bool:
    """Whether the token makes an agent where this key is set."""
    try:
        agent = AgentAuth.of_setting(key, audience).agent(token)
    except NotAuthenticated:
        return False
    assert len(agent.id) == 32
    return True


# Keys.


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_public_key_checks_the_tokens_of_its_private_key(algorithm: str, tmp_path: Path) -> None:
    token = make_token(key=PRIVATE[algorithm], algorithm=algorithm)
    public = pem(PRIVATE[algorithm])
    (tmp_path / "key.pem").write_text(public)
    (tmp_path / "keys").write_text(jwks(jwk(algorithm)))
    forms = [
        public,
        public.replace("\n", "\\n"),
        str(tmp_path / "key.pem"),
        str(tmp_path / "keys"),
        jwks(jwk(algorithm)),
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
    keys = load_keys(jwks(*other, jwk("EdDSA", kid="ours")))
    assert {kid: key.algorithm for kid, key in keys.items()} == {"ours": "EdDSA"}


@cache
def unusable() -> dict[str, tuple[str, str]]:
    """What is refused: by its name, the setting and a part of the reason."""
    private = RSA.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    octets = base64.urlsafe_b64encode(SECRET.encode()).decode()
    return {
        "a short secret": ("x" * 31, "at least 32 bytes"),
        "no such file": ("/no/such/file", "cannot be read"),
        "a mistyped path that is long": ("./keys/of-the-identity-provider-in-production", "cannot be read"),
        "a path by its ending": ("keys-of-the-identity-provider-in-production.pem", "cannot be read"),
        "a folder": ("/", "cannot be read"),
        "a file with something else": (__file__, "neither"),
        "a private key": (private, "private key"),
        "no key": ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "no PEM"),
        "a small RSA key": (pem(rsa.generate_private_key(65537, 1024)), "2048"),  # noqa: S505
        "another curve": (pem(ec.generate_private_key(ec.SECP384R1())), "none of"),
        "DSA": (pem(dsa.generate_private_key(2048)), "none of"),
        "no JSON": ("{", "no JWKS"),
        "deep JSON": ('{"keys":' + "[" * 100_000, "no JWKS"),
        "no keys": ('{"keys": []}', "holds no key"),
        "keys of a wrong shape": ('{"keys": ["a"]}', "no JWKS"),
        "no list": ('{"keys": {}}', "no JWKS"),
        "a secret among public keys": (jwks({"kty": "oct", "k": octets}), "a secret"),
        "a private key among them": (jwks(jwk("RS256", d="AQAB")), "private"),
        "only other keys": (jwks({"kty": "RSA", "n": "AQAB", "e": "AQAB"}), "holds no key"),
        "keys without names": (jwks(jwk("RS256"), jwk("ES256", kid="a")), "needs a `kid`"),
        "keys with odd names": (jwks(jwk("RS256", kid=["a"]), jwk("ES256", kid="a")), "needs a `kid`"),
    }


@pytest.mark.parametrize("name", unusable())
def test_a_key_that_cannot_be_used_is_refused(name: str) -> None:
    setting, reason = unusable()[name]
    with pytest.raises(UnusableKey, match=reason) as refused:
        load_keys(setting)
    assert "\n" not in str(refused.value)
    assert setting not in str(refused.value)


def test_a_long_secret_is_no_path() -> None:
    assert is_agent("s" * 5000, make_token(key="s" * 5000))


# Tokens.


def test_a_token_says_who_the_agent_is() -> None:
    before = time.time()
    one, other = (AgentAuth.of_setting(SECRET).agent(make_token(subject, name=subject)) for subject in ("vika", "ana"))
    assert isinstance(one, Agent)
    assert (one.name, other.name) == ("vika", "ana")
    assert one.id != other.id
    assert "vika" not in one.id
    assert 3600 <= one.expires_at - before < 3700


REFUSED: dict[str, dict[str, Any]] = {
    "over": {"seconds": 0},
    "no end": {"exp": None},
    "an end that is no time": {"exp": "tomorrow"},
    "an endless end": {"exp": float("inf")},
    "an end that is no number": {"exp": float("nan")},
    "not valid yet": {"nbf": 32_503_680_000},
    "nobody": {"sub": None},
    "nobody's name": {"sub": ""},
    "a long subject": {"sub": "v" * 256},
    "a subject that is no text": {"sub": 1},
    "a subject that is no Unicode": {"sub": "\ud800"},
    "no scope": {"scope": None},
    "another scope": {"scope": "openid user agents"},
    "a scope of a wrong shape": {"scope": {"agent": True}},
    "for somebody else": {"aud": "another service"},
    "another key": {"key": OTHER_SECRET},
    "another family": {"algorithm": "HS512"},
    "an extension that must be understood": {"headers": {"crit": ["exp"]}},
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.filterwarnings("ignore:The HMAC key is")
def test_a_token_that_makes_no_agent_is_refused(name: str) -> None:
    options = REFUSED[name]
    claims = {"subject": options.pop("sub")} if isinstance(options.get("sub"), str) else {}
    if isinstance(options.get("sub"), int):
        payload = {"sub": 1, "exp": time.time() + 60, "scope": "agent"}
        token = jwt.api_jws.encode(json.dumps(payload).encode(), SECRET, "HS256")
    else:
        token = make_token(**{**options, **claims})
    assert is_agent(SECRET, make_token())
    assert not is_agent(SECRET, token)


@pytest.mark.parametrize("scope", ["agent", "a agent", ["agent"], ["admin", "agent"]])
def test_a_scope_is_a_text_or_a_list(scope: object) -> None:
    assert is_agent(SECRET, make_token(scope=scope))


def test_an_audience_that_is_set_is_asked_for() -> None:
    for audience, expected in ((None, False), ("chat", True), (["a", "chat"], True), ("other", False)):
        assert is_agent(SECRET, make_token(aud=audience), "chat") == expected


def test_a_clock_may_be_behind_the_issuers() -> None:
    assert is_agent(SECRET, make_token(nbf=time.time() + 10))
    assert not is_agent(SECRET, make_token(seconds=-1))


def unsigned(algorithm: str) -> str:
    """A token that claims to need no signature, or gives one over the public key's text."""
    good = make_token()
    header = base64.urlsafe_b64encode(json.dumps({"alg": algorithm, "typ": "JWT"}).encode()).decode().rstrip("=")
    return f"{header}.{good.split('.')[1]}."


@pytest.mark.parametrize("key", [SECRET, pem(RSA)])
@pytest.mark.parametrize("algorithm", ["none", "None", "HS256", "RS256", ""])
def test_the_token_does_not_choose_how_it_is_checked(key: str, algorithm: str) -> None:
    assert not is_agent(key, unsigned(algorithm))


def test_a_public_key_is_no_secret() -> None:
    """The confusion of algorithms: an HMAC with the public key's text as its key."""
    text = pem(RSA).encode()
    head, body, _ = make_token().split(".")
    signature = base64.urlsafe_b64encode(hmac.digest(text, f"{head}.{body}".encode(), hashlib.sha256)).decode()
    assert not is_agent(pem(RSA), f"{head}.{body}.{signature.rstrip('=')}")


def part(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode().rstrip("=")


@pytest.mark.parametrize("key", [SECRET, jwks(jwk("RS256", kid="one"))])
@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "a.b.c",
        "é",
        "\ud800",
        "x" * 100_000,
        f"{part(b'[' * 5000)}.e30.",
        f"{part(b'[]')}.e30.",
        "e30.e30.",
    ],
)
def test_what_is_no_token_is_refused(key: str, token: str) -> None:
    assert not is_agent(key, token)


@given(st.text() | st.tuples(st.binary(), st.binary(), st.binary()).map(lambda parts: ".".join(map(part, parts))))
def test_any_text_is_no_token(token: str) -> None:
    assert not is_agent(SECRET, token)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["sub", "exp", "scope"]), inner),
    )
)
def test_whatever_the_issuer_signs_is_an_agent_or_refused(claims: object) -> None:
    is_agent(SECRET, jwt.api_jws.encode(json.dumps(claims).encode(), SECRET, "HS256"))
