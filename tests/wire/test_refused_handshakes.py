"""A WebSocket that is refused before the upgrade is told why by a status, as an HTTP request would be."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from litestar import Litestar, WebSocket, websocket
from litestar.exceptions import PermissionDeniedException
from websockets.exceptions import InvalidStatus

from live_support.redis.hub import Hub
from live_support.service import app
from live_support.service.app import build_service
from live_support.service.spec import ServiceSpec
from live_support.settings import Settings
from schemas.errors import RateLimited, Unavailable
from tests.helpers.keys import make_redis
from tests.helpers.services import Service, make_settings, serve
from tests.helpers.wire import Socket, User

LAYERS = [pytest.param(marks=pytest.mark.given(websocket=layer), id=layer) for layer in ("picows", "uvicorn")]


async def refusal(url: str, **options: Any) -> tuple[int, dict[str, Any], Any]:
    """The status, the problem and the headers with which a handshake is refused."""
    with pytest.raises(InvalidStatus) as refused:
        async with Socket.open(url, **options):
            pass
    response = refused.value.response
    assert response.headers["content-type"] == "application/problem+json"
    assert response.body is not None
    problem = json.loads(response.body)
    assert problem["status"] == response.status_code
    return response.status_code, problem, response.headers


@pytest.mark.parametrize((), LAYERS)
async def test_an_unknown_path_is_not_found(chat_server: Service, subscriber_service: Service) -> None:
    paths = ["/nothing", "/", "/health", "/users", "/schema", "/chat", "/chat/x", "/chat/" + "a" * 32 + "/x"]
    for url in (*(chat_server.ws + path for path in paths), f"{subscriber_service.ws}/chat/{'a' * 32}"):
        status, problem, _ = await refusal(url)
        assert (status, problem["code"]) == (404, "not_found"), url


@pytest.mark.parametrize((), LAYERS)
async def test_a_foreign_page_is_forbidden(chat_server: Service, subscriber_service: Service) -> None:
    user = await User.register(chat_server)
    for url in (f"{chat_server.ws}/chat/{user.chatId}", f"{subscriber_service.ws}/joins"):
        status, problem, _ = await refusal(url, origin="https://evil.example")
        assert (status, problem["code"], problem["detail"]) == (403, "forbidden", "This origin is not allowed.")


# What a route may raise before it accepts.

ERRORS: dict[str, tuple[Callable[[], Exception], int, str]] = {
    "a bug": (lambda: RuntimeError("the cause"), 503, "unavailable"),
    "a bug with a key": (lambda: KeyError("the cause"), 503, "unavailable"),
    "Redis is away": (lambda: Unavailable("Redis does not answer in time."), 503, "unavailable"),
    "a rate": (lambda: RateLimited("Too many.", retry_after_ms=1500), 429, "rate_limited"),
    "no right": (lambda: PermissionDeniedException("Not for you."), 403, "forbidden"),
}


@asynccontextmanager
async def service_that_raises(settings: Settings, error: Callable[[], Exception]) -> AsyncIterator[Service]:
    """A service whose WebSocket fails before it is accepted."""

    @websocket("/fails")
    async def fails(socket: WebSocket[Any, Any, Any]) -> None:  # noqa: ARG001
        raise error()

    def create_service(settings: Settings) -> app.Service:
        @asynccontextmanager
        async def lifespan(_: Litestar) -> AsyncIterator[None]:
            yield

        redis = make_redis(settings)
        return build_service(
            ServiceSpec("fails", "Fails", "", "chat_port"), description="", settings=settings, redis=redis,
            hub=Hub(redis, settings), route_handlers=[fails], dependencies={},
            lifespan=lifespan, channels=[],
        )  # fmt: skip

    async with serve(create_service, settings) as service:
        yield service


@pytest.mark.parametrize("layer", ["picows", "uvicorn"])
@pytest.mark.parametrize("name", ERRORS)
async def test_a_failure_before_the_upgrade_has_the_status_that_it_deserves(
    redis_url: str, capsys: pytest.CaptureFixture[str], layer: str, name: str
) -> None:
    error, expected, code = ERRORS[name]
    async with service_that_raises(make_settings(redis_url, websocket=layer), error) as service:
        status, problem, headers = await refusal(f"{service.ws}/fails")
    assert (status, problem["code"]) == (expected, code)
    assert "the cause" not in problem["detail"]
    # A proxy, or the client, may come again.
    assert ("Retry-After" in headers) == ("retryAfterMs" in problem) == (expected in (429, 503))
    # What is nobody's doing but ours is logged.
    assert ("handshake_failed" in capsys.readouterr().out) == name.startswith("a bug")
