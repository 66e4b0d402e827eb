"""Checks the head of a request, where the parser is more tolerant than HTTP and WebSocket are.

Header names are in lower case, as the protocol class keeps them.
"""

import base64
import binascii
import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final

import httptools

from live_support.http.faults import Fault

Headers = Sequence[tuple[bytes, bytes]]

# RFC 3986, section 3.2.2; and without a name there is nothing to reach.
_HOST: Final = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+)(?::[0-9]{0,5})?")
_ABOUT_UPGRADES: Final = frozenset({b"upgrade", b"http2-settings"})
# uvicorn's WebSocket class parses a head again, and accepts no more headers.
_MAX_HEADERS: Final = 100
_MAX_LINE_BYTES: Final = 8000
_MAX_URL_BYTES: Final = 4096
# As many as the longest name can need, decomposed: unescaping is slow.
_MAX_ESCAPES: Final = 1024
# Headers of a handshake that are parsed item by item, which is slow, too. A browser sends about five items.
_LISTS: Final = frozenset({b"connection", b"upgrade", b"sec-websocket-extensions", b"sec-websocket-protocol"})
_MAX_LISTED: Final = 100


_BAD: Final = HTTPStatus.BAD_REQUEST


def is_too_large(url: bytes, headers: Headers, max_bytes: int) -> bool:
    """Whether a head exceeds the bounds on its size, or on the cost of parsing it.

    Args:
        url: the request's target.
        headers: of the request.
        max_bytes: bound on both together.
    """
    sizes = [len(name) + len(value) for name, value in headers]
    return (
        len(url) + sum(sizes) > max_bytes
        or len(sizes) > _MAX_HEADERS
        or max(sizes, default=0) > _MAX_LINE_BYTES
        or len(url) > _MAX_URL_BYTES
        or url.count(b"%") > _MAX_ESCAPES
        or sum(value.count(b",") + value.count(b";") for name, value in headers if name in _LISTS) > _MAX_LISTED
    )


def fault_of(method: bytes, version: str, headers: Headers) -> Fault | None:
    """Return what is wrong with the head of any request (RFC 9112)."""
    if version not in ("1.0", "1.1"):
        return Fault(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "Only HTTP/1.0 and HTTP/1.1 are supported.")
    if method == b"CONNECT":
        return Fault(HTTPStatus.NOT_IMPLEMENTED, "This server is not a proxy.")
    hosts = _values(headers, b"host")
    if len(hosts) > 1 or (not hosts and version == "1.1"):
        return Fault(_BAD, "A request must have exactly one Host header.")
    if hosts and not _HOST.fullmatch(hosts[0]):
        return Fault(_BAD, "The Host header is malformed.")
    codings = _values(headers, b"transfer-encoding")
    if codings and version == "1.0":
        return Fault(_BAD, "HTTP/1.0 must not have a Transfer-Encoding.")
    if codings and [coding.lower() for coding in codings] != [b"chunked"]:
        return Fault(HTTPStatus.NOT_IMPLEMENTED, "Only the Transfer-Encoding chunked is supported.")
    return None


def asks_for_websocket(method: bytes, version: str, headers: Headers) -> bool:
    """Whether a request asks for a WebSocket. Any other offer to upgrade may be ignored (RFC 9110, section 7.8)."""
    return method == b"GET" and version == "1.1" and b"websocket" in _tokens(headers, b"upgrade")


def fault_of_handshake(headers: Headers) -> Fault | None:
    """Return what is wrong with the head of a WebSocket handshake (RFC 6455, sections 4.2.1 and 4.4)."""
    if b"upgrade" not in _tokens(headers, b"connection"):
        return Fault(_BAD, "A WebSocket handshake must have the header Connection: Upgrade.")
    if _values(headers, b"transfer-encoding") or any(int(size) for size in _values(headers, b"content-length")):
        return Fault(_BAD, "A WebSocket handshake must not have a body.")
    if _values(headers, b"sec-websocket-version") != [b"13"]:
        known = ("sec-websocket-version: 13", "upgrade: websocket")
        return Fault(HTTPStatus.UPGRADE_REQUIRED, "Only WebSocket version 13 is supported.", headers=known)
    keys = _values(headers, b"sec-websocket-key")
    if len(keys) != 1 or not _is_key(keys[0]):
        return Fault(_BAD, "Sec-WebSocket-Key must be 16 bytes in base64.")
    return None


def _is_key(text: bytes) -> bool:
    try:
        return len(base64.b64decode(text, validate=True)) == 16
    except binascii.Error:
        return False


def as_handshake(headers: Headers) -> list[tuple[bytes, bytes]]:
    """Return a handshake's headers without offers of other protocols."""
    return [
        *_without(headers, b"upgrade", b"connection", b"content-length"),
        (b"upgrade", b"websocket"),
        (b"connection", b"Upgrade"),
    ]


def without_offers(headers: Headers) -> list[tuple[bytes, bytes]]:
    """Return a request's headers without offers to upgrade."""
    connection = [token for token in _tokens(headers, b"connection") if token not in _ABOUT_UPGRADES]
    rest = _without(headers, b"connection", *_ABOUT_UPGRADES)
    return [*rest, (b"connection", b", ".join(connection))] if connection else rest


def in_origin_form(url: bytes, headers: Headers) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """Turn the absolute form `http://host/path` into a path and a `Host` header (RFC 9112, section 3.2.2).

    Raises:
        ValueError: it is not in that form.
    """
    try:
        parsed: Any = httptools.parse_url(url)  # the stubs do not say that a part may be None
    except httptools.HttpParserInvalidURLError:
        raise ValueError from None
    if parsed.schema not in (b"http", b"https") or not parsed.host or parsed.userinfo:
        raise ValueError
    name = b"[%b]" % parsed.host if b":" in parsed.host else parsed.host
    host = name if parsed.port is None else b"%b:%d" % (name, parsed.port)
    path = parsed.path or b"/"
    target = path if parsed.query is None else b"%b?%b" % (path, parsed.query)
    return target, [*_without(headers, b"host"), (b"host", host)]


def _values(headers: Headers, name: bytes) -> list[bytes]:
    return [value.strip() for each, value in headers if each == name]


def _tokens(headers: Headers, name: bytes) -> list[bytes]:
    parts = (part.strip().lower() for value in _values(headers, name) for part in value.split(b","))
    return [part for part in parts if part]


def _without(headers: Headers, *names: bytes) -> list[tuple[bytes, bytes]]:
    return [header for header in headers if header[0] not in names]
