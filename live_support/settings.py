"""Settings and limits: one frozen struct, read once from the environment (PROTOCOL section 8)."""

import re
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from ipaddress import ip_address, ip_network
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta, Struct, field, inspect

from live_support.web_address import parse_origin

PREFIX = "LIVE_SUPPORT_"
DEFAULT_URL = "redis://localhost:6379"
"""Where an app looks for Redis that was built without a `REDIS_URL`; the commands insist on one."""
TEST_PREFIX = "LIVE_SUPPORT_TEST_"

# The descriptions are what a wrong value is told to be.
Seconds = Annotated[float, Meta(ge=0.01, le=86_400, description="a number of seconds from 0.01 to 86400")]
Port = Annotated[int, Meta(ge=0, le=65_535, description="the number of a port, 0 to 65535")]
Count = Annotated[int, Meta(ge=1, description="a whole number from 1 on")]
KeyPrefix = Annotated[
    str, Meta(pattern=r"^[A-Za-z0-9._:-]{1,64}$", description="1 to 64 letters, digits and characters of ._:-")
]


class SettingsError(ValueError):
    """Raised when a setting is wrong; the text is one line that names the variable."""


class Rate:
    """So many per period, as in "20/second": a bucket of `count`, refilled evenly over the period."""

    _PERIODS: ClassVar = {"second": 1.0, "minute": 60.0, "hour": 3600.0}
    _FORM: ClassVar = re.compile(r"([1-9][0-9]{0,8})/(second|minute|hour)")

    def __init__(self, text: str) -> None:
        match = self._FORM.fullmatch(text)
        if match is None:
            raise ValueError('Expected "n/second", "n/minute" or "n/hour"')
        self.count = int(match[1])
        self.interval_seconds = self._PERIODS[match[2]] / self.count
        """How long one unit takes to come back."""
        self._text = text

    def __repr__(self) -> str:
        return self._text


class Network(str):
    """An address or a network in CIDR form, such as "127.0.0.1" or "10.0.0.0/8"."""

    __slots__ = ()

    def __new__(cls, text: str) -> "Network":
        try:
            ip_network(text)
        except ValueError:
            raise ValueError("Expected an IP address, or a network as 10.0.0.0/8") from None
        return super().__new__(cls, text)


class Origin(str):
    """The origin of pages, as browsers send it."""

    __slots__ = ()

    def __new__(cls, text: str) -> "Origin":
        return super().__new__(cls, parse_origin(text).text)


class Secret(str):
    """A text that does not show itself in a log or a traceback."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


class Limits(Struct, frozen=True, kw_only=True):
    """Bounds that are no settings: nobody needs to change them to run the system, tests do."""

    frame_bytes: int = 64 * 1024
    """An incoming WebSocket message larger than this closes with 1009."""
    head_bytes: int = 16 * 1024
    """A request whose line and headers are larger is refused."""
    head_seconds: float = 5
    """A request's head must be there so long after the connection, or after the last answer."""
    body_bytes: int = 16 * 1024
    """A request with a larger body is refused."""
    body_seconds: float = 10
    """A request's body must be there so long after its head."""
    pipelined_requests: int = 8
    """Requests of one connection that wait for the answer to an earlier one."""
    read_seconds: float = 20
    """An HTTP peer that does not go on reading an answer for so long is cut off."""
    linger_seconds: float = 5
    """An HTTP peer that does not read the end of an answer for so long after it is cut off."""
    connections_per_address: int = 100
    """The default of `CONNECTIONS_PER_ADDRESS` where it applies."""
    first_frame_seconds: float = 10
    """A chat connection that has not joined by then is closed."""
    malformed_in_a_row: int = 3
    """So many malformed frames one after the other close the connection."""
    connections_per_participant: int = 5
    """Tabs of one participant in one chat; the oldest makes room."""
    replaced_connections: int = 1000
    """So many in one chat; then no more is let in until one leaves. Each is an entry of the chat's log."""
    outbox_frames: int = 256
    """Frames waiting for one connection; more means a slow consumer."""
    outbox_bytes: int = 1024 * 1024
    """Bytes waiting for one connection; a single larger frame still passes."""
    send_buffer_bytes: int = 128 * 1024
    """What the kernel holds for a peer (Linux doubles it): at a round trip of 0.1 s some 1..2 MB/s."""
    send_seconds: float = 5
    """A peer that takes nothing for so long is cut off."""
    send_bytes_per_second: int = 32 * 1024
    """How fast a peer must take a large frame; a history has that much more time."""
    close_seconds: float = 8
    """A peer that has not completed the closing handshake by then is cut off."""
    unanswered: int = 32
    """Frames of one connection that are worked on at a time; more wait, and reading pauses. A chat keeps the numbers
    of as many messages of a connection, to know those that are sent to Redis again."""
    fragments: int = 64
    """Fragments of one message; more close with 1008."""
    control_frames_per_second: int = 20
    """Pings and pongs of one connection; more close with 1008."""
    store_seconds: float = 4
    """A write that Redis has not confirmed by then is answered with `unavailable`."""
    redis_commands: int = 20_000
    """Commands of one process that wait for Redis; more are refused with `unavailable`."""
    waiting_users: int = 10_000
    """Users in the queue at the most."""
    stop_notice_seconds: float = 0.5
    """So long a stopping service only says so on `/health`: time for a proxy that looks often to send new clients
    elsewhere. Longer helps no one: new sockets are refused with 503, and a proxy tries the next process."""
    leave_seconds: float = 2
    """A peer that has not left so long after 1012 is cut off: it does not read."""
    drain_seconds: float = 8
    """How long a stopping service waits for its clients in all. It ends within 10 s, whatever they do."""


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an operator may set. The environment variable is `LIVE_SUPPORT_` and the name given to `field`."""

    redis_url: str | None = field(default=None, name="REDIS_URL")
    """Redis 7 or a compatible server, as `redis://host:port`. Unset, `live-support up` and the tests start an embedded
    one."""
    host: str = field(default="127.0.0.1", name="HOST")
    """Addresses that both services listen on, separated by commas; `::` is all of IPv6 and of IPv4. Addresses other
    than loopback need `AGENT_JWT_KEY` or `AGENT_JWT_SECRET`, or `ANONYMOUS_AGENTS=true`."""
    chat_port: Port = field(default=9000, name="CHAT_PORT")
    """Port of the ChatServer."""
    subscriber_port: Port = field(default=9001, name="SUBSCRIBER_PORT")
    """Port of the Subscriber."""
    chat_ttl_seconds: Seconds = field(default=120, name="CHAT_TTL")
    """Seconds from the last registration, `Join` or `ChatMessage` until a chat expires."""
    waiting_ttl_seconds: Seconds | None = field(default=None, name="WAITING_TTL")
    """The same while the user waits for an agent (default: `CHAT_TTL`)."""
    idle_seconds: Seconds = field(default=120, name="IDLE_TIMEOUT")
    """Seconds without application messages in either direction until a connection is closed."""
    claim_lease_seconds: Seconds = field(default=15, name="CLAIM_LEASE")
    """Seconds that an agent has to join the chat of a claimed user; then the user returns to the queue."""
    leave_grace_seconds: Seconds = field(default=15, name="LEAVE_GRACE")
    """Seconds until a user whose last connection is gone leaves the queue."""
    join_rate: Rate = field(default=Rate("10/minute"), name="JOIN_RATE")
    """Registrations per client address (IPv6: per /64); refused ones count, too."""
    chat_join_rate: Rate = field(default=Rate("60/minute"), name="CHAT_JOIN_RATE")
    """Joins of one chat, by all of its connections together."""
    handshake_rate: Rate | None = field(default=None, name="HANDSHAKE_RATE")
    """WebSocket handshakes per client address (default: `20/second`; unlimited where `CONNECTIONS_PER_ADDRESS` is)."""
    message_rate: Rate = field(default=Rate("20/second"), name="MESSAGE_RATE")
    """Frames per connection."""
    chat_max_messages: Count = field(default=5000, name="CHAT_MAX_MESSAGES")
    """Messages that one chat may hold."""
    chat_max_bytes: Count = field(default=8_388_608, name="CHAT_MAX_BYTES")
    """Bytes of stored messages that one chat may hold."""
    allowed_origins: tuple[Origin, ...] = field(default=(), name="ALLOWED_ORIGINS")
    """Origins of browser pages that may connect, separated by commas (default: the service's own host; on loopback
    also every page of this machine)."""
    agent_jwt_key: Secret | None = field(default=None, name="AGENT_JWT_KEY")
    """Public keys that agents' tokens (JWT) are checked with: PEM or JWKS, or the path of a file with either."""
    agent_jwt_secret: Secret | None = field(default=None, name="AGENT_JWT_SECRET")
    """Instead of `AGENT_JWT_KEY`: the HS256 secret of agents' tokens, a random text of at least 32 bytes, such
    as `openssl rand -base64 48` prints."""
    agent_jwt_audience: str | None = field(default=None, name="AGENT_JWT_AUDIENCE")
    """What `aud` of an agent's token must contain. Unset, a token with an `aud` is refused."""
    agent_jwt_scope_claim: Annotated[str, Meta(min_length=1)] = field(default="scope", name="AGENT_JWT_SCOPE_CLAIM")
    """The claim of an agent's token that lists what its bearer may do: a text of words, or a list."""
    agent_jwt_scope: Annotated[str, Meta(min_length=1)] = field(default="agent", name="AGENT_JWT_SCOPE")
    """The word in that claim that makes the bearer an agent."""
    anonymous_agents: bool = field(default=False, name="ANONYMOUS_AGENTS")
    """Allow agents without a token on addresses other than loopback: every client that reaches the port may then be
    an agent."""
    websocket: Literal["picows", "uvicorn"] = field(default="picows", name="WEBSOCKET")
    """WebSocket layer: `picows`, or `uvicorn` for uvicorn's own, which takes three times as long for a frame."""
    max_connections: Count = field(default=10_000, name="MAX_CONNECTIONS")
    """Open connections of one process, WebSockets and others."""
    connections_per_address: Count | None = field(default=None, name="CONNECTIONS_PER_ADDRESS")
    """Open connections of one client address in one process; IPv6: of one /64 (default: `100`; on loopback without
    `TRUSTED_PROXIES` unlimited, since all clients have the same address there)."""
    trusted_proxies: tuple[Network, ...] = field(default=(), name="TRUSTED_PROXIES")
    """Proxies whose `X-Forwarded-For` names the client: addresses or networks, separated by commas."""
    keep_alive_seconds: Seconds = field(default=75, name="KEEP_ALIVE")
    """Seconds without a request until an HTTP connection is closed."""
    data_dir: str = field(default=".live-support", name="DATA_DIR")
    """Folder in which `live-support up` keeps the data of its embedded server."""
    key_prefix: KeyPrefix = field(default="live-support", name="KEY_PREFIX")
    """What all keys and channels in Redis begin with, for several installations on one Redis. With another prefix the
    channel `Join` is `<prefix>:Join`."""
    log_level: Literal["debug", "info", "warning", "error"] = field(default="info", name="LOG_LEVEL")
    """Least severe level that is logged: `debug`, `info`, `warning` or `error`."""
    log_format: Literal["console", "json"] = field(default="console", name="LOG_FORMAT")
    """`console`: lines for people; `json`: one JSON object per line."""
    limits: Limits = Limits()

    @property
    def hosts(self) -> tuple[str, ...]:
        """The addresses of `HOST`, each once."""
        return tuple(dict.fromkeys(_parts(self.host)))

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine can connect."""
        return all(map(_is_loopback, self.hosts))

    @property
    def most_per_address(self) -> int | None:
        """How many connections one client address may have; None for any number.

        On loopback all clients have the same address, unless a proxy tells theirs.
        """
        if self.connections_per_address is None and self.on_loopback and not self.trusted_proxies:
            return None
        return self.connections_per_address or self.limits.connections_per_address

    @property
    def chat_ttl_ms(self) -> int:
        """`CHAT_TTL` as Redis wants it."""
        return _ms(self.chat_ttl_seconds)

    @property
    def waiting_ttl_ms(self) -> int:
        """`WAITING_TTL` as Redis wants it."""
        return _ms(self.waiting_ttl_seconds or self.chat_ttl_seconds)

    @property
    def claim_lease_ms(self) -> int:
        """`CLAIM_LEASE` as Redis wants it."""
        return _ms(self.claim_lease_seconds)

    @property
    def leave_grace_ms(self) -> int:
        """`LEAVE_GRACE` as Redis wants it."""
        return _ms(self.leave_grace_seconds)

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "Settings":
        """Read the settings from environment variables; empty ones count as unset.

        Raises:
            SettingsError: a value is wrong, a variable with our prefix is unknown, or anybody on other machines
                could be an agent.
        """
        given = {
            name.removeprefix(PREFIX).upper(): value.strip()
            for name, value in env.items()
            if name.startswith(PREFIX) and not name.startswith(TEST_PREFIX) and value.strip()
        }
        given = {name: value for name, value in given.items() if not _is_service_link(name, value)}
        kinds = {each.encode_name: each.type for each in inspect.type_info(cls).fields}  # type: ignore[attr-defined]
        try:
            settings = msgspec.convert(_read(given, kinds), cls, strict=False, dec_hook=_decode)
        except msgspec.ValidationError as error:
            raise SettingsError(_explain(str(error), given, kinds)) from None
        _check_hosts(settings)
        if settings.redis_url is not None:
            _check_redis_url(settings.redis_url)
        _check_agents(settings)
        return settings


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _check_redis_url(url: str) -> None:
    # Not at the top: settings are read by every command, and most need no Redis client.
    from live_support.redis.address import Address, AddressError

    try:
        Address(url)
    except AddressError as error:
        raise SettingsError(f"{PREFIX}REDIS_URL: {error}") from None


def _check_agents(settings: Settings) -> None:
    key, secret = settings.agent_jwt_key, settings.agent_jwt_secret
    if key is not None and secret is not None:
        raise SettingsError(f"{PREFIX}AGENT_JWT_SECRET: contradicts {PREFIX}AGENT_JWT_KEY; set one of them")
    if key is not None or secret is not None:
        name = f"{PREFIX}AGENT_JWT_{'SECRET' if key is None else 'KEY'}"
        if settings.anonymous_agents:
            raise SettingsError(f"{PREFIX}ANONYMOUS_AGENTS: contradicts {name}")
        # Not at the top, as above.
        from live_support.agents.keys import load_keys
        from live_support.agents.secret import UnusableKey

        try:
            load_keys(key, secret)
        except UnusableKey as error:
            raise SettingsError(f"{name}: {error}") from None
    elif settings.agent_jwt_audience is not None:
        raise SettingsError(f"{PREFIX}AGENT_JWT_AUDIENCE: needs {PREFIX}AGENT_JWT_KEY or {PREFIX}AGENT_JWT_SECRET")
    elif not settings.on_loopback and not settings.anonymous_agents:
        open_host = next(host for host in settings.hosts if not _is_loopback(host))
        raise SettingsError(
            f"{PREFIX}HOST: {open_host} is not a loopback address, and agents need no token;"
            f" set {PREFIX}AGENT_JWT_KEY or {PREFIX}AGENT_JWT_SECRET,"
            f" or {PREFIX}ANONYMOUS_AGENTS=true if every client may be an agent"
        )


def _check_hosts(settings: Settings) -> None:
    if not settings.hosts:
        raise SettingsError(f"{PREFIX}HOST: expected an address")
    for host in settings.hosts:
        if not _HOST.fullmatch(host) and not _is_address(host):
            hint = "; all addresses of this machine are ::, or 0.0.0.0 for IPv4 alone" if host == "*" else ""
            raise SettingsError(f"{PREFIX}HOST: expected addresses or names of hosts, not {_shown(host)}{hint}")


# Without a port or brackets; what looks like a number is an address, or none.
_HOST = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?")


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    return host == "localhost" or (_is_address(host) and ip_address(host).is_loopback)


# What Kubernetes gives every container for each Service whose name begins as ours: for `live-support`, and with more
# in front for such as `live-support-chat`. The values tell these from a mistyped setting.
_LINK_URL = r"(tcp|udp|sctp)://[0-9a-fA-F.:\[\]]+"
_SERVICE_LINKS = [
    (re.compile(name), re.compile(value, re.IGNORECASE))
    for name, value in {
        r"(.+_)?SERVICE_HOST": r"[0-9a-f.:]+",
        r"(.+_)?SERVICE_PORT(_[A-Z0-9_]+)?": r"[0-9]+",
        r"(.+_)?PORT(_[0-9]+_(TCP|UDP|SCTP))?": _LINK_URL,
        r"(.+_)?PORT_[0-9]+_(TCP|UDP|SCTP)_PROTO": r"tcp|udp|sctp",
        r"(.+_)?PORT_[0-9]+_(TCP|UDP|SCTP)_PORT": r"[0-9]+",
        r"(.+_)?PORT_[0-9]+_(TCP|UDP|SCTP)_ADDR": r"[0-9a-f.:]+",
    }.items()
]


def _is_service_link(name: str, value: str) -> bool:
    return any(names.fullmatch(name) and values.fullmatch(value) for names, values in _SERVICE_LINKS)


_LISTS = frozenset({"ALLOWED_ORIGINS", "TRUSTED_PROXIES"})
_FRACTION = re.compile(r"\+?([0-9]+\.?[0-9]*|\.[0-9]+)")


def _read(given: Mapping[str, str], kinds: Mapping[str, inspect.Type]) -> dict[str, Any]:
    """Split lists, and read numbers as people write them: msgspec takes those of JSON."""

    def read(name: str, text: str) -> object:
        if name in _LISTS:
            return _parts(text)
        if _FRACTION.fullmatch(text) and name in kinds and isinstance(_plain(kinds[name]), inspect.FloatType):
            return float(text)
        return text

    return {name: read(name, text) for name, text in given.items()}


def _parts(text: str) -> list[str]:
    # A page's address ends with a slash, its origin does not.
    return [part.strip().rstrip("/") for part in text.split(",") if part.strip()]


def _decode(kind: Callable[[str], Any], value: str) -> Any:
    return kind(value)


def _explain(error: str, given: Mapping[str, str], kinds: Mapping[str, inspect.Type]) -> str:
    reason, _, path = error.partition(" - at `$.")
    if path:
        name = path.rstrip("`").partition("[")[0]
        expected = _expected(kinds[name])
        return f"{PREFIX}{name}: " + (f"expected {expected}, not {_shown(given[name])}" if expected else reason)
    unknown = re.search(r"unknown field `(.*)`", reason)
    if not unknown:
        return reason
    return f"{PREFIX}{unknown[1]}: unknown setting{did_you_mean(unknown[1], kinds, PREFIX)}"


def did_you_mean(name: str, names: Iterable[str], prefix: str = "") -> str:
    """Ask whether a similar name was meant; empty if there is none."""
    similar = get_close_matches(name, [each for each in names if each != "limits"], 1)
    return f"; did you mean {prefix}{similar[0]}?" if similar else ""


def _plain(kind: inspect.Type) -> inspect.Type:
    """The type itself of a setting that may be absent, is a list, or is described."""
    match kind:
        case inspect.UnionType(types=types):
            return _plain(next(each for each in types if not isinstance(each, inspect.NoneType)))
        case inspect.VarTupleType(item_type=item):
            return _plain(item)
        case inspect.Metadata(type=described):
            return _plain(described)
    return kind


def _expected(kind: inspect.Type) -> str | None:
    """Say in an operator's words what a value is to be; None where the type says so itself."""
    match kind:
        case inspect.UnionType(types=types):
            return _expected(next(each for each in types if not isinstance(each, inspect.NoneType)))
        case inspect.VarTupleType(item_type=item):
            return _expected(item)
        case inspect.Metadata(extra_json_schema={"description": str(description)}):
            return description
        case inspect.LiteralType(values=values):
            return f"one of {', '.join(map(str, values))}"
        case inspect.BoolType():
            return "true or false"
    return None


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:37]}...")
