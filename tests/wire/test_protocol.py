"""The seed's eight steps, in order, with exactly its keys."""

from datetime import UTC, datetime
from typing import Any

from tests.helpers.services import Service, http
from tests.helpers.wire import Frame, User, agent_socket

HEX = set("0123456789abcdef")


def is_id(value: Any) -> bool:
    return isinstance(value, str) and len(value) == 32 and set(value) <= HEX


def taken(frame: Frame, *, type: str, keys: list[str]) -> Frame:  # noqa: A002 - as on the wire
    """The args of a frame that has exactly these keys, in the seed's order."""
    assert list(frame) == ["type", "args"]
    assert frame["type"] == type
    args: Frame = frame["args"]
    assert list(args) == keys
    return args


def assert_just_now(timestamp: str) -> None:
    assert len(timestamp) == len("2023-10-22T18:18:59.360855Z")
    age = datetime.now(UTC) - datetime.strptime(timestamp, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    assert abs(age.total_seconds()) < 60


async def test_the_seeds_conversation(chat_server: Service, subscriber_service: Service) -> None:
    # 1) The user registers.
    registered = (await http("GET", f"{chat_server.http}/user/join/Nika")).json()
    assert list(registered) == ["userId", "username", "chatId"]
    assert is_id(registered["userId"])
    assert is_id(registered["chatId"])
    assert registered["username"] == "Nika"
    nika = User(**registered)

    async with nika.chat(chat_server) as user, agent_socket(subscriber_service) as joins:
        # 2) The user joins.
        await user.send(nika.join())
        assert taken(await user.receive(), type="Joined", keys=["participant", "userId"]) == {
            "participant": "User",
            "userId": nika.userId,
        }

        # 3) Agents see the request, and one claims it.
        request = await joins.receive()
        assert request == {"participant": "User", "userId": nika.userId, "chatId": nika.chatId}
        assert list(request) == ["participant", "userId", "chatId"]
        await joins.send(nika.userId)

        async with nika.chat(chat_server) as support:
            # 4) The agent joins; the user hears of it.
            await support.send(nika.support_join())
            joined = await support.receive()
            args = taken(joined, type="Joined", keys=["participant", "userId", "supportId", "supportUserName"])
            vika = args["supportId"]
            assert is_id(vika)
            assert args == {
                "participant": "Support",
                "userId": nika.userId,
                "supportId": vika,
                "supportUserName": "Vika",
            }
            assert await user.receive() == joined

            # 5) The user speaks, 6) the agent answers; both get both.
            said: list[Frame] = []
            for socket, frame in (
                (user, nika.says("Hey, I want to tranasfer money offshore", supportId=vika)),
                (support, nika.hears("Hello, please navigate to Transfer :)", vika)),
            ):
                await socket.send(frame)
                echo = await socket.receive()
                other = support if socket is user else user
                assert await other.receive() == echo
                stored = taken(echo, type="ChatMessage", keys=["userId", "supportId", "content", "timestamp", "from"])
                assert_just_now(stored["timestamp"])
                assert stored["content"] == frame["args"]["content"]
                assert stored["from"] == frame["args"]["from"]
                assert (stored["userId"], stored["supportId"]) == (nika.userId, vika)
                said.append(stored)
            assert said[0]["timestamp"] < said[1]["timestamp"]

    # 7) The user refreshes, 8) the agent does: each gets the history, and nothing else.
    for rejoin in (nika.join(supportId=vika), nika.support_join(supportId=vika)):
        async with nika.chat(chat_server) as socket:
            await socket.send(rejoin)
            history = taken(await socket.receive(), type="ChatHistory", keys=["messages"])
            assert history["messages"] == said
