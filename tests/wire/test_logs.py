"""Whatever is said or refused, the logs hold nothing of it: neither content nor names, ids or tokens."""

import asyncio
import json
import logging
import os
import re
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from redis.asyncio import Redis

import api.app
import subscriber.app
from tests.helpers.services import DEADLINE, WEBSOCKET, eventually, http, make_settings, serve
from tests.helpers.tokens import SECRET, as_browser, bearer, make_token
from tests.helpers.wire import Socket, User, agent_socket, error_code, refusal, say


class System(NamedTuple):
    """A `live-support up` that logs all it can, and where its services listen."""

    process: asyncio.subprocess.Process
    log: Path
    chat: str
    joins: str

    async def end(self) -> str:
        """Stop it; return its log."""
        self.process.terminate()
        async with asyncio.timeout(DEADLINE):
            assert await self.process.wait() == 0
        return self.log.read_text()


@asynccontextmanager
async def running(redis_url: str, tmp_path: Path, **more: str) -> AsyncIterator[System]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("LIVE_SUPPORT_")}
    settings = {
        "REDIS_URL": redis_url,
        "CHAT_PORT": "0",
        "SUBSCRIBER_PORT": "0",
        "LOG_LEVEL": "debug",
        "LOG_FORMAT": "json",
    }
    settings |= {"WEBSOCKET": WEBSOCKET, **more}
    log = tmp_path / "up.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "live_support.cli.main", "up"),
            env=env | {f"LIVE_SUPPORT_{name}": value for name, value in settings.items()},
            stdout=output,
            stderr=output,
        )
    try:
        await eventually(lambda: "Ctrl-C" in log.read_text())
        chat, joins = re.findall(r"(?:chat-server|subscriber) +http://(\S+)", log.read_text())
        yield System(process, log, chat, joins)
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()


@pytest.fixture
async def system(
    redis: Redis,  # noqa: ARG001 - the keys are deleted first
    redis_url: str,
    tmp_path: Path,
) -> AsyncIterator[System]:
    async with running(redis_url, tmp_path) as system:
        yield system


@pytest.fixture
async def agents_system(
    redis: Redis,  # noqa: ARG001 - the keys are deleted first
    redis_url: str,
    tmp_path: Path,
) -> AsyncIterator[System]:
    """The same, where agents need tokens."""
    async with running(redis_url, tmp_path, AGENT_JWT_SECRET=SECRET, JOIN_RATE="1000/second") as system:
        yield system


async def test_the_logs_hold_nothing_of_a_conversation(system: System) -> None:
    secrets = ["Zebedee", "Florence", "my password"]
    async with httpx.AsyncClient(trust_env=False, base_url=f"http://{system.chat}") as client:
        registered = (await client.post("/users", json={"username": "Zebedee"})).json()
        await client.get("/user/join/Zebedee%00")
        await client.get(f"/chat/{registered['chatId']}/Zebedee")
        await client.post("/users", json={"username": ["Zebedee"]})
    token = registered.pop("token")
    user = User(**registered)
    secrets += [token, user.userId, user.chatId]

    async with (
        Socket.open(f"ws://{system.joins}/joins") as joins,
        Socket.open(f"ws://{system.chat}/chat/{user.chatId}") as user_socket,
        Socket.open(f"ws://{system.chat}/chat/{user.chatId}") as support_socket,
    ):
        await user_socket.send(user.join(token=token))
        assert await user_socket.receive() == user.joined
        assert await joins.receive() == user.request
        await joins.send(user.userId)
        assert await refusal(f"{user.userId} Zebedee", joins) == "invalid"
        await support_socket.send(user.support_join(supportUserName="Florence"))
        support_id = (await support_socket.receive())["args"]["supportId"]
        secrets.append(support_id)
        await user_socket.receive()
        await say(user.says("my password"), user_socket, support_socket)
        await say(user.hears("my password", support_id), support_socket, user_socket)
        for frame in ({"type": "my password"}, user.says("my password", userId="Zebedee"), user.join()):
            await refusal(frame, user_socket)
        await user_socket.connection.send(b"my password \xff", text=True)
        assert await user_socket.close_code() == 1007
        await support_socket.send("my password" * 10_000)
        assert await support_socket.close_code() == 1009

    log = await system.end()
    assert log.count("service_stopped") == 2
    assert [secret for secret in secrets if secret in log] == []


async def test_what_did_not_fit_together_is_logged_for_those_who_look(system: System) -> None:
    headers = [
        {"Host": "localhost", "Origin": "https://Evil.example:443"},
        {"Host": "evil.example:8080"},
        {"Origin": "my password"},
    ]
    async with httpx.AsyncClient(trust_env=False, base_url=f"http://{system.chat}") as client:
        for each in headers[:2] * 20 + headers[2:]:
            assert (await client.get("/user/join/Nika", headers=each)).status_code == 403
    log = await system.end()
    lines = [json.loads(line) for line in log.splitlines() if '"compared"' in line]
    assert {"host": "localhost", "origin": "https://evil.example"}.items() <= lines[0].items()
    assert lines[1]["host"] == "evil.example:8080"
    assert {each["level"] for each in lines} == {"debug"}
    assert len(lines) < 10
    assert "my password" not in log


async def test_the_logs_hold_no_token_and_few_lines_for_what_clients_do_wrong(agents_system: System) -> None:
    system = agents_system
    good, over = make_token("florence", name="Florence"), make_token("dougal", seconds=-1)
    secrets = ["florence", "Florence", "dougal", SECRET, good, over, *good.split("."), "my password", "Zebedee"]
    async with httpx.AsyncClient(trust_env=False, base_url=f"http://{system.chat}") as client:
        registered = (await client.post("/users", json={"username": "Zebedee"})).json()
        secrets.append(registered.pop("token"))
        user = User(**registered)
        secrets += user
        for _ in range(20):
            for options in (
                {"content": b"[" * 9000, "headers": {"Content-Type": "application/json"}},
                {"content": b'{"username":"my password \xff"}', "headers": {"Content-Type": "application/json"}},
                {"content": b"my password", "headers": {"Content-Type": "text/plain"}},
                {"content": b"my password" * 5000, "headers": {"Content-Type": "application/json"}},
                {"json": {"username": "Zebedee"}, "headers": {"Origin": "https://evil.example/my password"}},
                {"json": {"username": "Zebedee"}, "headers": {"Host": "my-password.example"}},
                {"json": {"username": "Zebedee"}, "headers": {"Authorization": f"Bearer {good}"}},
            ):
                await client.post(f"/users?token={good}", **options)
            await client.get("/user/join/Zebedee\u202e", headers={"Sec-Fetch-Site": "cross-site"})
            await client.get("/chat/my%20password/%ff", params={"token": good})
            await client.get("/schema", headers={"Connection": "Upgrade", "Upgrade": "my password"})
    for service in (system.chat, system.joins):
        host, port = service.split(":")
        for _ in range(20):
            for junk in (b"my password\r\n\r\n", b"GET /%s HTTP/1.1\r\n" % good.encode() + b"X: my password " * 2000):
                reader, writer = await asyncio.open_connection(host, int(port))
                with suppress(ConnectionError):
                    writer.write(junk)
                    await reader.read()
                writer.transport.abort()
    for options in (bearer(over), as_browser(over, "live-support.v1")):
        for _ in range(20):
            async with Socket.open(f"ws://{system.joins}/joins?token={over}", **options) as joins:
                assert await joins.close_code() == 4501
            async with Socket.open(f"ws://{system.chat}/chat/{user.chatId}?token={over}", **options) as socket:
                await socket.send(user.support_join(supportUserName="Florence"))
                assert await socket.close_code() == 4501
    async with Socket.open(f"ws://{system.chat}/chat/{user.chatId}?token={good}", **bearer(good)) as socket:
        await socket.send(user.support_join())
        secrets.append((await socket.receive())["args"]["supportId"])
        await socket.send("[" * 60_000)
        await socket.send("my password")
        await socket.send('{"type":"my password","args":{}}')
        for code in ("invalid", "invalid", "unknown_type"):
            assert error_code(await socket.receive()) == code

    log = await system.end()
    assert [secret for secret in secrets if secret in log] == []
    assert "Traceback" not in log
    refusals = [json.loads(line) for line in log.splitlines() if '"client_' in line]
    counts = Counter[tuple[str, str, str]]()
    for each in refusals:
        counts[each["service"], each.get("what", "closed"), each["reason"]] += each["count"]
    # None is missing, and none has a line of its own for long.
    assert counts["Subscriber", "token", "expired"] == counts["ChatServer", "token", "expired"] == 40
    assert counts["ChatServer", "origin", "not_allowed"] == counts["ChatServer", "host", "not_ours"] == 20
    assert counts["ChatServer", "origin", "cross_site"] == 20
    assert counts["ChatServer", "request", "malformed"] >= 20
    assert counts["ChatServer", "request", "too_large"] == counts["Subscriber", "request", "too_large"] == 20
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    stopping = {line["service"]: line["timestamp"] for line in lines if line["event"] == "stopping"}
    at = sorted((each["service"], each.get("what", "closed"), each["reason"], each["timestamp"]) for each in refusals)
    for (*one, earlier), (*other, later) in pairwise(at):
        apart = datetime.fromisoformat(later) - datetime.fromisoformat(earlier)
        # The last one of a service tells the rest.
        assert one != other or apart > timedelta(seconds=0.9) or later > stopping[one[0]], log
    # And beside these only what the services say of their own lives.
    assert len(log.splitlines()) - len(refusals) < 40, log


@pytest.mark.parametrize("layer", ["picows", "uvicorn"])
async def test_no_level_lets_libraries_log_headers_and_frames(
    layer: str,
    redis: Redis,  # noqa: ARG001 - the keys are deleted first
    redis_url: str,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Also where the logs are set up by somebody else, as by one who runs the apps in a process of his own."""
    quiet = logging.Logger("client", logging.CRITICAL)  # of the tests' own clients
    names = ["", "uvicorn", "uvicorn.access", "uvicorn.asgi", "uvicorn.error", "websockets", "websockets.server"]
    settings = make_settings(redis_url, websocket=layer, agent_jwt_secret=SECRET)
    token, over = make_token("florence", name="Florence"), make_token("dougal", seconds=-1)
    secrets = ["florence", "Florence", token, over, *token.split("."), "my password", "Zebedee"]
    async with serve(api.app.create_service, settings) as chat, serve(subscriber.app.create_service, settings) as joins:
        for name in names:
            caplog.set_level(1, name)
        response = await http("POST", f"{chat.http}/users", json={"username": "Zebedee"})
        registered = response.json()
        secrets += [registered.pop("token"), registered["chatId"], registered["userId"]]
        user, user_token = User(**registered), secrets[-3]
        for options in (bearer(over), as_browser(over, "live-support.v1"), bearer(token), as_browser(token, "other")):
            async with agent_socket(joins, logger=quiet, **options) as waiting:
                if over in str(options):
                    assert await waiting.close_code() == 4501
                elif options == bearer(token):
                    await waiting.send('"my password"')
                    assert error_code(await waiting.receive()) == "invalid"
            url = f"{chat.ws}/chat/{user.chatId}?token={token}"
            async with Socket.open(url, logger=quiet, **options) as support:
                if over not in str(options):
                    await support.send(user.support_join())
                    await support.receive()
                    await support.send("my password \N{SNOWMAN}")
                    await support.send(b"my password")
        # The header of a handshake that no layer can read.
        head = [f"GET /joins?token={token} HTTP/1.1", f"Host: 127.0.0.1:{joins.port}", "Upgrade: websocket"]
        head += ["Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="]
        reader, writer = await asyncio.open_connection("127.0.0.1", joins.port)
        writer.write("\r\n".join([*head, f'Sec-WebSocket-Protocol: bearer.{token}, ("', "", ""]).encode())
        await reader.readline()
        writer.close()
        async with user.chat(chat, logger=quiet) as socket:
            await socket.send(user.join(token=user_token))
            await socket.receive()
            await socket.send(user.says("my password"))
            await socket.connection.send(b"my password \xff", text=True)
            assert (await socket.drain())[1] == 1007
    output = caplog.text + "".join(capfd.readouterr())
    assert [secret for secret in secrets if secret in output] == []


async def test_every_line_names_its_service(system: System) -> None:
    user = User(**(await http("GET", f"http://{system.chat}/user/join/Nika")).json())
    async with Socket.open(f"ws://{system.chat}/chat/{user.chatId}") as socket:
        await socket.send(user.support_join(userId="0" * 32))
        assert (await socket.drain())[1] == 4503
    lines = [json.loads(line) for line in (await system.end()).splitlines() if line.startswith("{")]
    assert {line.get("service") for line in lines} == {"ChatServer", "Subscriber"}
    connected = [line["service"] for line in lines if line["event"] == "redis_connected"]
    assert sorted(connected) == ["ChatServer", "Subscriber"]
    (closed,) = [line for line in lines if line["event"] == "client_closed"]
    assert (closed["code"], closed["reason"], closed["count"]) == (4503, "forbidden", 1)
