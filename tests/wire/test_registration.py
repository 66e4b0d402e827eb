"""Registering over HTTP: which names pass, and who is refused. The form of the answers is in test_http."""

import asyncio
import json

import httpx
import pytest

from live_support.rate import Rate
from tests.helpers.services import Service, http

shared = pytest.mark.asyncio(loop_scope="module")


@shared
@pytest.mark.parametrize(
    ("sent", "name"),
    [
        ("Nika", "Nika"),
        ("%20Nika%20K.%09", "Nika K."),
        ("N%C3%ADka", "N\u00edka"),
        ("Ni%CC%81ka", "N\u00edka"),
        ("A%2FB", "A/B"),
        ("%2Fuser%2Fjoin%2FNika", "/user/join/Nika"),
        ("%2F", "/"),
        ("%2f%2F", "//"),
        ("A%2F", "A/"),
        ("100%25", "100%"),
        ("a+b", "a+b"),
        ("Nika?%3F", "Nika"),
        ("%3Cb%3E", "<b>"),
        ("x" * 64, "x" * 64),
        ("%F0%9F%98%80" * 64, "\U0001f600" * 64),
        ("e%CC%81" * 64, "\u00e9" * 64),
    ],
    ids=[
        "plain",
        "trimmed",
        "NFC already",
        "NFC",
        "slash",
        "escaped path",
        "only a slash",
        "only slashes",
        "slash at the end",
        "percent",
        "plus",
        "query",
        "markup",
        "longest",
        "longest emoji",
        "longest after NFC",
    ],
)
async def test_a_name_is_kept_as_it_was_meant(shared_chat_server: Service, sent: str, name: str) -> None:
    response = await http("GET", f"{shared_chat_server.http}/user/join/{sent}")
    assert response.status_code == 200
    assert response.json()["username"] == name
    assert response.headers["cache-control"] == "no-store"


BAD_NAMES = {
    "nothing": "",
    "a slash that is not escaped": "A/B",
    "slash at the end": "Nika/",
    "slash at the beginning": "/Nika",
    "only slashes": "//",
    "joiner": "%E2%80%8D",
    "direction mark": "Nika%E2%80%8E",
    "line separator": "Ni%E2%80%A8ka",
    "tag": "Nika%F3%A0%81%81",
    "soft hyphens": "%C2%AD%C2%AD",
    "empty Braille": "%E2%A0%80",
    "white space": "%20%09",
    "too long": "x" * 65,
    "too long after NFC": "%E0%A5%98" * 33,
    "NUL": "Ni%00ka",
    "line end": "Ni%0Aka",
    "delete": "Ni%7Fka",
    "C1": "Ni%C2%9Fka",
    "bidi override": "Ni%E2%80%AEka",
    "bidi isolate": "Ni%E2%81%A6ka",
    "Latin-1": "N%EDka",
    "overlong": "Ni%C0%AFka",
    "surrogate": "Ni%ED%A0%80ka",
}


@shared
@pytest.mark.parametrize("name", BAD_NAMES.values(), ids=BAD_NAMES.keys())
async def test_a_bad_name_is_refused(shared_chat_server: Service, name: str) -> None:
    response = await http("GET", f"{shared_chat_server.http}/user/join/{name}")
    assert response.status_code == 400
    assert response.json()["code"] == "invalid"
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["cache-control"] == "no-store"


@shared
@pytest.mark.parametrize(
    "name",
    ["", " \t", "x" * 65, "Ni\u0000ka", "Ni\u202eka", "Ni\ud800ka", "\u200d", "Ni\u200eka"],
    ids=lambda name: ascii(name)[:12],
)
async def test_a_bad_name_in_a_body_is_refused(shared_chat_server: Service, name: str) -> None:
    # Encoded here: httpx cannot spell a lone surrogate.
    body = json.dumps({"username": name})
    headers = {"Content-Type": "application/json"}
    response = await http("POST", f"{shared_chat_server.http}/users", content=body, headers=headers)
    assert response.status_code == 400
    assert response.headers["content-type"] == "application/problem+json"
    assert "name" in response.json()["detail"]


@shared
async def test_without_a_name_the_path_is_told_what_a_name_is(shared_chat_server: Service) -> None:
    for path in ("/user/join", "/user/join/"):
        response = await http("GET", shared_chat_server.http + path)
        assert (response.status_code, response.json()["detail"]) == (400, "A name must have 1..64 characters.")


@shared
@pytest.mark.parametrize(
    "body",
    [
        r'{"username": "Nika", "x\ud83c": ["\ud83c"]}',
        '{"username": "Nika", "x": 1e9999}',
        '{"x": %s, "username": "Nika"}' % ("9" * 5000),
    ],
    ids=["half an emoji", "number out of range", "long number"],
)
async def test_what_is_not_read_of_a_body_is_ignored(shared_chat_server: Service, body: str) -> None:
    headers = {"Content-Type": "application/json"}
    response = await http("POST", f"{shared_chat_server.http}/users", content=body, headers=headers)
    assert response.status_code == 201
    assert response.json()["username"] == "Nika"


@shared
@pytest.mark.parametrize("body", ['{"name": "Nika"}', "{}", '{"username": null}', '{"username": ["Nika"]}'])
async def test_a_body_without_a_name_is_told_which_key_is_missing(shared_chat_server: Service, body: str) -> None:
    headers = {"Content-Type": "application/json"}
    response = await http("POST", f"{shared_chat_server.http}/users", content=body, headers=headers)
    assert response.status_code == 400
    assert "username" in response.json()["detail"]


@shared
async def test_both_ways_to_register_give_users_of_one_kind(shared_chat_server: Service) -> None:
    by_get = await http("GET", f"{shared_chat_server.http}/user/join/Nika")
    by_post = await http("POST", f"{shared_chat_server.http}/users", json={"username": " Nika "})
    assert list(by_post.json()) == [*by_get.json(), "token"]
    assert by_post.json()["username"] == by_get.json()["username"]
    assert by_post.headers["cache-control"] == "no-store"


@shared
@pytest.mark.parametrize("method", ["HEAD", "POST", "DELETE"])
async def test_only_get_registers_by_the_address(shared_chat_server: Service, method: str) -> None:
    response = await http(method, f"{shared_chat_server.http}/user/join/Nika")
    assert response.status_code == 405
    assert "GET" in response.headers["allow"]


@shared
@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("Sec-Purpose", "prefetch"),
        ("Sec-Purpose", "prefetch;prerender"),
        ("Sec-Purpose", "prefetch;anonymous-client-ip"),
        ("Sec-Purpose", "Prefetch"),
        ("Purpose", "prefetch"),
        ("Purpose", "PREFETCH"),
        ("X-Purpose", "preview"),
        ("X-Moz", "prefetch"),
        ("Sec-Fetch-Site", "CROSS-SITE"),
    ],
)
async def test_a_prefetch_registers_nobody(shared_chat_server: Service, header: str, value: str) -> None:
    response = await http("GET", f"{shared_chat_server.http}/user/join/Nika", headers={header: value})
    assert response.status_code == 403
    assert response.headers["content-type"] == "application/problem+json"
    assert "chatId" not in response.text


@pytest.mark.given(join_rate=Rate("2/hour"))
async def test_an_address_registers_so_often(chat_server: Service) -> None:
    async def by_get() -> httpx.Response:
        return await http("GET", f"{chat_server.http}/user/join/Nika")

    async def by_post() -> httpx.Response:
        return await http("POST", f"{chat_server.http}/users", json={"username": "Nika"})

    assert [(await by_get()).status_code, (await by_post()).status_code] == [200, 201]
    for refused in (await by_get(), await by_post()):
        assert refused.status_code == 429
        assert refused.json()["code"] == "rate_limited"
        assert 0 < int(refused.headers["retry-after"]) <= 1800


@pytest.mark.given(join_rate=Rate("2/hour"))
@pytest.mark.parametrize(
    "body", ["{", "{}", '{"username": " "}', "x" * 17_000], ids=["no JSON", "no name", "no text", "large"]
)
async def test_the_rate_counts_what_is_refused(chat_server: Service, body: str) -> None:
    assert (await http("GET", f"{chat_server.http}/user/join/%20")).status_code == 400
    answers = [
        await http("POST", f"{chat_server.http}/users", content=body, headers={"Content-Type": "application/json"})
        for _ in range(2)
    ]
    assert [answer.status_code for answer in answers] == [413 if len(body) > 16_384 else 400, 429]
    assert (await http("GET", f"{chat_server.http}/user/join/%20")).status_code == 429


@pytest.mark.given(join_rate=Rate("1/hour"))
async def test_a_foreign_page_takes_nothing_of_the_rate(chat_server: Service) -> None:
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Purpose": "prefetch"}, {"Origin": "https://evil.example"}):
        assert (await http("GET", f"{chat_server.http}/user/join/Nika", headers=headers)).status_code == 403
    assert (await http("POST", f"{chat_server.http}/users", content="username=Nika")).status_code == 415
    assert (await http("GET", f"{chat_server.http}/user/join/Nika")).status_code == 200


@pytest.mark.given(join_rate=Rate("1/second"))
async def test_after_the_time_that_was_told_the_address_may_register(chat_server: Service) -> None:
    while (response := await http("GET", f"{chat_server.http}/user/join/Nika")).status_code == 200:
        pass
    await asyncio.sleep(int(response.headers["retry-after"]))
    assert (await http("GET", f"{chat_server.http}/user/join/Nika")).status_code == 200
