"""Address: where Redis is, and the first commands of a connection. redis-py builds the TLS context."""

import asyncio
import ssl
from collections.abc import Callable
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from redis.asyncio.connection import URL_QUERY_ARGUMENT_PARSERS, SSLConnection
from redis.exceptions import RedisError

from live_support.redis.connection import RespConnection

_FILES: Final = ("ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile")
_BOOLEANS: Final = ("true", "false", "yes", "no", "1", "0")
_TLS_OPTIONS: Final = (
    *_FILES,
    *("ssl_ca_data", "ssl_cert_reqs", "ssl_check_hostname", "ssl_ciphers", "ssl_min_version", "ssl_password"),
    *("ssl_include_verify_flags", "ssl_exclude_verify_flags"),
)
_OPTIONS: Final = ("db", "username", "password")


class AddressError(ValueError):
    """Raised when an address is wrong. The message holds nothing of it: a password may be anywhere in it."""


class Address:
    """Where Redis is, and how a connection begins.

    Args:
        url: `redis://`, `rediss://` or `unix://`, with `db`, `username`, `password`, and redis-py's TLS options.

    Raises:
        AddressError: the URL is none of these, or its TLS options are wrong.
    """

    def __init__(self, url: str) -> None:
        parts = _split(url)
        options = _options(parts)
        user, password = _credentials(parts, options)
        self._path: str | None = None
        self._host, self._port = "localhost", 6379
        if parts.scheme == "unix":
            if parts.hostname or not parts.path:
                raise AddressError("Expected unix:// and an absolute path, as unix:///run/redis.sock")
            self._path = _decoded(parts.path)
        else:
            self._host, self._port = _host(parts), _port(parts)
        self._tls = _tls(options) if parts.scheme == "rediss" else None
        hello: list[str] = ["HELLO", "3"]
        if user or password:
            hello += ["AUTH", user or "default", password]
        self.greeting: list[list[str]] = [hello]
        if database := _database(parts, options):
            self.greeting.append(["SELECT", str(database)])

    async def open(self, make: Callable[[], RespConnection]) -> RespConnection:
        """Connect.

        Raises:
            OSError: there is no connection.
        """
        loop = asyncio.get_running_loop()
        if self._path is not None:
            _, connection = await loop.create_unix_connection(make, self._path)
        else:
            _, connection = await loop.create_connection(make, self._host, self._port, ssl=self._tls)
        return connection


def _split(url: str) -> SplitResult:
    if any(character.isspace() or not character.isprintable() for character in url):
        raise AddressError("Expected no white space or control characters")
    try:
        parts = urlsplit(url)
        parts.hostname  # noqa: B018 - reading it checks it
    except ValueError:
        raise AddressError("Expected redis://host:port; write what is special in a password as %XX") from None
    if parts.scheme not in ("redis", "rediss", "unix") or not url.startswith(f"{url[: len(parts.scheme)]}://"):
        raise AddressError("Expected redis://, rediss:// or unix://")
    if (parts.scheme != "unix" and "@" in parts.path + parts.query) or parts.fragment or url.endswith("#"):
        # The password ends where the host seems to: `redis://:pa/ss@host`.
        raise AddressError("Write / ? # in a password as %2F %3F %23")
    return parts


def _decoded(text: str) -> str:
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise AddressError("What is written as %XX is no UTF-8") from None


def _options(parts: SplitResult) -> dict[str, Any]:
    known = (*_OPTIONS, *_TLS_OPTIONS)
    options: dict[str, Any] = {}
    try:
        given = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query), errors="strict")
    except ValueError:
        raise AddressError("Expected options as ?name=value&name=value") from None
    for name, value in given:
        if name not in known:
            # The name itself may be a part of a password with a question mark.
            raise AddressError(f"Unknown option; those are {', '.join(known)}")
        if name in options:
            raise AddressError(f"{name} is given twice")
        if name in _TLS_OPTIONS and parts.scheme != "rediss":
            raise AddressError(f"{name} needs rediss://")
        if name == "ssl_check_hostname" and value.lower() not in _BOOLEANS:  # redis-py reads any text as true
            raise AddressError(f"{name} has a wrong value")
        try:
            options[name] = URL_QUERY_ARGUMENT_PARSERS.get(name, str)(value)
        except (TypeError, ValueError):
            raise AddressError(f"{name} has a wrong value") from None
    return options


def _credentials(parts: SplitResult, options: dict[str, Any]) -> tuple[str, str]:
    user = options.get("username", "")
    password = options.get("password", "")
    return _decoded(parts.username or "") or user, _decoded(parts.password or "") or password


def _host(parts: SplitResult) -> str:
    host = _decoded(parts.hostname or "localhost")
    if "[" in parts.netloc.rpartition("@")[2]:
        try:
            IPv6Address(host)
        except ValueError:
            raise AddressError("Expected an IPv6 address between [ and ]") from None
    elif any(character in host for character in " :/?#@[]\\,"):
        raise AddressError("Expected one host")
    return host


def _port(parts: SplitResult) -> int:
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0 or parts.netloc.endswith(":"):
        raise AddressError("Expected a port of 1..65535; write / : @ in a password as %2F %3A %40")
    return port or 6379


def _database(parts: SplitResult, options: dict[str, Any]) -> int:
    """Return the database number: `/3`, or `?db=3`; the path of a Unix socket is not one."""
    database = options.get("db", 0)
    path = "" if parts.scheme == "unix" else _decoded(parts.path).strip("/")
    if path:
        if not (path.isascii() and path.isdecimal()) or len(path) > 9:
            raise AddressError("Expected a database number behind the /")
        if "db" in options and int(path) != database:
            raise AddressError("db contradicts the number behind the /")
        database = int(path)
    if not 0 <= database < 2**31:
        raise AddressError("Expected a database number from 0 on")
    return int(database)


def _tls(options: dict[str, Any]) -> ssl.SSLContext:
    given = {name: value for name, value in options.items() if name in _TLS_OPTIONS}
    for name in _FILES:
        if name in given and not Path(given[name]).exists():
            raise AddressError(f"{name} leads to no file")
    if "ssl_keyfile" in given and "ssl_certfile" not in given:
        raise AddressError("ssl_keyfile needs ssl_certfile")
    try:
        return SSLConnection(**given).ssl_context.get()
    except (OSError, ValueError, TypeError, RedisError):
        # The original message may hold parts of the address.
        raise AddressError(f"Wrong: {', '.join(given)}") from None
