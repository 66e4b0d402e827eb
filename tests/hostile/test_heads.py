"""Heads that break the rules of HTTP (RFC 9112) or of a WebSocket handshake (RFC 6455) are refused, and say why."""

import asyncio
import json
import shutil
from asyncio.subprocess import PIPE

import pytest

from tests.helpers.services import Service
from tests.helpers.wire import User
from tests.hostile.test_http import GET, POST, Peer, status
from tests.hostile.test_stray_bytes import CHUNKED, statuses

pytestmark = pytest.mark.asyncio(loop_scope="module")

LINE = b"GET /health HTTP/1.1\r\n"
HOST = b"Host: localhost\r\n"
BODY = b'{"username":"Nika"}'

HEADS = {
    "no host": (LINE + b"\r\n", 400),
    "two hosts": (LINE + HOST + b"Host: evil.example\r\n\r\n", 400),
    "twice the same host": (LINE + HOST + HOST + b"\r\n", 400),
    "an empty host": (LINE + b"Host:\r\n\r\n", 400),
    "a host with a path": (LINE + b"Host: localhost/x\r\n\r\n", 400),
    "a host with a space": (LINE + b"Host: local host\r\n\r\n", 400),
    "a host of a person": (LINE + b"Host: a@localhost\r\n\r\n", 400),
    "a host with a port that is none": (LINE + b"Host: localhost:x\r\n\r\n", 400),
    "a list of hosts": (LINE + b"Host: localhost, evil.example\r\n\r\n", 400),
    "a host that is no ASCII": (LINE + b"Host: \xc3\xa9\r\n\r\n", 400),
    "two hosts in HTTP/1.0": (b"GET /health HTTP/1.0\r\n" + HOST + HOST + b"\r\n", 400),
    "no host in HTTP/1.0": (b"GET /health HTTP/1.0\r\n\r\n", 200),
    "HTTP/0.9": (b"GET /health\r\n\r\n", 505),
    "HTTP/0.9, said": (b"GET /health HTTP/0.9\r\n" + HOST + b"\r\n", 505),
    "HTTP/2.0": (b"GET /health HTTP/2.0\r\n" + HOST + b"\r\n", 505),
    "HTTP/1.2": (b"GET /health HTTP/1.2\r\n" + HOST + b"\r\n", 400),
    "HTTP/2's preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "no HTTP": (b"GET /health HTTQ/1.1\r\n" + HOST + b"\r\n", 400),
    "no method": (b"/health HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "CONNECT": (b"CONNECT localhost:80 HTTP/1.1\r\n" + HOST + b"\r\n", 501),
    "another's address": (b"GET http://evil.example/health HTTP/1.1\r\n" + HOST + b"\r\n", 403),
    "our address": (b"GET http://localhost/health HTTP/1.1\r\nHost: evil.example\r\n\r\n", 200),
    "a person's address": (b"GET http://a@localhost/health HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "gzip, chunked": (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n", 501),
    "chunked, chunked": (POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n", 400),
    "chunked, twice": (POST + b"Transfer-Encoding: chunked\r\n" + CHUNKED, 400),
    "identity": (POST + b"Transfer-Encoding: identity\r\n\r\n", 501),
    "gzip": (POST + b"Transfer-Encoding: gzip\r\n\r\n", 501),
    "chunked with a length": (POST + b"Content-Length: 19\r\n" + CHUNKED, 400),
    "chunked in HTTP/1.0": (POST.replace(b"HTTP/1.1", b"HTTP/1.0") + CHUNKED, 400),
    "two lengths": (POST + b"Content-Length: 19\r\nContent-Length: 19\r\n\r\n", 400),
    "a length that is none": (POST + b"Content-Length: +19\r\n\r\n", 400),
    "a folded header": (LINE + HOST + b"X: a\r\n b\r\n\r\n", 400),
    "a header with a space before the colon": (LINE + HOST + b"X : a\r\n\r\n", 400),
    "a lone line feed": (b"GET /health HTTP/1.1\nHost: localhost\n\n", 400),
}


@pytest.mark.parametrize("name", HEADS)
async def test_a_head_that_breaks_the_rules_is_refused(shared_chat_server: Service, name: str) -> None:
    head, expected = HEADS[name]
    async with Peer.connect(shared_chat_server) as peer:
        body = b"13\r\n" + BODY + b"\r\n0\r\n\r\n" if head.endswith(CHUNKED) else BODY
        await peer.send(head + (body if head.startswith(b"POST") else b""))
        answer = await peer.head()
        assert status(answer) == expected
        if expected in (400, 501, 505):
            assert b"application/problem+json" in answer
            problem = json.loads(await peer.rest())
            assert (problem["status"], problem["code"]) == (expected, "invalid")


# Handshakes.

SOCKET = [
    b"Host: localhost",
    b"Connection: Upgrade",
    b"Upgrade: websocket",
    b"Sec-WebSocket-Version: 13",
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
]


def handshake(
    chat_id: str, changes: dict[bytes, bytes | None] | None = None, line: bytes = b"GET %s HTTP/1.1"
) -> bytes:
    """A handshake whose headers are changed, left out (None) or added."""
    changes = dict(changes or {})
    lines = [line % f"/chat/{chat_id}".encode()]
    for header in SOCKET:
        name = header.partition(b":")[0]
        value = changes.pop(name, header.partition(b": ")[2])
        if value is not None:
            lines.append(name + b": " + value)
    lines += [name + b": " + value for name, value in changes.items() if value is not None]
    return b"\r\n".join([*lines, b"", b""])


VERSION, KEY = b"Sec-WebSocket-Version", b"Sec-WebSocket-Key"
HANDSHAKES: dict[str, tuple[dict[bytes, bytes | None], int]] = {
    "as it should be": ({}, 101),
    "other cases": ({b"Connection": b"keep-alive, upgrade", b"Upgrade": b"WebSocket"}, 101),
    "more offers": ({b"Upgrade": b"h2c, websocket"}, 101),
    "no body, as it says": ({b"Content-Length": b"0"}, 101),
    "no version": ({VERSION: None}, 426),
    "version 8": ({VERSION: b"8"}, 426),
    "version 0": ({VERSION: b"0"}, 426),
    "versions": ({VERSION: b"13, 8"}, 426),
    "a version that is none": ({VERSION: b"thirteen"}, 426),
    "no connection": ({b"Connection": None}, 400),
    "another connection": ({b"Connection": b"keep-alive"}, 400),
    "no key": ({KEY: None}, 400),
    "an empty key": ({KEY: b""}, 400),
    "a short key": ({KEY: b"AAAA"}, 400),
    "a long key": ({KEY: b"AAAA" * 8}, 400),
    "a key that is no base64": ({KEY: b"????????????????????????"}, 400),
    "a body": ({b"Content-Length": b"5"}, 400),
    "a body in chunks": ({b"Transfer-Encoding": b"chunked"}, 400),
}


@pytest.mark.parametrize("name", HANDSHAKES)
async def test_a_handshake_that_breaks_the_rules_is_refused(shared_chat_server: Service, name: str) -> None:
    changes, expected = HANDSHAKES[name]
    user = await User.register(shared_chat_server)
    async with Peer.connect(shared_chat_server) as peer:
        await peer.send(handshake(user.chatId, changes))
        answer = await peer.head()
        assert status(answer) == expected
        assert (b"sec-websocket-version: 13\r\n" in answer.lower()) == (expected == 426)
        if expected != 101:
            problem = json.loads(await peer.rest())
            assert (problem["status"], problem["code"]) == (expected, "invalid")
            assert "WebSocket" in problem["detail"]


@pytest.mark.parametrize("line", [b"POST %s HTTP/1.1", b"OPTIONS %s HTTP/1.1", b"GET %s HTTP/1.0"])
async def test_only_a_get_opens_a_websocket(shared_chat_server: Service, line: bytes) -> None:
    async with Peer.connect(shared_chat_server) as peer:
        await peer.send(handshake("a" * 32, line=line))
        assert status(await peer.head()) in (204, 404, 405, 426)


async def test_a_handshake_does_not_overtake_the_answer_to_another_request(shared_chat_server: Service) -> None:
    user = await User.register(shared_chat_server)
    async with Peer.connect(shared_chat_server) as peer:
        await peer.send(GET + b"\r\n" + handshake(user.chatId))
        assert statuses(await peer.rest()) == [400]
    async with Peer.connect(shared_chat_server) as peer:
        await peer.send(GET + b"\r\n")
        assert status(await peer.head()) == 200
        await peer._reader.readexactly(len(b'{"status":"ok"}'))
        await peer.send(handshake(user.chatId))
        assert status(await peer.head()) == 101


# Offers to upgrade to what is not spoken here (RFC 9110, section 7.8).

OFFERS = {
    "h2c": b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n",
    "other cases": b"connection: UPGRADE\r\nupgrade: H2C\r\n",
    "TLS": b"Connection: Upgrade\r\nUpgrade: TLS/1.0\r\n",
    "several": b"Connection: Upgrade\r\nUpgrade: foo, h2c, TLS/1.2, HTTP/2.0\r\n",
    "several headers": b"Connection: keep-alive\r\nConnection: Upgrade\r\nUpgrade: foo\r\nUpgrade: h2c\r\n",
    "something like a WebSocket": b"Connection: Upgrade\r\nUpgrade: websocket/13\r\n",
    "an empty one": b"Connection: Upgrade\r\nUpgrade:\r\n",
    "a WebSocket, by POST": b"Connection: Upgrade\r\nUpgrade: websocket\r\n",
}
BODIES = {
    "with a length": b"Content-Length: %d\r\n\r\n%b" % (len(BODY), BODY),
    "in chunks": CHUNKED + b"3\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n" % (BODY[:3], len(BODY) - 3, BODY[3:]),
}


@pytest.mark.parametrize("offer", OFFERS)
@pytest.mark.parametrize("body", BODIES)
async def test_an_offer_to_upgrade_is_ignored(shared_chat_server: Service, offer: str, body: str) -> None:
    async with Peer.connect(shared_chat_server) as peer:
        request = POST + OFFERS[offer] + BODIES[body]
        cuts = [len(request), request.index(b"\r\n\r\n") + 4, len(request) - 9, len(POST) + 5]
        for cut in cuts:
            await peer.send(request[:cut])
            await asyncio.sleep(0)
            if cut < len(request):
                await asyncio.sleep(0.02)  # a packet of its own; if it is none, the test is only weaker
                await peer.send(request[cut:])
            head = await peer.head()
            assert status(head) == 201
            assert b"connection: close" not in head
            await peer._reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split()[0]))


@pytest.mark.parametrize("offer", [offer for offer in OFFERS if "POST" not in offer])
async def test_an_offer_with_a_get_is_ignored_again_and_again(shared_chat_server: Service, offer: str) -> None:
    async with Peer.connect(shared_chat_server) as peer:
        await peer.send((GET + OFFERS[offer] + b"\r\n") * 3 + GET + b"Connection: close\r\n\r\n")
        assert statuses(await peer.rest()) == [200] * 4


async def test_an_offer_does_not_hide_the_end_of_a_connection(shared_chat_server: Service) -> None:
    async with Peer.connect(shared_chat_server) as peer:
        await peer.send(GET + b"Connection: close, Upgrade\r\nUpgrade: h2c\r\n\r\n")
        assert statuses(await peer.rest()) == [200]


async def test_curl_may_offer_http_2(shared_chat_server: Service) -> None:
    if not (curl := shutil.which("curl")):
        pytest.skip("there is no curl")
    url = f"{shared_chat_server.http}/users"
    arguments = ["--http2", "-sS", "--noproxy", "*", "-H", "Content-Type: application/json", "-w", "%{http_code} "]
    for more in ([], ["-H", "Transfer-Encoding: chunked"], ["-H", "Expect: 100-continue"]):
        twice = ["-d", BODY.decode(), *more, "-o", "/dev/null", "-o", "/dev/null", url, url]
        process = await asyncio.create_subprocess_exec(curl, *arguments, *twice, stdout=PIPE)
        output, _ = await process.communicate()
        assert output.split() == [b"201", b"201"]
