"""Origins and hosts are read as browsers read them, and what no browser sends is refused with one short line."""

import pytest

from live_support.web_address import parse_address, parse_origin
from tests.unit.test_settings import refusal

SAME = {
    "https://example.com": [
        "https://Example.COM",
        "HTTPS://example.com:443",
        "https://example.com.",
        "https://example.com:0443",
    ],
    "http://example.com": ["http://example.com:80", "http://EXAMPLE.com.:80"],
    "http://example.com:443": ["http://Example.com:443"],
    "https://example.com:80": ["https://example.com:80"],
    "https://xn--bcher-kva.example": [
        "https://bücher.example",
        "https://BÜCHER.example",
        "https://XN--BCHER-KVA.example",
    ],
    "https://xn--strae-oqa.de": ["https://straße.de"],
    "https://xn--53h.example": ["https://☕.example"],
    "https://a.example": ["https://\uff41\u3002example"],
    "http://127.0.0.1:3000": ["http://127.1:3000", "http://0x7f.1:3000", "http://2130706433:3000"],
    "http://[::1]:3000": ["http://[0:0:0:0:0:0:0:1]:3000", "http://[::0001]:3000"],
    "http://[::ffff:7f00:1]": ["http://[::ffff:127.0.0.1]", "http://[::FFFF:7F00:1]"],
    "http://my_app.example": ["http://My_App.example"],
    "capacitor://localhost": ["capacitor://localhost"],
    "chrome-extension://abcdefghijklmnop": ["chrome-extension://abcdefghijklmnop"],
}

IMPOSSIBLE = [
    "https://*.example.com", "https://*", "*", "https://example.*", "null", "example.com", "//example.com",
    "https:example.com", "https:/example.com", "https://", "https:///x", "https://example.com/page",
    "https://example.com?x", "https://example.com#x", "https://user@example.com", "https://user:word@example.com",
    "https://example.com\\x", '"https://example.com"', "'https://example.com'", 'https://"example.com"',
    "https://exa mple.com", "https://example.com https://b.example", "https://example.com;https://b.example",
    "https://exam\tple.com", "https://ex\x00ample.com", "https://example.com:", "https://example.com:0",
    "https://example.com:65536", "https://example.com:port", "https://example.com:-1", "https://example.com:443:443",
    "https://::1", "https://::1:3000", "https://2001:db8::1", "https://[::1", "https://::1]", "https://[]",
    "https://[fe80::1%25eth0]", "https://[example.com]", "https://.example.com", "https://a..example", "https://.",
    "https://-a.example", "https://a%2eexample", "https://1.2.3.4.5", "https://example.256", "https://1.2.3.256",
    f"https://{'a' * 64}.example", f"https://{'a.' * 130}b", "https://xn--.example", "https://xn--zzzzzz99999999",
    "file://", "file:///page.html", "ftp://example.com", "ws://example.com", "wss://example.com", "data:text/html,x",
    "blob:https://example.com", "about:blank", "javascript://x", "1https://example.com",
]  # fmt: skip


@pytest.mark.parametrize("origin", SAME)
def test_spellings_of_one_origin(origin: str) -> None:
    for spelling in [origin, *SAME[origin]]:
        assert parse_origin(spelling).text == origin


@pytest.mark.parametrize("origin", IMPOSSIBLE)
def test_what_no_page_has_stops_the_start_with_one_line_that_does_not_repeat_it(origin: str) -> None:
    line = refusal(ALLOWED_ORIGINS=f"https://a.example,{origin}")
    assert line.startswith("LIVE_SUPPORT_ALLOWED_ORIGINS: ")
    assert len(line) < 120
    assert "word" not in line


def test_this_machine_is_known_by_its_names_and_addresses() -> None:
    for host in (
        "localhost",
        "LOCALHOST.",
        "app.localhost:80",
        "127.0.0.1",
        "127.8.9.10",
        "[::1]",
        "[::ffff:127.0.0.1]",
    ):
        assert parse_address(host).is_loopback, host
    for host in ("localhost.example", "evil-localhost", "127.example", "128.0.0.1", "0.0.0.0", "[::]", "[::2]"):  # noqa: S104
        assert not parse_address(host).is_loopback, host
