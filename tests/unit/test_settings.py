"""Settings from the environment: what is read, and what stops the start with one line."""

import re
from typing import Any

import msgspec
import pytest

from live_support.cli import settings_table
from live_support.environment import PREFIX
from live_support.settings import Settings, SettingsError
from tests.helpers.provider import ED25519, pem
from tests.helpers.tokens import SECRET

PUBLIC_KEY = pem(ED25519).strip()
CHECKS = {"AGENT_JWT_KEY": PUBLIC_KEY, "AGENT_JWT_SECRET": SECRET}

# Environment variable, field, default, texts that are right with what they mean, texts that are wrong.
TABLE: list[tuple[str, str, Any, dict[str, Any], list[str]]] = [
    (
        "REDIS_URL",
        "redis_url",
        None,
        {
            "redis://localhost:6380/1": "redis://localhost:6380/1",
            "rediss://user:word@cache.example.com": "rediss://user:word@cache.example.com",
            "unix:///run/redis.sock": "unix:///run/redis.sock",
        },
        ["localhost:6379", "http://localhost:6379", "redis://localhost:port", "redis://localhost:65536"],
    ),
    (
        "HOST",
        "host",
        "127.0.0.1",
        {"localhost": "localhost", "::1": "::1", "127.0.0.1, ::1": "127.0.0.1, ::1"},
        ["0.0.0.0", "anywhere", "*", ",", "[::1]", "127.0.0.1:9000", "127.0.0.1 ::1", "300.1.1.1", "localhost,::"],  # noqa: S104
    ),
    ("CHAT_PORT", "chat_port", 9000, {"0": 0, "65535": 65535}, ["-1", "65536", "http", "90.5"]),
    ("SUBSCRIBER_PORT", "subscriber_port", 9001, {"0": 0, "65535": 65535}, ["-1", "65536", "http", "90.5"]),
    (
        "CHAT_TTL",
        "chat_ttl_seconds",
        120,
        {"0.5": 0.5, ".4": 0.4, "5.": 5, "+5": 5, "86400": 86400},
        ["0", "-1", "86401", "nan", "inf", "2m"],
    ),
    (
        "WAITING_TTL",
        "waiting_ttl_seconds",
        None,
        {"0.5": 0.5, ".4": 0.4, "5.": 5, "+5": 5, "600": 600},
        ["0", "-1", "86401", "nan", "2m", ".", "1,5", "1_0", "\u0665"],
    ),
    (
        "IDLE_TIMEOUT",
        "idle_seconds",
        120,
        {"0.5": 0.5, ".4": 0.4, "5.": 5, "+5": 5, "600": 600},
        ["0", "-1", "86401", "nan", "2m", ".", "1,5", "1_0", "\u0665"],
    ),
    (
        "CLAIM_LEASE",
        "claim_lease_seconds",
        15,
        {"0.5": 0.5, ".4": 0.4, "5.": 5, "+5": 5, "600": 600},
        ["0", "-1", "86401", "nan", "2m", ".", "1,5", "1_0", "\u0665"],
    ),
    (
        "LEAVE_GRACE",
        "leave_grace_seconds",
        15,
        {"0.5": 0.5, ".4": 0.4, "5.": 5, "+5": 5, "600": 600},
        ["0", "-1", "86401", "nan", "2m", ".", "1,5", "1_0", "\u0665"],
    ),
    (
        "JOIN_RATE",
        "join_rate",
        "10/minute",
        {"1/second": "1/second", "600/hour": "600/hour"},
        ["10", "0/minute", "-1/minute", "1.5/second", "10/day", "10 / minute", "9999999999/second"],
    ),
    ("MESSAGE_RATE", "message_rate", "20/second", {"5/minute": "5/minute"}, ["20", "0/second", "20/s"]),
    ("CHAT_JOIN_RATE", "chat_join_rate", "60/minute", {"5/second": "5/second"}, ["60", "0/minute", "1/day"]),
    ("HANDSHAKE_RATE", "handshake_rate", None, {"20/second": "20/second"}, ["20", "0/second", "20/s"]),
    ("CHAT_MAX_MESSAGES", "chat_max_messages", 5000, {"1": 1}, ["0", "-1", "many", "1.5"]),
    ("CHAT_MAX_BYTES", "chat_max_bytes", 8_388_608, {"1": 1}, ["0", "-1", "8MB", "1.5"]),
    (
        "ALLOWED_ORIGINS",
        "allowed_origins",
        (),
        {
            "https://example.com": ("https://example.com",),
            " https://a.example/ , http://b.example:8080,": ("https://a.example", "http://b.example:8080"),
            "https://Support.Example.com:443": ("https://support.example.com",),
        },
        ["example.com", "*", "https://a.example,b.example", "https://example.com/page"],
    ),
    (
        "AGENT_JWT_KEY",
        "agent_jwt_key",
        None,
        {PUBLIC_KEY: PUBLIC_KEY},
        ["secret", "s" * 32, "/no/such/file", "keys.json", "{}", "-----BEGIN PUBLIC KEY-----"],
    ),
    ("AGENT_JWT_AUDIENCE", "agent_jwt_audience", None, {}, ["without a key"]),
    (
        "AGENT_JWT_SECRET",
        "agent_jwt_secret",
        None,
        {"s" * 32: "s" * 32, f"  {'ß' * 16} ": "ß" * 16},
        ["secret", "s" * 31, "/no/such/file", "https://example.com/keys", PUBLIC_KEY],
    ),
    ("AGENT_JWT_SCOPE_CLAIM", "agent_jwt_scope_claim", "scope", {"scp": "scp", "permissions": "permissions"}, []),
    ("AGENT_JWT_SCOPE", "agent_jwt_scope", "agent", {"support/agent": "support/agent"}, []),
    ("ANONYMOUS_AGENTS", "anonymous_agents", False, {"true": True, "1": True, "false": False}, ["yes", "2", "on"]),
    ("WEBSOCKET", "websocket", "picows", {"picows": "picows", "uvicorn": "uvicorn"}, ["websockets", "auto"]),
    ("MAX_CONNECTIONS", "max_connections", 10_000, {"1": 1}, ["0", "-1", "many"]),
    ("CONNECTIONS_PER_ADDRESS", "connections_per_address", None, {"1": 1}, ["0", "-1", "many"]),
    (
        "TRUSTED_PROXIES",
        "trusted_proxies",
        (),
        {"10.0.0.0/8": ("10.0.0.0/8",), " 127.0.0.1, 2001:db8::/32 ,": ("127.0.0.1", "2001:db8::/32")},
        ["*", "localhost", "10.0.0.1/8", "127.0.0.1, proxy"],
    ),
    ("KEEP_ALIVE", "keep_alive_seconds", 75, {"5": 5, "600": 600}, ["0", "-1", "86401", "2m"]),
    ("DATA_DIR", "data_dir", ".live-support", {"/var/lib/live-support": "/var/lib/live-support"}, []),
    ("KEY_PREFIX", "key_prefix", "live-support", {"shop:1": "shop:1"}, ["a{b}", "a b", "x" * 65, "*"]),
    ("LOG_LEVEL", "log_level", "info", {"debug": "debug", "error": "error"}, ["loud", "INFO"]),
    ("LOG_FORMAT", "log_format", "console", {"json": "json"}, ["xml", "JSON"]),
]

FIELDS = {variable: field for variable, field, *_ in TABLE}
DEFAULTS = {variable: default for variable, _, default, *_ in TABLE}
RIGHT = [(variable, text, value) for variable, _, _, right, _ in TABLE for text, value in right.items()]
WRONG = [(variable, text) for variable, *_, wrong in TABLE for text in wrong]


def read(**env: str) -> Settings:
    """Read settings from the environment; names without the prefix."""
    return Settings.from_env({f"{PREFIX}{name}": value for name, value in env.items()})


def value_of(settings: Settings, variable: str) -> Any:
    value = getattr(settings, FIELDS[variable])
    return repr(value) if variable.endswith("_RATE") and value is not None else value


def refusal(**env: str) -> str:
    """The one line that a wrong environment ends the start with."""
    with pytest.raises(SettingsError) as refused:
        read(**env)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_the_table_names_every_setting() -> None:
    fields = {each.encode_name: each.name for each in msgspec.structs.fields(Settings)}
    assert fields == FIELDS | {"limits": "limits"}


@pytest.mark.parametrize("variable", FIELDS)
def test_a_setting_that_is_not_set_has_its_default(variable: str) -> None:
    assert value_of(read(), variable) == DEFAULTS[variable]


@pytest.mark.parametrize("variable", FIELDS)
@pytest.mark.parametrize("text", ["", "  "], ids=["empty", "white space"])
def test_an_empty_setting_counts_as_not_set(variable: str, text: str) -> None:
    assert value_of(read(**{variable: text}), variable) == DEFAULTS[variable]


@pytest.mark.parametrize(("variable", "text", "value"), RIGHT)
def test_a_right_value_is_taken(variable: str, text: str, value: Any) -> None:
    assert value_of(read(**{variable: f" {text} "}), variable) == value


@pytest.mark.parametrize(("variable", "text"), WRONG)
def test_a_wrong_value_is_refused_with_one_line_that_names_the_variable(variable: str, text: str) -> None:
    assert refusal(**{variable: text}).startswith(f"{PREFIX}{variable}: ")


@pytest.mark.parametrize(
    ("name", "meant"),
    {
        "CHAT_TTTL": "CHAT_TTL",
        "CHAT_TLL": "CHAT_TTL",
        "PORT": "CHAT_PORT",
        "JWT_KEY": "AGENT_JWT_KEY",
        "ORIGINS": "ALLOWED_ORIGINS",
        "HOSTS": "HOST",
        "chat_ttl_seconds": None,
        "LIMITS": None,
        "limits": None,
        "Z": None,
    }.items(),
)
def test_an_unknown_variable_with_our_prefix_is_refused_and_a_similar_one_named(name: str, meant: str | None) -> None:
    reason = refusal(**{name: "5"})
    assert reason.startswith(f"{PREFIX}{name.upper()}: unknown setting")
    if meant:
        assert reason.endswith(f"; did you mean {PREFIX}{meant}?")


EXPECTED = {
    "CHAT_TTL": "a number of seconds from 0.01 to 86400",
    "CHAT_PORT": "the number of a port, 0 to 65535",
    "CHAT_MAX_BYTES": "a whole number from 1 on",
    "CONNECTIONS_PER_ADDRESS": "a whole number from 1 on",
    "ANONYMOUS_AGENTS": "true or false",
    "LOG_FORMAT": "one of console, json",
    "KEY_PREFIX": "1 to 64 letters, digits and characters of ._:-",
}


@pytest.mark.parametrize("name", EXPECTED)
def test_a_wrong_value_is_told_what_it_is_to_be(name: str) -> None:
    assert refusal(**{name: "{abc}"}) == f"{PREFIX}{name}: expected {EXPECTED[name]}, not '{{abc}}'"


@pytest.mark.parametrize("variable", FIELDS)
def test_no_wrong_value_is_told_in_words_of_the_code(variable: str) -> None:
    try:
        read(**{variable: "{no value}"})
    except SettingsError as error:
        reason = str(error)
    else:
        reason = ""
    assert not re.search(r"`|regex|\bstr\b|\bint\b|\bfloat\b|\bbool\b", reason)


# What Kubernetes gives a container for the Services `live-support`, `live-support-chat` and `live-support-subscriber`.

SERVICE_LINKS = {
    f"{of}{name}": value
    for of in ("", "CHAT_", "SUBSCRIBER_", "REDIS_", "A_B_C_")
    for name, value in {
        "SERVICE_HOST": "10.96.0.10",
        "SERVICE_PORT": "9000",
        "SERVICE_PORT_HTTP": "9000",
        "SERVICE_PORT_JOINS_WS": "9001",
        "PORT": "tcp://10.96.0.10:9000",
        "PORT_9000_TCP": "tcp://10.96.0.10:9000",
        "PORT_9000_TCP_PROTO": "tcp",
        "PORT_9000_TCP_PORT": "9000",
        "PORT_9000_TCP_ADDR": "10.96.0.10",
        "PORT_53_UDP": "udp://10.96.0.10:53",
        "PORT_53_UDP_PROTO": "udp",
        "PORT_36412_SCTP": "sctp://10.96.0.10:36412",
        "PORT_36412_SCTP_ADDR": "10.96.0.10",
    }.items()
}


def test_what_kubernetes_says_of_services_is_passed_over() -> None:
    assert read(**SERVICE_LINKS) == read()
    six = {name: value.replace("10.96.0.10", "[fd00::a]") for name, value in SERVICE_LINKS.items()}
    six = {name: value.strip("[]") for name, value in six.items()}
    assert read(**six) == read()


@pytest.mark.parametrize(
    ("name", "value"),
    {
        "PORT": "9000",
        "CHAT_PORT": "http://10.96.0.10:9000",
        "SUBSCRIBER_PORT": "tcp",
        "CHAT_PORTS": "tcp://10.96.0.10:9000",
        "SERVICE_HOST": "example.com",
        "SERVICE_PORT": "http",
        "PORT_9000_TCP_ADDR": "example.com",
        "PORT_9000_HTTP": "tcp://10.96.0.10:9000",
        "HOST_SERVICE": "10.96.0.10",
    }.items(),
)
def test_a_mistyped_setting_is_not_taken_for_one_of_these(name: str, value: str) -> None:
    assert refusal(**{name: value}).startswith(f"{PREFIX}{name}: ")


def test_other_variables_are_none_of_our_business() -> None:
    env = {"CHAT_TTL": "5", "PATH": "/bin", "LIVE_SUPPORT_TEST_REDIS_URL": "redis://localhost:1"}
    assert Settings.from_env(env) == Settings.from_env({})


# Without a key agents need no token, so only this machine may reach a service unless the operator says otherwise.


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost", "127.0.0.1,::1", "::1, localhost"])
def test_a_loopback_address_needs_no_leave_for_anonymous_agents(host: str) -> None:
    assert read(HOST=host).on_loopback


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.com", "127.0.0.1.example.com"])  # noqa: S104
@pytest.mark.parametrize("others", [[], ["127.0.0.1"], ["localhost", "::1"]])
def test_any_other_address_needs_it_also_among_others(host: str, others: list[str]) -> None:
    for hosts in ([*others, host], [host, *others]):
        reason = refusal(HOST=",".join(hosts))
        assert reason.startswith(f"{PREFIX}HOST: {host} is not a loopback address")
        assert f"{PREFIX}ANONYMOUS_AGENTS=true" in reason
        assert read(HOST=",".join(hosts), ANONYMOUS_AGENTS="true").hosts == tuple(hosts)


def test_an_address_that_is_named_twice_counts_once() -> None:
    assert read(HOST="127.0.0.1, ::1,127.0.0.1,").hosts == ("127.0.0.1", "::1")


def test_the_table_of_settings_says_what_each_is() -> None:
    for name, default, meaning in settings_table.settings():
        assert meaning.endswith("."), name
        assert default == {True: "true", False: "false"}.get(DEFAULTS[name], str(DEFAULTS[name] or "none")), name
        assert f"\n{PREFIX}{name}" in f"\n{settings_table.settings_table()}"
    assert {name for name, *_ in settings_table.settings()} == set(FIELDS)


@pytest.mark.parametrize("name", ["AGENT_JWT_KEY", "AGENT_JWT_SECRET"])
def test_a_key_needs_no_leave_for_anonymous_agents(name: str) -> None:
    settings = read(HOST="0.0.0.0", AGENT_JWT_AUDIENCE="chat", **{name: CHECKS[name]})  # noqa: S104
    assert (value_of(settings, name), settings.agent_jwt_audience) == (CHECKS[name], "chat")


@pytest.mark.parametrize("name", ["AGENT_JWT_KEY", "AGENT_JWT_SECRET"])
def test_a_key_and_anonymous_agents_contradict_each_other(name: str) -> None:
    reason = refusal(ANONYMOUS_AGENTS="true", **{name: CHECKS[name]})
    assert reason == f"{PREFIX}ANONYMOUS_AGENTS: contradicts {PREFIX}{name}"


def test_a_key_and_a_secret_contradict_each_other() -> None:
    reason = refusal(**CHECKS)
    assert reason.startswith(f"{PREFIX}AGENT_JWT_SECRET: contradicts {PREFIX}AGENT_JWT_KEY")
    assert SECRET not in reason


def test_a_key_does_not_show_itself() -> None:
    assert SECRET not in repr(read(AGENT_JWT_SECRET=SECRET))
    for name in CHECKS:
        assert "wrong" not in refusal(**{name: "wrong"})


# What the code derives from settings.


def test_the_waiting_ttl_follows_the_chat_ttl_unless_it_is_set() -> None:
    assert read(CHAT_TTL="7").waiting_ttl_ms == 7000
    assert read(CHAT_TTL="7", WAITING_TTL="9").waiting_ttl_ms == 9000


def test_one_address_has_a_bound_where_addresses_tell_clients_apart() -> None:
    anywhere = {"HOST": "0.0.0.0", "ANONYMOUS_AGENTS": "true"}  # noqa: S104
    assert read().max_per_address is None
    assert read(TRUSTED_PROXIES="127.0.0.1").max_per_address == 100
    assert read(**anywhere).max_per_address == 100
    assert read(CONNECTIONS_PER_ADDRESS="7").max_per_address == 7
    assert read(**anywhere, CONNECTIONS_PER_ADDRESS="7").max_per_address == 7


def test_durations_are_whole_milliseconds() -> None:
    settings = read(CHAT_TTL="0.01", CLAIM_LEASE="1.2345", LEAVE_GRACE="2")
    assert (settings.chat_ttl_ms, settings.claim_lease_ms, settings.leave_grace_ms) == (10, 1234, 2000)


@pytest.mark.parametrize("name", ["CHAT_TTL", "WAITING_TTL", "IDLE_TIMEOUT", "CLAIM_LEASE", "LEAVE_GRACE"])
def test_a_duration_that_would_keep_the_rounds_spinning_is_refused(name: str) -> None:
    assert f"{PREFIX}{name}" in refusal(**{name: "0.009"})


def test_a_rate_is_a_count_and_the_interval_of_one() -> None:
    rate = read(JOIN_RATE="10/minute").join_rate
    assert (rate.count, rate.interval_seconds) == (10, 6.0)
