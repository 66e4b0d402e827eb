"""What a service listens on: each address of a list, on one port."""

import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import pytest

from live_support.service.sockets import PortRefused, open_sockets

needs_ipv6 = pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
pytestmark = needs_ipv6


@contextmanager
def listening(hosts: Sequence[str], port: int = 0, *, shared: bool = False) -> Iterator[tuple[int, list[str]]]:
    """Listen; tells the port and the addresses."""
    with ExitStack() as stack:
        opened = [stack.enter_context(each) for each in open_sockets(hosts, port, shared=shared)]
        for each in opened:
            each.listen()
        (bound,) = {each.getsockname()[1] for each in opened}
        yield bound, sorted(each.getsockname()[0] for each in opened)


def reached(port: int, *hosts: str) -> list[str]:
    """At which of some addresses somebody listens."""
    found = []
    for host in hosts:
        try:
            with socket.create_connection((host, port), timeout=5):
                found.append(host)
        except OSError:
            pass
    return found


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize(
    ("hosts", "addresses", "both"),
    [
        (["127.0.0.1"], ["127.0.0.1"], ["127.0.0.1"]),
        (["::1"], ["::1"], ["::1"]),
        (["::"], ["::"], ["127.0.0.1", "::1"]),
        (["0.0.0.0"], ["0.0.0.0"], ["127.0.0.1"]),  # noqa: S104
        (["0.0.0.0", "::"], ["0.0.0.0", "::"], ["127.0.0.1", "::1"]),  # noqa: S104
        (["::", "0.0.0.0"], ["0.0.0.0", "::"], ["127.0.0.1", "::1"]),  # noqa: S104
        (["127.0.0.1", "::1"], ["127.0.0.1", "::1"], ["127.0.0.1", "::1"]),
        (["127.0.0.1", "127.0.0.1"], ["127.0.0.1"], ["127.0.0.1"]),
        (["::", "127.0.0.1", "::1"], ["::"], ["127.0.0.1", "::1"]),
        (["127.0.0.1", "0.0.0.0"], ["0.0.0.0"], ["127.0.0.1"]),  # noqa: S104
        (["0.0.0.0", "::1"], ["0.0.0.0", "::1"], ["127.0.0.1", "::1"]),  # noqa: S104
    ],
)
def test_every_address_is_listened_on_once_and_on_one_port(
    *, hosts: list[str], addresses: list[str], both: list[str], shared: bool
) -> None:
    with listening(hosts, shared=shared) as (port, bound):
        assert bound == addresses
        assert reached(port, "127.0.0.1", "::1") == both
        if shared:
            with listening(hosts, port, shared=True) as (_, again):
                assert again == addresses


def test_the_address_that_is_taken_is_named() -> None:
    with listening(["::1"]) as (port, _):
        for hosts in (["127.0.0.1", "::1"], ["::1", "127.0.0.1"]):
            with pytest.raises(PortRefused) as refused:
                open_sockets(hosts, port)
            assert str(refused.value) == f"port {port} on ::1: already in use"
        # And what had been bound before is free again.
        with listening(["127.0.0.1"], port):
            pass


def test_an_address_that_is_not_this_machines_is_named() -> None:
    with pytest.raises(PortRefused, match=r"^port \d+ on 192\.0\.2\.1: cannot assign requested address$"):
        open_sockets(["127.0.0.1", "192.0.2.1"], 0)
    with pytest.raises(PortRefused, match=r"^port 0 on no-such-host\.invalid: "):
        open_sockets(["no-such-host.invalid"], 0)
