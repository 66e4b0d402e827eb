"""Which addresses count as one, and how their connections are counted."""

from asyncio import BaseTransport

import pytest

from live_support.addresses import ConnectionLimiter, network


class Transport(BaseTransport):
    """One that is open until it is closed."""

    def __init__(self) -> None:
        super().__init__()
        self._open = True

    def close(self) -> None:
        self._open = False

    def is_closing(self) -> bool:
        return not self._open


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("", ""),
        ("/run/socket", "/run/socket"),
    ],
)
def test_an_ipv6_host_counts_with_its_network(address: str, expected: str) -> None:
    assert network(address) == expected


def test_an_address_has_so_many_places() -> None:
    census = ConnectionLimiter(2)
    one, two, three = Transport(), Transport(), Transport()
    assert [census.acquire("192.0.2.1", transport) for transport in (one, two, three)] == [True, True, False]
    assert census.acquire("192.0.2.2", three)
    census.release("192.0.2.1", one)
    census.release("192.0.2.1", one)
    census.release("192.0.2.3", one)
    assert census.acquire("192.0.2.1", one)
    assert not census.acquire("192.0.2.1", Transport())


def test_who_has_gone_without_saying_so_makes_room() -> None:
    census = ConnectionLimiter(1)
    one = Transport()
    assert census.acquire("192.0.2.1", one)
    assert not census.acquire("192.0.2.1", Transport())
    one.close()
    assert census.acquire("192.0.2.1", Transport())


def test_without_a_bound_nothing_is_counted() -> None:
    census = ConnectionLimiter(None)
    assert all(census.acquire("192.0.2.1", Transport()) for _ in range(1000))
    assert census.known == 0


def test_what_is_gone_is_forgotten_in_time() -> None:
    census = ConnectionLimiter(1)
    for number in range(20_000):
        transport = Transport()
        assert census.acquire(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", transport)
        if number >= 10:
            transport.close()
    assert census.known < 3000
