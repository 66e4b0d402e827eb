"""Origins and hosts, as browsers compare them: case, default ports and other spellings of the same name do not count.

It is no part of `live_support.http.origin`, because every command reads settings, and most need no web framework.
"""

import re
import socket
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final, NamedTuple

DEFAULT_PORTS: Final = {"http": 80, "https": 443}
# Schemes that no page's origin has. Others may be those of apps and extensions, as capacitor://localhost.
_NOT_OF_PAGES: Final = frozenset({"about", "blob", "data", "file", "ftp", "javascript", "mailto", "ws", "wss"})
_HOST_CHARACTERS: Final = 253

_FORM: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_HOST_AND_PORT: Final = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::([0-9]{1,5}))?")
_LABEL: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")


class Address(NamedTuple):
    """A host and, unless it was left out, its port."""

    host: str
    port: int | None

    @property
    def is_loopback(self) -> bool:
        """Whether the host is a name of this machine for itself, which no page of another host can have."""
        if self.host == "localhost" or self.host.endswith(".localhost"):
            return True
        if self.host.startswith("["):
            address = IPv6Address(self.host[1:-1])
            return (address.ipv4_mapped or address).is_loopback
        return self.host.startswith("127.") and _NUMBER.fullmatch(self.host.rpartition(".")[2]) is not None


class WebOrigin(NamedTuple):
    """The origin of a page: scheme, host and port, which is None for the scheme's default."""

    scheme: str
    address: Address

    @property
    def text(self) -> str:
        """The origin as a browser sends it in `Origin`."""
        host, port = self.address
        return f"{self.scheme}://{host}" + ("" if port is None else f":{port}")


def parse_origin(text: str) -> WebOrigin:
    """Read an origin.

    Raises:
        ValueError: no page can have this origin. The message is for an operator, and repeats nothing of the origin.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        raise ValueError("Expected origins such as https://example.com")
    scheme, rest = match[1].lower(), match[2]
    if scheme in _NOT_OF_PAGES:
        raise ValueError(f"No page has an origin that begins with {scheme}://")
    if "*" in rest:
        raise ValueError("An origin is compared as a whole: * has no meaning in it, list each one")
    if re.search(r"[/\\?#@]", rest):
        raise ValueError("An origin is only scheme, host and port: no path, query or user")
    host, port = parse_address(rest)
    return WebOrigin(scheme, Address(host, None if port == DEFAULT_PORTS.get(scheme) else port))


def parse_address(text: str) -> Address:
    """Read a host with or without a port, as in a `Host` header.

    Raises:
        ValueError: the text is not a host.
    """
    if len(text) > _HOST_CHARACTERS + len(".:65535"):
        raise ValueError("The host is too long")
    match = _HOST_AND_PORT.fullmatch(text)
    if match is None:
        raise ValueError("Expected a host, perhaps with a port; an IPv6 address is in brackets")
    port = None if match[2] is None else int(match[2])
    if port is not None and not 0 < port < 65_536:
        raise ValueError("A port is 1 to 65535")
    return Address(_host(match[1]), port)


def _host(text: str) -> str:
    if text.startswith("["):
        try:
            address = IPv6Address(text[1:-1])
        except AddressValueError:
            raise ValueError("What is in brackets is not an IPv6 address") from None
        if address.scope_id is not None:
            raise ValueError("No page has an address with a zone")
        return f"[{_ipv6(address)}]"
    labels = _ascii(text).removesuffix(".").split(".")
    if not all(map(_LABEL.fullmatch, labels)):
        raise ValueError("A host is a name or an address, without spaces, quotes or other signs")
    if not _NUMBER.fullmatch(labels[-1]):
        return ".".join(labels)
    # Browsers read a name that ends with a number as an IPv4 address, in all spellings of `inet_aton`.
    try:
        return str(IPv4Address(socket.inet_aton(".".join(labels))))
    except OSError:
        raise ValueError("A host that ends with a number is an IPv4 address") from None


def _ipv6(address: IPv6Address) -> str:
    # Newer Pythons write the IPv4 address in a mapped one with dots; browsers do not.
    mapped = address.ipv4_mapped
    return str(address) if mapped is None else f"::ffff:{int(mapped) >> 16:x}:{int(mapped) & 0xFFFF:x}"


def _ascii(host: str) -> str:
    lower = host.lower()
    if lower.isascii() and "xn--" not in lower:
        return lower
    import idna

    # As browsers do it (UTS #46), which allows more names than IDNA 2008, such as those with an emoji.
    try:
        mapped = idna.uts46_remap(lower, std3_rules=False, transitional=False)
        return ".".join(map(_ascii_label, mapped.split(".")))
    except UnicodeError:
        raise ValueError("The host is not a name that browsers know (IDNA)") from None


def _ascii_label(label: str) -> str:
    if not label.isascii():
        return f"xn--{label.encode('punycode').decode()}"
    if label.startswith("xn--") and label.removeprefix("xn--").encode().decode("punycode").isascii():
        raise UnicodeError("a needless encoding, which is an error to browsers")
    return label
