"""Which tokens make an agent."""

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from live_support.agents.auth import Agent, AgentAuth, NoAgent
from live_support.refusal_log import Refusal
from live_support.settings import Secret, Settings
from schemas.errors import NotAuthenticated
from tests.helpers.provider import RSA, jwk, jwks, pem
from tests.helpers.tokens import OTHER_SECRET, SECRET, make_token


def auth(key: str = SECRET, audience: str | None = None, **settings: Any) -> AgentAuth:
    """What checks tokens where this key or secret is set."""
    name = "agent_jwt_key" if "BEGIN" in key or "{" in key else "agent_jwt_secret"
    settings |= {name: Secret(key), "agent_jwt_audience": audience}
    return AgentAuth.of(Settings(**settings))


def is_agent(key: str, token: str, audience: str | None = None, **settings: Any) -> bool:
    """Whether the token makes an agent there."""
    try:
        agent = auth(key, audience, **settings).agent(token)
    except NotAuthenticated:
        return False
    assert len(agent.id) == 32
    return True


def why_not(token: str, **settings: Any) -> Refusal:
    """Why the token makes no agent."""
    with pytest.raises(NoAgent) as refused:
        auth(**settings).agent(token)
    return refused.value.refusal


def test_a_token_says_who_the_agent_is() -> None:
    before = time.time()
    one, other = (auth().agent(make_token(subject, name=subject)) for subject in ("vika", "ana"))
    assert isinstance(one, Agent)
    assert (one.name, other.name) == ("vika", "ana")
    assert one.id != other.id
    assert "vika" not in one.id
    assert 3600 <= one.expires_at - before < 3700


REFUSED: dict[str, tuple[dict[str, Any], Refusal]] = {
    "over": ({"seconds": 0}, Refusal.TOKEN_EXPIRED),
    "over long ago": ({"exp": -1}, Refusal.TOKEN_EXPIRED),
    "over for ever": ({"exp": float("-inf")}, Refusal.TOKEN_EXPIRED),
    "no end": ({"exp": None}, Refusal.TOKEN_EXP),
    "an end that is no time": ({"exp": "tomorrow"}, Refusal.TOKEN_EXP),
    "an end as a text": ({"exp": "4000000000"}, Refusal.TOKEN_EXP),
    "an end with spaces": ({"exp": " 4000000000 "}, Refusal.TOKEN_EXP),
    "an end with underscores": ({"exp": "4_000_000_000"}, Refusal.TOKEN_EXP),
    "an end in Arabic digits": ({"exp": "٤٠٠٠٠٠٠٠٠٠"}, Refusal.TOKEN_EXP),
    "an end that is true": ({"exp": True}, Refusal.TOKEN_EXP),
    "an end in a list": ({"exp": [4_000_000_000]}, Refusal.TOKEN_EXP),
    "an end that is no number": ({"exp": float("nan")}, Refusal.TOKEN_EXP),
    "an endless end": ({"exp": float("inf")}, Refusal.TOKEN_EXP_TOO_FAR),
    "an end in milliseconds": ({"exp": round(time.time() * 1000) + 60_000}, Refusal.TOKEN_EXP_TOO_FAR),
    "an end that passed in milliseconds": ({"exp": 1_000_000_000_000}, Refusal.TOKEN_EXP_TOO_FAR),
    "an end in nanoseconds": ({"exp": time.time_ns()}, Refusal.TOKEN_EXP_TOO_FAR),
    "an end that no float holds": ({"exp": 10**400}, Refusal.TOKEN_EXP_TOO_FAR),
    "not valid yet": ({"nbf": 32_503_680_000}, Refusal.TOKEN_NOT_YET_VALID),
    "a beginning as a text": ({"nbf": "0"}, Refusal.TOKEN_NOT_YET_VALID),
    "a beginning that is no number": ({"nbf": float("nan")}, Refusal.TOKEN_NOT_YET_VALID),
    "nobody": ({"sub": None}, Refusal.TOKEN_SUBJECT),
    "nobody's name": ({"sub": ""}, Refusal.TOKEN_SUBJECT),
    "a long subject": ({"sub": "v" * 256}, Refusal.TOKEN_SUBJECT),
    "a subject that is no text": ({"sub": 1}, Refusal.TOKEN_SUBJECT),
    "a subject that is no Unicode": ({"sub": "\ud800"}, Refusal.TOKEN_SUBJECT),
    "no scope": ({"scope": None}, Refusal.TOKEN_SCOPE),
    "another scope": ({"scope": "openid user agents"}, Refusal.TOKEN_SCOPE),
    "another spelling": ({"scope": "openid Agent"}, Refusal.TOKEN_SCOPE),
    "a scope of a wrong shape": ({"scope": {"agent": True}}, Refusal.TOKEN_SCOPE),
    "a scope that is true": ({"scope": True}, Refusal.TOKEN_SCOPE),
    "scopes in a list in a list": ({"scope": [["agent"]]}, Refusal.TOKEN_SCOPE),
    "words in a list": ({"scope": ["openid agent"]}, Refusal.TOKEN_SCOPE),
    "for somebody else": ({"aud": "another service"}, Refusal.TOKEN_AUDIENCE),
    "another key": ({"key": OTHER_SECRET}, Refusal.TOKEN_SIGNATURE),
    "another family": ({"algorithm": "HS512"}, Refusal.TOKEN_ALGORITHM),
    "an extension that must be understood": ({"headers": {"crit": ["exp"]}}, Refusal.TOKEN_MALFORMED),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.filterwarnings("ignore:The HMAC key is")
def test_a_token_that_makes_no_agent_is_refused_for_a_reason(name: str) -> None:
    options, reason = REFUSED[name]
    made = {"sub": "vika", "exp": time.time() + options.get("seconds", 60), "scope": "agent"}
    claims = {key: value for key, value in options.items() if key in (*made, "nbf", "aud")}
    payload = {key: value for key, value in {**made, **claims}.items() if value is not None}
    token = jwt.api_jws.encode(
        json.dumps(payload).encode(),
        options.get("key", SECRET),
        options.get("algorithm", "HS256"),
        headers=options.get("headers"),
    )
    assert is_agent(SECRET, make_token())
    assert why_not(token) == reason


def test_other_faults_of_a_token_have_reasons_of_their_own() -> None:
    keys = jwks(jwk("RS256", kid="one"), jwk("ES256", kid="two"))
    named = make_token(key=RSA, algorithm="RS256", headers={"kid": "three"})
    assert why_not(named, key=keys) == Refusal.TOKEN_KID
    assert why_not(make_token(), audience="chat") == Refusal.TOKEN_AUDIENCE
    assert why_not("no token") == Refusal.TOKEN_MALFORMED
    assert why_not("x" * 100_000) == Refusal.TOKEN_MALFORMED


def test_an_end_at_the_last_moment_of_the_century_is_taken() -> None:
    assert is_agent(SECRET, make_token(exp=4_102_444_800))
    assert not is_agent(SECRET, make_token(exp=4_102_444_801))


# What the identity providers write: Entra ID, Auth0, Cognito, Keycloak with a mapper, and a namespace of one's own.
@pytest.mark.parametrize(
    ("claim", "word", "given"),
    [
        ("scp", "agent", "User.Read agent"),
        ("scp", "agent", ["agent"]),
        ("roles", "Support.Agent", ["Admin", "Support.Agent"]),
        ("roles", "Support Agent", ["Support Agent"]),
        ("permissions", "act:agent", ["read:chats", "act:agent"]),
        ("scope", "support/agent", "support/user support/agent"),
        ("cognito:groups", "agents", ["agents"]),
        ("https://example.com/roles", "agent", ["agent"]),
    ],
)
def test_the_claim_and_the_word_that_make_an_agent_are_settings(claim: str, word: str, given: object) -> None:
    def makes_an_agent(**claims: Any) -> bool:
        token = make_token(**{"scope": None, **claims})
        return is_agent(SECRET, token, agent_jwt_scope_claim=claim, agent_jwt_scope=word)

    assert makes_an_agent(**{claim: given})
    assert not makes_an_agent()
    assert not makes_an_agent(other="agent")
    assert not makes_an_agent(**{claim: {word: True}})
    assert not makes_an_agent(**{claim: f"{word}s"})


@pytest.mark.parametrize("name", ["x" * 65, " ", "", "a\u202eb", "a\x00b", "\ud800", 5, None, ["Vika"]])
def test_a_name_that_is_none_here_is_passed_over(name: object) -> None:
    claims = {"sub": "vika", "exp": time.time() + 60, "scope": "agent", "name": name}
    assert auth().agent(jwt.api_jws.encode(json.dumps(claims).encode(), SECRET, "HS256")).name is None


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
