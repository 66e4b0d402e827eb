"""Settings: one frozen struct, read once from the environment (PROTOCOL section 8)."""

import re
from collections.abc import Callable, Mapping
from ipaddress import ip_address, ip_network
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct, field, inspect

from live_support.environment import PREFIX, explain, given_settings, read_values, shown, split_list
from live_support.limits import Limits
from live_support.rate import Rate
from live_support.web_address import parse_origin

DEFAULT_URL = "redis://localhost:6379"
"""Where an app without `REDIS_URL` expects Redis; the commands require the setting."""

# The descriptions complete the message for a wrong value: "expected ...".
Seconds = Annotated[float, Meta(ge=0.01, le=86_400, description="a number of seconds from 0.01 to 86400")]
Port = Annotated[int, Meta(ge=0, le=65_535, description="the number of a port, 0 to 65535")]
Count = Annotated[int, Meta(ge=1, description="a whole number from 1 on")]
KeyPrefix = Annotated[
    str, Meta(pattern=r"^[A-Za-z0-9._:-]{1,64}$", description="1 to 64 letters, digits and characters of ._:-")
]


class SettingsError(ValueError):
    """Raised when a setting is wrong; the message is one line that names the variable."""


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
    """The origin of a page, as browsers send it."""

    __slots__ = ()

    def __new__(cls, text: str) -> "Origin":
        return super().__new__(cls, parse_origin(text).text)


class Secret(str):
    """A text whose `repr` hides it, so that no log or traceback shows it."""

    __slots__ = ()

    def __repr__(self) -> str:
        """Hide the text."""
        return "'***'"


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
        return tuple(dict.fromkeys(split_list(self.host)))

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine can connect."""
        return all(map(_is_loopback, self.hosts))

    @property
    def max_per_address(self) -> int | None:
        """How many connections one client address may have; None for any number.

        On loopback all clients have the same address, unless a proxy names theirs.
        """
        if self.connections_per_address is None and self.on_loopback and not self.trusted_proxies:
            return None
        return self.connections_per_address or self.limits.connections_per_address

    @property
    def chat_ttl_ms(self) -> int:
        """`CHAT_TTL` in milliseconds, as Redis expects it."""
        return _ms(self.chat_ttl_seconds)

    @property
    def waiting_ttl_ms(self) -> int:
        """`WAITING_TTL` in milliseconds, as Redis expects it."""
        return _ms(self.waiting_ttl_seconds or self.chat_ttl_seconds)

    @property
    def claim_lease_ms(self) -> int:
        """`CLAIM_LEASE` in milliseconds, as Redis expects it."""
        return _ms(self.claim_lease_seconds)

    @property
    def leave_grace_ms(self) -> int:
        """`LEAVE_GRACE` in milliseconds, as Redis expects it."""
        return _ms(self.leave_grace_seconds)

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "Settings":
        """Read the settings from environment variables; empty ones count as unset.

        Raises:
            SettingsError: a value is wrong, a variable with our prefix is unknown, or any client on another machine
                could act as an agent.
        """
        given = given_settings(env)
        kinds = {each.encode_name: each.type for each in inspect.type_info(cls).fields}  # type: ignore[attr-defined]
        try:
            settings = msgspec.convert(read_values(given, kinds), cls, strict=False, dec_hook=_decode)
        except msgspec.ValidationError as error:
            raise SettingsError(explain(str(error), given, kinds)) from None
        _check_hosts(settings)
        if settings.redis_url is not None:
            _check_redis_url(settings.redis_url)
        _check_agents(settings)
        return settings


def _decode(kind: Callable[[str], Any], value: str) -> Any:
    return kind(value)


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
            raise SettingsError(f"{PREFIX}HOST: expected addresses or names of hosts, not {shown(host)}{hint}")


# Without a port or brackets. A name has a letter; a text of digits and dots must be an address.
_HOST = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?")


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    return host == "localhost" or (_is_address(host) and ip_address(host).is_loopback)
