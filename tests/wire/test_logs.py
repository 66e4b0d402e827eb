"""Whatever is said or refused, the logs hold nothing of it: neither content nor names, ids or tokens."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from redis.asyncio import Redis

from tests.conversation import refusal, say
from tests.support import DEADLINE, WEBSOCKET, Socket, User, eventually


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


@pytest.fixture
async def system(
    redis: Redis,  # noqa: ARG001 - the keys are deleted first
    redis_url: str,
    tmp_path: Path,
) -> AsyncIterator[System]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("LIVE_SUPPORT_")}
    settings = {"REDIS_URL": redis_url, "CHAT_PORT": "0", "SUBSCRIBER_PORT": "0", "LOG_LEVEL": "debug"}
    settings["WEBSOCKET"] = WEBSOCKET
    log = tmp_path / "up.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "core.cli", "up"),
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
