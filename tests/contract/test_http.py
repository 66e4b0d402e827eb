"""What the HTTP routes answer is what the OpenAPI documents say."""

import json
from typing import Any, cast

import httpx
import pytest
from jsonschema import Draft202012Validator
from litestar import Litestar, get
from litestar.utils.sync import AsyncCallable

import api.app
from live_support.http.problems import problems_plugin
from live_support.limits import Limits
from live_support.rate import Rate
from live_support.service.spec import CHAT_SERVER, SERVICES, SUBSCRIBER, ServiceSpec
from schemas import export
from tests.helpers.services import UNIT, Service, http, make_settings, serve

DOCUMENT = json.loads((export.FOLDER / "openapi.chat-server.json").read_text("utf-8"))


def assert_documented(method: str, path: str, response: httpx.Response) -> Any:
    """Fail unless the answer's status, content type, headers and body are in the document."""
    documented = DOCUMENT["paths"][path][method.lower()]["responses"][str(response.status_code)]
    media_type = response.headers["content-type"]
    schema = {**documented["content"][media_type]["schema"], "components": DOCUMENT["components"]}
    body = response.json()
    Draft202012Validator(schema).validate(body)
    assert set(documented.get("headers", {})) <= {name.title() for name in response.headers}
    if media_type == "application/problem+json":
        assert body["status"] == response.status_code
        assert (response.headers.get("retry-after") is not None) == (response.status_code in (429, 503))
    return body


async def test_registering(chat_server: Service) -> None:
    response = await http("GET", f"{chat_server.http}/user/join/Nika")
    assert assert_documented("GET", "/user/join/{userName}", response)["username"] == "Nika"
    response = await http("POST", f"{chat_server.http}/users", json={"username": "Nika"})
    assert response.status_code == 201
    assert_documented("POST", "/users", response)


@pytest.mark.parametrize("name", ["%20", "x" * 65, "%FF", "a%00b", "%E2%80%AE"])
async def test_a_name_that_is_not_allowed(chat_server: Service, name: str) -> None:
    response = await http("GET", f"{chat_server.http}/user/join/{name}")
    assert response.status_code == 400
    assert assert_documented("GET", "/user/join/{userName}", response)["code"] == "invalid"


BODIES = [b'{"username":" "}', b"{}", b'{"username":7}', b"{", b"", b'{"username":"\xff"}', b"[" * 10_000]


@pytest.mark.parametrize("content", BODIES)
async def test_a_body_that_is_not_allowed(chat_server: Service, content: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    response = await http("POST", f"{chat_server.http}/users", content=content, headers=headers)
    assert response.status_code == 400
    problem = assert_documented("POST", "/users", response)
    assert set(problem) == {"status", "title", "detail", "code"}
    assert problem["code"] == "invalid"


async def test_a_body_that_is_too_large_or_of_another_type(chat_server: Service) -> None:
    for content, content_type, status, code in (
        (b" " * 16_385, "application/json", 413, "too_large"),
        (b"username=Nika", "application/x-www-form-urlencoded", 415, "invalid"),
    ):
        headers = {"Content-Type": content_type}
        response = await http("POST", f"{chat_server.http}/users", content=content, headers=headers)
        assert response.status_code == status
        assert assert_documented("POST", "/users", response)["code"] == code


async def test_prefetching(chat_server: Service) -> None:
    headers = {"Sec-Purpose": "prefetch;prerender"}
    response = await http("GET", f"{chat_server.http}/user/join/Nika", headers=headers)
    assert response.status_code == 403
    assert assert_documented("GET", "/user/join/{userName}", response)["code"] == "forbidden"


async def test_registering_too_often(redis_url: str) -> None:
    async with serve(api.app.create_service, make_settings(redis_url, join_rate=Rate("1/hour"))) as chat_server:
        await http("GET", f"{chat_server.http}/user/join/Nika")
        response = await http("GET", f"{chat_server.http}/user/join/Nika")
    assert response.status_code == 429
    assert assert_documented("GET", "/user/join/{userName}", response)["code"] == "rate_limited"
    assert int(response.headers["retry-after"]) > 60


async def test_without_redis() -> None:
    settings = make_settings("redis://127.0.0.1:1", limits=Limits(store_seconds=UNIT))
    transport = httpx.ASGITransport(cast(Any, api.app.create_service(settings).app))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        response = await client.get("/user/join/Nika")
        assert response.status_code == 503
        assert assert_documented("GET", "/user/join/{userName}", response)["code"] == "unavailable"
        response = await client.get("/health")
        assert response.status_code == 503
        assert_documented("GET", "/health", response)


async def test_health(chat_server: Service) -> None:
    response = await http("GET", f"{chat_server.http}/health")
    assert assert_documented("GET", "/health", response) == {"status": "ok"}


async def test_health_answers_monitors_that_read_no_body(chat_server: Service, subscriber_service: Service) -> None:
    for service in (chat_server, subscriber_service):
        response = await http("HEAD", f"{service.http}/health")
        assert (response.status_code, response.content) == (200, b"")
        assert response.headers["cache-control"] == "no-store"
    app = cast(Any, api.app.create_service(make_settings("redis://127.0.0.1:1", limits=Limits(store_seconds=UNIT))).app)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        response = await client.head("/health")
        assert (response.status_code, response.content) == (503, b"")


async def test_what_is_not_there(chat_server: Service) -> None:
    for method, path, status, code in (
        ("GET", "/nothing", 404, "not_found"),
        ("DELETE", "/user/join/Nika", 405, "method_not_allowed"),
        ("PUT", "/users", 405, "method_not_allowed"),
    ):
        response = await http(method, chat_server.http + path)
        assert response.status_code == status
        assert response.headers["content-type"] == "application/problem+json"
        assert response.json()["code"] == code
    response = await http("HEAD", chat_server.http + "/user/join/Nika")
    assert response.status_code == 405


@pytest.mark.parametrize("layer", ["picows", "uvicorn"])
@pytest.mark.parametrize(("spec", "path"), [(CHAT_SERVER, "/chat/x"), (SUBSCRIBER, "/joins")])
async def test_plain_http_at_the_address_of_a_websocket_is_told_so(
    spec: ServiceSpec, path: str, layer: str, redis_url: str
) -> None:
    async with serve(spec.create, make_settings(redis_url, websocket=layer)) as service:
        for headers in ({}, {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": ""}):
            for method in ("GET", "HEAD"):
                response = await http(method, service.http + path, headers=headers)
                assert response.status_code == 426
                assert (response.headers["upgrade"], response.headers["connection"]) == ("websocket", "Upgrade")
                assert response.headers["content-type"] == "application/problem+json"
                if method == "GET":
                    assert response.json()["code"] == "invalid"
                    assert "WebSocket" in response.json()["detail"]
        response = await http("GET", service.http + path, headers={"Origin": "https://evil.example"})
        assert response.status_code == 403
        response = await http("POST", service.http + path)
        assert response.status_code == 405


def test_nothing_of_a_request_runs_in_a_thread() -> None:
    """A thread costs more than what it would do here, and a few dozen that wait would hold up all others."""
    for spec in SERVICES.values():
        for each in spec.create(make_settings("redis://127.0.0.1:1")).app.routes:
            for handler in getattr(each, "route_handlers", None) or [cast(Any, each).route_handler]:
                guards = handler.resolve_guards()
                assert not [guard for guard in guards if isinstance(guard, AsyncCallable)], handler
                providers = handler.resolve_dependencies().values()
                assert not [each for each in providers if isinstance(each.dependency, AsyncCallable)], handler
                assert not getattr(handler, "sync_to_thread", None), handler


async def test_a_failure_of_the_server_tells_nothing_of_its_cause() -> None:
    @get("/", sync_to_thread=False)
    def fail() -> None:
        raise RuntimeError("the cause")

    app = cast(Any, Litestar([fail], plugins=[problems_plugin()]))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        response = await client.get("/")
    assert response.status_code == 500
    assert response.headers["content-type"] == "application/problem+json"
    assert set(response.json()) == {"status", "title", "detail", "code"}
    assert "the cause" not in response.text


async def test_every_answer_tells_browsers_what_to_leave_alone(chat_server: Service) -> None:
    for path in ("/", "/schema", "/asyncapi", "/health", "/nothing", "/schema/openapi.json", "/favicon.ico"):
        headers = (await http("GET", chat_server.http + path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; ")
        assert "frame-ancestors 'none'" in policy
        assert "script-src 'unsafe-inline'" not in policy
        assert ("script-src 'self'" in policy) == headers["content-type"].startswith("text/html")
