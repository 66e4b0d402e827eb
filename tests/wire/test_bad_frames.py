"""What no socket of ours takes, whatever is in it: binary, too large, and not UTF-8. What text may say is elsewhere."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import NamedTuple

import pytest
import pytest_asyncio

from tests.helpers.services import Service
from tests.helpers.wire import Socket, refusal, request_comes_next, talk_in, two_agents

pytestmark = pytest.mark.asyncio(loop_scope="module")

MOST_BYTES = 64 * 1024


class Scene(NamedTuple):
    """A connection that misbehaves, and the check that another one noticed nothing."""

    offender: Socket
    others_notice_nothing: Callable[[], Awaitable[None]]


@pytest_asyncio.fixture(loop_scope="module", params=["chat", "joins"])
async def scene(
    request: pytest.FixtureRequest, shared_chat_server: Service, shared_subscriber: Service
) -> AsyncIterator[Scene]:
    if request.param == "chat":
        async with talk_in(shared_chat_server) as talk, talk.tab(talk.user_rejoin) as tab:
            yield Scene(tab, talk.goes_on)
    else:
        async with two_agents(shared_chat_server, shared_subscriber) as (offender, other):
            yield Scene(offender, lambda: request_comes_next(shared_chat_server, other))


@pytest.mark.parametrize("frame", [b"", b"{}", b"\x00" * 1000], ids=["empty", "JSON", "zeros"])
async def test_binary_is_closed_with_1003(scene: Scene, frame: bytes) -> None:
    await scene.offender.send(frame)
    assert await scene.offender.close_code() == 1003
    await scene.others_notice_nothing()


async def test_64_kib_are_taken(scene: Scene) -> None:
    assert await refusal("x" * MOST_BYTES, scene.offender) == "invalid"


@pytest.mark.parametrize(
    "frame",
    ["x" * (MOST_BYTES + 1), "é" * (MOST_BYTES // 2) + "x", " " * 10 * MOST_BYTES],
    ids=["one byte more", "one byte more in fewer characters", "ten times"],
)
async def test_more_than_64_kib_are_closed_with_1009(scene: Scene, frame: str) -> None:
    await scene.offender.send(frame)
    assert await scene.offender.close_code() == 1009
    await scene.others_notice_nothing()


async def test_fragments_count_together(scene: Scene) -> None:
    await scene.offender.connection.send(["x" * (MOST_BYTES // 2)] * 3)
    assert await scene.offender.close_code() == 1009
    await scene.others_notice_nothing()


@pytest.mark.parametrize(
    "text",
    [b"\xff", b'{"type": "\xc3"}', b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"Caf\xc3"],
    ids=["no lead byte", "lost continuation", "overlong", "surrogate", "beyond Unicode", "cut off"],
)
async def test_bad_utf_8_is_closed_with_1007(scene: Scene, text: bytes) -> None:
    await scene.offender.connection.send(text, text=True)
    assert await scene.offender.close_code() == 1007
    await scene.others_notice_nothing()


async def test_a_character_may_lie_in_two_fragments(shared_chat_server: Service) -> None:
    async with talk_in(shared_chat_server) as talk:
        frame = json.dumps(talk.user.says("Café"), ensure_ascii=False).encode()
        middle = frame.index(b"\xa9")
        await talk.user_socket.connection.send([frame[:middle], frame[middle:]], text=True)
        for socket in (talk.user_socket, talk.support_socket):
            assert (await socket.receive())["args"]["content"] == "Café"
