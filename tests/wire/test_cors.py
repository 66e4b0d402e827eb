"""What a page of another origin may send, and read of the answers: also of those that no route makes."""

import json
from typing import Any

import httpx
import pytest

from live_support.limits import Limits
from live_support.rate import Rate
from tests.helpers.services import Service, http
from tests.hostile.test_http import SECONDS, Peer

PAGE = "http://localhost:3000"
FOREIGN = "https://evil.example"
PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}


def may_read(response: httpx.Response, origin: str) -> bool:
    """Whether a browser shows an answer, and what it says of waiting, to a page."""
    headers = response.headers
    assert headers["vary"] == "Origin"
    allowed: bool = headers.get("access-control-allow-origin") == origin
    assert ("access-control-allow-origin" in headers) == allowed
    assert (headers.get("access-control-expose-headers") == "Retry-After") == allowed
    assert "access-control-allow-credentials" not in headers
    return allowed


@pytest.mark.parametrize("service", ["chat_server", "subscriber_service"])
async def test_answers_may_be_read_by_allowed_pages_alone(
    chat_server: Service, subscriber_service: Service, service: str
) -> None:
    url = {"chat_server": chat_server, "subscriber_service": subscriber_service}[service].http
    for path in ("/health", "/nothing"):
        for origin, allowed in ((PAGE, True), (FOREIGN, False), ("null", False), ("", False)):
            assert may_read(await http("GET", url + path, headers={"Origin": origin}), origin) == allowed
        response = await http("GET", url + path)
        assert not {name for name in response.headers if name.startswith("access-control")}


async def test_the_answer_to_a_preflight_lists_what_is_taken(chat_server: Service) -> None:
    response = await http("OPTIONS", f"{chat_server.http}/users", headers={"Origin": PAGE, **PREFLIGHT})
    assert response.status_code == 204
    assert may_read(response, PAGE)
    assert response.headers["access-control-allow-methods"] == "GET, HEAD, POST"
    assert response.headers["access-control-allow-headers"] == "Content-Type"
    assert response.headers["access-control-max-age"] == "600"


async def test_a_refused_preflight_is_a_problem(chat_server: Service) -> None:
    response = await http("OPTIONS", f"{chat_server.http}/users", headers={"Origin": FOREIGN, **PREFLIGHT})
    assert response.status_code == 403
    assert not may_read(response, FOREIGN)
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json() == {
        "status": 403,
        "title": "Forbidden",
        "detail": "This origin is not allowed.",
        "code": "forbidden",
    }


async def test_options_without_a_page_is_no_preflight(chat_server: Service) -> None:
    for headers in ({}, {"Origin": PAGE}, PREFLIGHT):
        response = await http("OPTIONS", f"{chat_server.http}/users", headers=headers)
        assert "POST" in response.headers["allow"]


@pytest.mark.given(join_rate=Rate("1/hour"))
async def test_a_page_learns_how_long_to_wait(chat_server: Service) -> None:
    for path, options in (("/user/join/Nika", {}), ("/users", {"json": {"username": "Nika"}})):
        await http("GET", f"{chat_server.http}/user/join/Nika")
        method = "POST" if options else "GET"
        response = await http(method, chat_server.http + path, headers={"Origin": PAGE}, **options)
        assert response.status_code == 429
        assert may_read(response, PAGE)
        assert_waits(response, at_least_ms=60_000)


def assert_waits(response: httpx.Response, at_least_ms: int = 1) -> None:
    """Fail unless header and body say how long to wait, and the same."""
    problem = response.json()
    assert problem["retryAfterMs"] >= at_least_ms
    assert int(response.headers["retry-after"]) == -(-problem["retryAfterMs"] // 1000)


# Answers that no route makes.


async def answer(service: Service, request: bytes) -> httpx.Response:
    """Send bytes, and read an answer as a browser does."""
    async with Peer.connect(service) as peer:
        await peer.send(request)
        return parsed(await peer.rest())


def parsed(received: bytes) -> httpx.Response:
    """An answer, from its bytes."""
    head, _, body = received.partition(b"\r\n\r\n")
    line, *lines = head.decode("latin-1").split("\r\n")
    headers = [(name, value) for name, _, value in (each.partition(": ") for each in lines)]
    return httpx.Response(int(line.split()[1]), headers=headers, content=body)


def request(origin: str, more: bytes = b"\r\n", line: bytes = b"GET /health HTTP/1.1") -> bytes:
    """A request of a page's."""
    return line + b"\r\nHost: localhost\r\nOrigin: " + origin.encode() + b"\r\n" + more


REFUSED: dict[str, tuple[dict[str, Any], bytes, int, str]] = {
    "a large head": ({}, b"X: " + b"a" * 20_000 + b"\r\n\r\n", 431, "too_large"),
    "large trailers": ({}, b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: " + b"a" * 24_000, 431, "too_large"),
    "no HTTP": ({}, b"X: y\r\nX\r\n\r\n", 400, "invalid"),
    "a slow head": ({"limits": Limits(head_seconds=SECONDS)}, b"X: ", 408, "invalid"),
    "too many connections of an address": ({"connections_per_address": 1}, b"\r\n", 429, "rate_limited"),
    "too many connections": ({"max_connections": 1}, b"\r\n", 503, "unavailable"),
    "too many handshakes": (
        {"handshake_rate": Rate("1/hour")},
        b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
        429,
        "rate_limited",
    ),
}


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.given(**REFUSED[name][0])) for name in REFUSED])
async def test_a_refusal_below_the_routes_is_a_problem_that_a_page_can_read(chat_server: Service, name: str) -> None:
    settings, more, status, code = REFUSED[name]
    async with Peer.connect(chat_server) as held, Peer.connect(chat_server) as also_held:
        if "handshake_rate" in settings:
            await held.send(request(PAGE, more))
            await held.head()
        elif "limits" not in settings:
            # Whichever of the two holds the place, the third comes too late.
            await held.send(b"GET /")
            await also_held.send(b"GET /")
        for origin, allowed in ((PAGE, True), (FOREIGN, False)):
            response = await answer(chat_server, request(origin, more))
            assert response.status_code == status
            assert response.headers["content-type"] == "application/problem+json"
            assert response.headers["content-length"] == str(len(response.content))
            assert may_read(response, origin) == allowed
            problem = json.loads(response.content)
            assert (problem["status"], problem["code"]) == (status, code)
            if status in (429, 503):
                assert_waits(response)
            else:
                assert "retry-after" not in response.headers
                assert "retryAfterMs" not in problem


async def test_no_origin_is_repeated_that_could_write_a_header(chat_server: Service) -> None:
    for origin in (f"{PAGE}\rX: y", f"{PAGE}, {PAGE}", f"{PAGE} "):
        response = await answer(chat_server, request(origin, b"Connection: close\r\n\r\n"))
        assert "x" not in response.headers
        assert response.headers.get("access-control-allow-origin") in (None, PAGE)
