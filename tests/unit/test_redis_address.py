"""Where Redis is: what is taken, and that a wrong address ends the start with one line that holds nothing of it."""

from pathlib import Path

import pytest

from live_support.redis.address import Address, AddressError
from live_support.settings import Settings, SettingsError

HELLO = ["HELLO", "3"]


def place(address: Address) -> tuple[str | None, str, int]:
    return address._path, address._host, address._port


@pytest.mark.parametrize(
    ("url", "where", "greeting"),
    [
        ("redis://h", (None, "h", 6379), [HELLO]),
        ("redis://", (None, "localhost", 6379), [HELLO]),
        ("REDIS://h:7000/", (None, "h", 7000), [HELLO]),
        ("redis://h:7000/3", (None, "h", 7000), [HELLO, ["SELECT", "3"]]),
        ("redis://h/0", (None, "h", 6379), [HELLO]),
        ("redis://h?db=3", (None, "h", 6379), [HELLO, ["SELECT", "3"]]),
        ("redis://h/3?db=3", (None, "h", 6379), [HELLO, ["SELECT", "3"]]),
        ("redis://[::1]:7000/1", (None, "::1", 7000), [HELLO, ["SELECT", "1"]]),
        ("redis://[fe80::1%25eth0]", (None, "fe80::1%eth0", 6379), [HELLO]),
        ("redis://:secret@h", (None, "h", 6379), [[*HELLO, "AUTH", "default", "secret"]]),
        ("redis://nika:secret@h", (None, "h", 6379), [[*HELLO, "AUTH", "nika", "secret"]]),
        ("redis://nika@h", (None, "h", 6379), [[*HELLO, "AUTH", "nika", ""]]),
        ("redis://h?username=nika&password=a%2Fb", (None, "h", 6379), [[*HELLO, "AUTH", "nika", "a/b"]]),
        ("redis://n%40ka:v%3Ak%2Fa%3F%23%25@h", (None, "h", 6379), [[*HELLO, "AUTH", "n@ka", "v:k/a?#%"]]),
        ("redis://:p@ss@h", (None, "h", 6379), [[*HELLO, "AUTH", "default", "p@ss"]]),
        ("redis://:gr%C3%BC%C3%9F@h", (None, "h", 6379), [[*HELLO, "AUTH", "default", "grüß"]]),
        ("unix:///run/redis.sock", ("/run/redis.sock", "localhost", 6379), [HELLO]),
        ("unix:///run/a%20b.sock?db=2", ("/run/a b.sock", "localhost", 6379), [HELLO, ["SELECT", "2"]]),
        ("unix://nika:secret@/run/r.sock", ("/run/r.sock", "localhost", 6379), [[*HELLO, "AUTH", "nika", "secret"]]),
    ],
)
def test_addresses_are_understood(url: str, where: tuple[str | None, str, int], greeting: list[list[str]]) -> None:
    address = Address(url)
    assert (place(address), address.greeting) == (where, greeting)


@pytest.mark.parametrize("options", ["", "?ssl_cert_reqs=none", "?ssl_check_hostname=false", "?ssl_ciphers=HIGH"])
def test_tls_is_used_where_the_scheme_says_so(options: str) -> None:
    assert Address(f"rediss://h{options}")._tls is not None
    assert Address("redis://h")._tls is None


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("rediss://h?ssl_ca_certs=/nope/s3cret", "ssl_ca_certs"),
        ("rediss://h?ssl_certfile=/nope/s3cret", "ssl_certfile"),
        ("rediss://h?ssl_ca_path=/nope/s3cret", "ssl_ca_path"),
        (f"rediss://h?ssl_keyfile={__file__}", "ssl_certfile"),
        (f"rediss://h?ssl_ca_certs={__file__}", "ssl_ca_certs"),
        (f"rediss://h?ssl_certfile={Path(__file__).parent}", "ssl_certfile"),
        ("rediss://h?ssl_ca_data=s3cret", "ssl_ca_data"),
        ("rediss://h?ssl_cert_reqs=s3cret", "ssl_cert_reqs"),
        ("rediss://h?ssl_min_version=s3cret", "ssl_min_version"),
        ("rediss://h?ssl_min_version=99", "ssl_min_version"),
        ("rediss://h?ssl_ciphers=s3cret", "ssl_ciphers"),
        ("rediss://h?ssl_check_hostname=s3cret", "ssl_check_hostname"),
        ("rediss://h?ssl_check_hostname=", "ssl_check_hostname"),
        ("rediss://h?ssl_include_verify_flags=s3cret", "ssl_include_verify_flags"),
        ("rediss://h?ssl_foo=1", "Unknown option"),
        ("redis://h?s3cret=1", "Unknown option"),
        ("redis://h?socket_timeout=1", "Unknown option"),
        ("redis://h?s3cret", "name=value"),
        ("redis://h?db=1&db=2", "twice"),
        ("redis://h?ssl_cert_reqs=none", "rediss://"),
        ("redis://h/s3cret", "database number"),
        ("redis://h/3s3cret", "database number"),
        ("redis://h/1/2", "database number"),
        ("redis://h/-1", "database number"),
        ("redis://h/٣", "database number"),
        ("redis://h?db=s3cret", "db"),
        ("redis://h?db=-1", "database number"),
        ("redis://h/1?db=2", "contradicts"),
        ("redis://:s3cret/ss@h:6379", "%2F"),
        ("redis://:s3cret/ss@h", "%2F"),
        ("redis://:s3cret?ss@h", "%2F"),
        ("redis://:s3cret#ss@h", "%2F"),
        ("redis://nika:s3cret/1:2@h", "%2F"),
        ("redis://:[s3cret@h", "%XX"),
        ("redis://:s3cret]@h", "%XX"),
        ("redis://:s3\u2100cret@h", "%XX"),
        ("redis://:s3cret%FF@h", "UTF-8"),
        ("redis://:s3cret s@h", "white space"),
        ("redis://:s3cret\x00s@h", "control"),
        ("redis://h:s3cret", "port"),
        ("redis://h:0", "port"),
        ("redis://h:", "port"),
        ("redis://h:70000", "port"),
        ("redis://a,b:6379", "one host"),
        ("redis://a:1,b:2", "port"),
        ("redis://[::g]", "Expected"),
        ("redis://::1", "port"),
        ("h:6379", "redis://"),
        ("localhost", "redis://"),
        ("redis:h", "redis://"),
        ("redis:/h", "redis://"),
        ("http://:s3cret@h", "redis://"),
        ("redis-sentinel://:s3cret@h", "redis://"),
        ("unix://s3cret", "absolute path"),
        ("unix://", "absolute path"),
    ],
)
def test_a_wrong_address_is_one_line_with_nothing_of_it(url: str, word: str) -> None:
    with pytest.raises(AddressError) as refused:
        Address(url)
    text = str(refused.value)
    assert word in text
    assert "\n" not in text
    for secret in ("s3", "cret", "nope", "nika"):
        assert secret not in text
    # No traceback may show what a library has said.
    assert refused.value.__context__ is None or refused.value.__suppress_context__
    with pytest.raises(SettingsError, match=r"^LIVE_SUPPORT_REDIS_URL: ") as wrong:
        Settings.from_env({"LIVE_SUPPORT_REDIS_URL": url})
    assert str(wrong.value).endswith(text)
