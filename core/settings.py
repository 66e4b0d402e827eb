"""Settings and limits: one frozen struct, read once from the environment (PROTOCOL section 8)."""

import re
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta, Struct, field

PREFIX = "LIVE_SUPPORT_"
DEFAULT_URL = "redis://localhost:6379"
"""Where an app looks for Redis that was built without a `REDIS_URL`; the commands insist on one."""
TEST_PREFIX = "LIVE_SUPPORT_TEST_"

Seconds = Annotated[float, Meta(ge=0.01, le=86_400)]
Port = Annotated[int, Meta(ge=0, le=65_535)]
Origin = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9+.-]*://[^/\s]+$")]


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


class Limits(Struct, frozen=True, kw_only=True):
    """Bounds that are no settings: nobody needs to change them to run the system, tests do."""

    frame_bytes: int = 64 * 1024
    """An incoming WebSocket message larger than this closes with 1009."""
    first_frame_seconds: float = 10
    """A chat connection that has not joined by then is closed."""
    malformed_in_a_row: int = 3
    """So many malformed frames one after the other close the connection."""
    connections_per_participant: int = 5
    """Tabs of one participant in one chat; the oldest makes room."""
    outbox_frames: int = 256
    """Frames waiting for one connection; more means a slow consumer."""
    outbox_bytes: int = 1024 * 1024
    """Characters waiting for one connection; a single larger frame still passes."""
    send_buffer_bytes: int = 128 * 1024
    """What the kernel holds for a peer (Linux doubles it): at a round trip of 0.1 s some 1..2 MB/s."""
    send_seconds: float = 5
    """A peer that takes nothing for so long is cut off."""
    send_bytes_per_second: int = 32 * 1024
    """How fast a peer must take a large frame; a history has that much more time."""
    close_seconds: float = 8
    """A peer that has not completed the closing handshake by then is cut off."""
    unanswered: int = 32
    """Frames of one connection that are worked on at a time; more wait, and reading pauses."""
    fragments: int = 64
    """Fragments of one message; more close with 1008."""
    control_frames_per_second: int = 20
    """Pings and pongs of one connection; more close with 1008."""
    store_seconds: float = 4
    """A write that Redis has not confirmed by then is answered with `unavailable`."""
    waiting_users: int = 10_000
    """Users in the queue at the most."""
    drain_seconds: float = 10
    """How long a stopping service waits for its connections."""


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an operator may set. The environment variable is `LIVE_SUPPORT_` and the name given to `field`."""

    redis_url: str | None = field(default=None, name="REDIS_URL")
    """Redis 7 or compatible; unset: `live-support up` and the tests start an embedded server."""
    host: str = field(default="127.0.0.1", name="HOST")
    """Address that both services listen on."""
    chat_port: Port = field(default=9000, name="CHAT_PORT")
    """Port of the ChatServer."""
    subscriber_port: Port = field(default=9001, name="SUBSCRIBER_PORT")
    """Port of the Subscriber."""
    chat_ttl_seconds: Seconds = field(default=120, name="CHAT_TTL")
    """A chat expires so long after its last registration, `Join` or `ChatMessage`."""
    waiting_ttl_seconds: Seconds | None = field(default=None, name="WAITING_TTL")
    """The same while the user waits for an agent (default: `CHAT_TTL`)."""
    idle_seconds: Seconds = field(default=120, name="IDLE_TIMEOUT")
    """A connection without application messages either way is closed after so long."""
    claim_lease_seconds: Seconds = field(default=15, name="CLAIM_LEASE")
    """A claimed user returns to the queue unless the agent joins the chat within this time."""
    leave_grace_seconds: Seconds = field(default=15, name="LEAVE_GRACE")
    """A user whose last connection is gone leaves the queue after so long."""
    join_rate: Rate = field(default=Rate("10/minute"), name="JOIN_RATE")
    """Registrations per client address."""
    message_rate: Rate = field(default=Rate("20/second"), name="MESSAGE_RATE")
    """Frames per connection."""
    chat_max_messages: Annotated[int, Meta(ge=1)] = field(default=5000, name="CHAT_MAX_MESSAGES")
    """Messages that one chat may hold."""
    chat_max_bytes: Annotated[int, Meta(ge=1)] = field(default=8_388_608, name="CHAT_MAX_BYTES")
    """Bytes of stored messages that one chat may hold."""
    allowed_origins: tuple[Origin, ...] = field(default=(), name="ALLOWED_ORIGINS")
    """Origins of pages that may connect, separated by commas (default: same host; on loopback any localhost)."""
    anonymous_agents: bool = field(default=False, name="ANONYMOUS_AGENTS")
    """Allow agents without a token on other than loopback addresses."""
    websocket: Literal["picows", "uvicorn"] = field(default="picows", name="WEBSOCKET")
    """WebSocket layer: picows, or uvicorn's own, which takes three times as long for a frame."""
    log_level: Literal["debug", "info", "warning", "error"] = field(default="info", name="LOG_LEVEL")
    """Least severe level that is logged."""
    log_format: Literal["console", "json"] = field(default="console", name="LOG_FORMAT")
    """Lines for people, or one JSON object a line."""
    limits: Limits = Limits()

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine can connect."""
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False

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
            SettingsError: a value is wrong, a variable with our prefix is unknown, or agents without tokens
                could be reached from other machines.
        """
        given = {
            name.removeprefix(PREFIX).upper(): value.strip()
            for name, value in env.items()
            if name.startswith(PREFIX) and not name.startswith(TEST_PREFIX) and value.strip()
        }
        try:
            settings = msgspec.convert(_split(given), cls, strict=False, dec_hook=_decode)
        except msgspec.ValidationError as error:
            raise SettingsError(_explain(str(error))) from None
        if settings.redis_url is not None:
            _check_redis_url(settings.redis_url)
        if not settings.on_loopback and not settings.anonymous_agents:
            raise SettingsError(
                f"{PREFIX}HOST: {settings.host} is not a loopback address, and agents need no token;"
                f" set {PREFIX}ANONYMOUS_AGENTS=true if every client may be an agent"
            )
        return settings


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _check_redis_url(url: str) -> None:
    # Not at the top: settings are read by every command, and most need no Redis client.
    from redis.asyncio.connection import parse_url

    try:
        parse_url(url)
    except ValueError as error:
        raise SettingsError(f"{PREFIX}REDIS_URL: {error}") from None


def _split(given: dict[str, str]) -> dict[str, Any]:
    origins = given.get("ALLOWED_ORIGINS")
    if origins is None:
        return {**given}
    return {
        **given,
        "ALLOWED_ORIGINS": [origin.strip().rstrip("/") for origin in origins.split(",") if origin.strip()],
    }


def _decode(_: type[Rate], value: str) -> Rate:
    return Rate(value)


def _explain(error: str) -> str:
    reason, _, path = error.partition(" - at `$.")
    if path:
        return f"{PREFIX}{path.rstrip('`').partition('[')[0]}: {reason}"
    unknown = re.search(r"unknown field `(.*)`", reason)
    return f"{PREFIX}{unknown[1]}: unknown setting" if unknown else reason
