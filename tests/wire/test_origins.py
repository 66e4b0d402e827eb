"""Which pages may open a socket: the `Origin` of any other is refused with 403 before the upgrade."""

from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from tests.support import Service, Socket, User, http

FOREIGN = [
    "https://evil.example",
    "https://localhost.evil.example",
    "http://localhost@evil.example",
    "http://evil.example/http://localhost",
    "http://localhost:3000.evil.example",
    "file://",
    "null",
]

helps_only = pytest.mark.given(allowed_origins=("https://help.example",))


async def status(url: str, origin: str | None, **options: Any) -> int:
    """The answer to a page's handshake."""
    try:
        async with Socket.open(url, origin=origin, **options):
            return 101
    except InvalidStatus as refused:
        return refused.response.status_code


async def statuses(chat_server: Service, subscriber_service: Service, origin: str | None) -> list[int]:
    """The answers of both sockets."""
    user = await User.register(chat_server)
    return [
        await status(f"{chat_server.ws}/chat/{user.chatId}", origin),
        await status(f"{subscriber_service.ws}/joins", origin),
    ]


async def test_any_page_of_this_machine_may_connect(chat_server: Service, subscriber_service: Service) -> None:
    for origin in ("http://localhost:3000", "https://127.0.0.1", "http://[::1]:5173"):
        assert await statuses(chat_server, subscriber_service, origin) == [101, 101], origin


async def test_a_foreign_page_may_not_connect(chat_server: Service, subscriber_service: Service) -> None:
    for origin in FOREIGN:
        assert await statuses(chat_server, subscriber_service, origin) == [403, 403], origin


async def test_a_page_of_the_same_host_may_connect(subscriber_service: Service) -> None:
    for origin, expected in (("https://chat.example:8443", 101), ("https://chat.example", 403)):
        # The address is the page's, the connection goes to the service.
        url, target = "ws://chat.example:8443/joins", {"host": "127.0.0.1", "port": subscriber_service.port}
        assert await status(url, origin, **target) == expected


@helps_only
async def test_an_allow_list_is_all_that_is_allowed(chat_server: Service, subscriber_service: Service) -> None:
    assert await statuses(chat_server, subscriber_service, "https://help.example") == [101, 101]
    for origin in ("http://localhost:3000", chat_server.http, "http://help.example", "https://help.example:444"):
        assert await statuses(chat_server, subscriber_service, origin) == [403, 403], origin


@helps_only
async def test_who_is_no_page_may_connect(chat_server: Service, subscriber_service: Service) -> None:
    assert await statuses(chat_server, subscriber_service, None) == [101, 101]


@helps_only
async def test_the_answer_to_a_foreign_page_is_kept_from_it(chat_server: Service) -> None:
    for origin, readable in (("https://help.example", True), ("https://evil.example", False)):
        response = await http("GET", f"{chat_server.http}/user/join/Nika", headers={"Origin": origin})
        assert (response.headers.get("access-control-allow-origin") == origin) == readable
