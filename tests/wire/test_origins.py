"""Which pages may open a socket or register: the `Origin` of any other is refused with 403 before anything is done."""

import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis
from websockets.exceptions import InvalidStatus

from tests.helpers.services import DEADLINE, Service, http
from tests.helpers.wire import Socket, User

FOREIGN = [
    "https://evil.example",
    "https://localhost.evil.example",
    "http://localhost@evil.example",
    "http://evil.example/http://localhost",
    "http://localhost:3000.evil.example",
    "file://",
    "null",
    "",
    "http://localhost:3000 http://localhost:3000",
    "http://127.0.0.1.evil.example",
    "http://localhost.evil.example",
    "http://evillocalhost",
    "http://128.0.0.1",
    "http://0.0.0.0",
    "capacitor://localhost",
    "http://localhost:65536",
    "http://localhost/",
]

helps_only = pytest.mark.given(allowed_origins=("https://help.example",))


async def status(url: str, origin: str | None, **options: Any) -> int:
    """The answer to a page's handshake."""
    try:
        async with Socket.open(url, origin=origin, **options):
            return 101
    except InvalidStatus as refused:
        return refused.response.status_code


async def handshake(service: Service, path: str, host: str) -> int:
    """The answer to a handshake with this `Host`, which a client library might not send."""
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    head = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    key = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    writer.write((head + key).encode())
    async with asyncio.timeout(DEADLINE):
        line = await reader.readline()
    writer.transport.abort()
    return int(line.split()[1])


async def statuses(chat_server: Service, subscriber_service: Service, origin: str | None) -> list[int]:
    """The answers of both sockets."""
    user = await User.register(chat_server)
    return [
        await status(f"{chat_server.ws}/chat/{user.chatId}", origin),
        await status(f"{subscriber_service.ws}/joins", origin),
    ]


async def test_any_page_of_this_machine_may_connect(chat_server: Service, subscriber_service: Service) -> None:
    for origin in (
        "http://localhost:3000",
        "https://127.0.0.1",
        "http://[::1]:5173",
        "http://shop.localhost:3000",
        "http://localhost.:3000",
        "http://127.0.0.2",
        "http://LOCALHOST:3000",
    ):
        assert await statuses(chat_server, subscriber_service, origin) == [101, 101], origin


async def test_a_foreign_page_may_not_connect(chat_server: Service, subscriber_service: Service) -> None:
    for origin in FOREIGN:
        assert await statuses(chat_server, subscriber_service, origin) == [403, 403], origin


@pytest.mark.given(host="0.0.0.0", anonymous_agents=True)  # noqa: S104
async def test_a_page_of_the_same_host_may_connect(subscriber_service: Service) -> None:
    for origin, expected in (("https://chat.example:8443", 101), ("https://chat.example", 403)):
        # The address is the page's, the connection goes to the service.
        url, target = "ws://chat.example:8443/joins", {"host": "127.0.0.1", "port": subscriber_service.port}
        assert await status(url, origin, **target) == expected


SAME_HOST = [
    # Host, Origin, whether they are the same
    ("chat.example.com:443", "https://chat.example.com", True),
    ("chat.example.com:80", "http://chat.example.com", True),
    ("chat.example.com:80", "https://chat.example.com", True),  # TLS ends before who sets the port
    ("chat.example.com", "https://chat.example.com:443", True),
    ("chat.example.com", "http://chat.example.com", True),
    ("Chat.Example.com", "https://chat.example.com", True),
    ("chat.example.com.", "https://chat.example.com", True),
    ("chat.example.com", "https://chat.example.com.", True),
    ("chat.example.com:8443", "https://chat.example.com:8443", True),
    ("xn--bcher-kva.example", "https://xn--bcher-kva.example", True),
    ("[2001:DB8::1]:443", "https://[2001:db8::1]", True),
    ("chat.example.com:443", "http://chat.example.com:443", True),
    ("chat.example.com", "https://chat.example.com:8443", False),
    ("chat.example.com:8443", "https://chat.example.com", False),
    ("chat.example.com:443", "https://evil.example", False),
    ("chat.example.com", "https://chat.example.com.evil.example", False),
    ("chat.example.com", "https://www.chat.example.com", False),
    ("chat.example.com", "app://chat.example.com", False),
    ("chat.example.com", "null", False),
    ("chat.example.com:99999", "https://chat.example.com:99999", False),
]


@pytest.mark.given(host="0.0.0.0", anonymous_agents=True)  # noqa: S104
async def test_the_same_host_may_be_written_otherwise(chat_server: Service) -> None:
    for host, origin, same in SAME_HOST:
        headers = {"Host": host, "Origin": origin}
        response = await http("GET", f"{chat_server.http}/user/join/Nika", headers=headers)
        assert response.status_code == (200 if same else 403), (host, origin)


@pytest.mark.given(host="0.0.0.0", anonymous_agents=True)  # noqa: S104
async def test_a_client_cannot_say_what_its_host_is(chat_server: Service) -> None:
    headers = {
        "Host": "chat.example.com",
        "Origin": "https://evil.example",
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Proto": "https",
        "Forwarded": "host=evil.example;proto=https",
    }
    response = await http("GET", f"{chat_server.http}/user/join/Nika", headers=headers)
    assert response.status_code == 403


@pytest.mark.given(
    allowed_origins=("https://Support.Example.com:443", "https://bücher.example", "http://a.example.:80")
)
async def test_the_list_is_compared_as_browsers_compare(chat_server: Service, subscriber_service: Service) -> None:
    for origin in ("https://support.example.com", "https://xn--bcher-kva.example", "http://a.example"):
        assert await statuses(chat_server, subscriber_service, origin) == [101, 101], origin
        response = await http("GET", f"{chat_server.http}/user/join/Nika", headers={"Origin": origin})
        assert response.headers["access-control-allow-origin"] == origin
    for origin in ("http://support.example.com", "https://support.example.com:444", "https://a.example", "null", ""):
        assert await statuses(chat_server, subscriber_service, origin) == [403, 403], origin


async def test_one_foreign_origin_of_two_is_enough(chat_server: Service) -> None:
    headers = [("Origin", "http://localhost:3000"), ("Origin", "https://evil.example")]
    for both in (headers, headers[::-1]):
        response = await http("GET", f"{chat_server.http}/user/join/Nika", headers=both)
        assert response.status_code == 403


@helps_only
async def test_an_allow_list_is_all_that_is_allowed(chat_server: Service, subscriber_service: Service) -> None:
    assert await statuses(chat_server, subscriber_service, "https://help.example") == [101, 101]
    for origin in ("http://localhost:3000", chat_server.http, "http://help.example", "https://help.example:444"):
        assert await statuses(chat_server, subscriber_service, origin) == [403, 403], origin


@helps_only
async def test_who_is_no_page_may_connect(chat_server: Service, subscriber_service: Service) -> None:
    assert await statuses(chat_server, subscriber_service, None) == [101, 101]


HOSTS = {
    "localhost": 101,
    "LOCALHOST:80": 101,
    "127.0.0.1:9000": 101,
    "[::1]:9000": 101,
    "localhost.": 101,
    "Shop.localhost:9000": 101,
    "127.0.0.2": 101,
    "127.255.255.254:9000": 101,
    "[::ffff:127.0.0.1]": 101,
    "host.docker.internal": 403,
    "127.evil.example": 403,
    "evillocalhost": 403,
    "localhost..": 403,
    "128.0.0.1": 403,
    "127.0.0.1:99999": 403,
    "evil.example": 403,
    "localhost.evil.example": 403,
    "127.0.0.1.evil.example:9000": 403,
    "localhost@evil.example": 400,  # no host at all
    "localhost:evil": 400,
    "[::1": 400,
    "help.example": 403,
}


@pytest.mark.parametrize("host", HOSTS)
async def test_a_foreign_name_does_not_lead_to_loopback(
    chat_server: Service, subscriber_service: Service, host: str
) -> None:
    """DNS rebinding: a page whose own name has come to mean this machine."""
    user = await User.register(chat_server)
    for service, path in ((chat_server, f"/chat/{user.chatId}"), (subscriber_service, "/joins")):
        assert await handshake(service, path, host) == HOSTS[host]
    response = await http("GET", f"{chat_server.http}/user/join/Nika", headers={"Host": host})
    assert response.status_code == (200 if HOSTS[host] == 101 else HOSTS[host])


@helps_only
async def test_the_hosts_of_allowed_pages_lead_here(chat_server: Service) -> None:
    for host, expected in (("help.example", 200), ("help.example:8080", 200), ("www.help.example", 403)):
        response = await http("GET", f"{chat_server.http}/user/join/Nika", headers={"Host": host})
        assert response.status_code == expected


# To a browser, registering is a request like any other: a foreign page can send it, even if it may not see the answer.


async def registered(redis: Redis) -> int:
    """How many chats there are."""
    return len([key async for key in redis.scan_iter(match="live-support:chat:*:meta")])


@helps_only
async def test_a_foreign_page_registers_nobody(chat_server: Service, redis: Redis) -> None:
    for number, (origin, allowed) in enumerate((("https://evil.example", False), ("https://help.example", True))):
        for method, path, options in (
            ("GET", "/user/join/Nika", {}),
            ("POST", "/users", {"json": {"username": "Nika"}}),
        ):
            response = await http(method, chat_server.http + path, headers={"Origin": origin}, **options)
            assert response.is_success == allowed
            assert response.status_code != 403 or response.json()["code"] == "forbidden"
            assert (response.headers.get("access-control-allow-origin") == origin) == allowed
        assert await registered(redis) == 2 * number


async def test_a_link_or_an_image_of_another_site_registers_nobody(chat_server: Service, redis: Redis) -> None:
    for site, expected in (("cross-site", 403), ("same-site", 200), ("same-origin", 200), ("none", 200)):
        response = await http("GET", f"{chat_server.http}/user/join/Nika", headers={"Sec-Fetch-Site": site})
        assert response.status_code == expected
    assert await registered(redis) == 3


@helps_only
async def test_an_allowed_page_of_another_site_may_register(chat_server: Service) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Origin": "https://help.example"}
    response = await http("GET", f"{chat_server.http}/user/join/Nika", headers=headers)
    assert response.status_code == 200


@pytest.mark.parametrize(
    "content_type", ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
)
async def test_a_form_registers_nobody(chat_server: Service, redis: Redis, content_type: str) -> None:
    """What a page may send without asking first."""
    headers = {"Content-Type": content_type} if content_type else {}
    response = await http("POST", f"{chat_server.http}/users", content=b'{"username":"Nika"}', headers=headers)
    assert (response.status_code, response.json()["code"]) == (415, "invalid")
    assert await registered(redis) == 0
