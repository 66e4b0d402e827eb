"""Chats without sockets: what the services do with a ChatStore, in few words."""

import asyncio
import secrets
from typing import NamedTuple, Self

from live_support.chats.store import ChatStore, JoinAttempt, Snapshot
from live_support.chats.writer import append_error
from schemas.codec import encode
from schemas.entry import Entry
from schemas.messages import Participant, SupportJoined, UserJoined

VIKA = "7c270542e64a4dfbb2bc1c7793746674"


def hex_id(number: int) -> str:
    """The id with this number."""
    return f"{number:032x}"


class Chat(NamedTuple):
    """A chat in a store, of the user with the same number."""

    store: ChatStore
    chat_id: str
    user_id: str

    @classmethod
    async def open(cls, store: ChatStore, number: int = 1, *, token: str | None = None) -> Self:
        """Open a chat."""
        chat = cls(store, chat_id=hex_id(number), user_id=hex_id(1_000_000 + number))
        await store.open(chat.chat_id, user_id=chat.user_id, username="Nika", token=token)
        return chat

    async def join_user(
        self, connection: str = "u1", *, user_id: str | None = None, token: str | None = None, room: bool = True
    ) -> Snapshot:
        """Join as the User; with `room`, others make room where there is none."""
        user_id = user_id or self.user_id
        return await self._join(
            JoinAttempt(
                connection_id=connection,
                participant="User",
                user_id=user_id,
                token=token,
                joined=encode(UserJoined(user_id=user_id)),
            ),
            room=room,
        )

    async def join_support(
        self,
        connection: str = "s1",
        *,
        new_id: str = VIKA,
        name: str = "Vika",
        support_id: str | None = None,
        user_id: str | None = None,
        agent_id: str = "",
        room: bool = True,
    ) -> Snapshot:
        """Join as a Support, who becomes `new_id` if it is the first join."""
        user_id = user_id or self.user_id
        return await self._join(
            JoinAttempt(
                connection_id=connection,
                participant="Support",
                agent_id=agent_id,
                user_id=user_id,
                support_id=support_id,
                joined=encode(SupportJoined(user_id=user_id, support_id=new_id, support_user_name=name)),
                new_support_id=new_id,
                support_user_name=name,
            ),
            room=room,
        )

    async def _join(self, attempt: JoinAttempt, *, room: bool) -> Snapshot:
        snapshot = await self.store.join(self.chat_id, attempt)
        if room and snapshot.full:
            await self.make_room(attempt.participant, attempt.connection_id)
        return snapshot

    async def make_room(self, participant: Participant, connection: str) -> None:
        """Close the oldest connections of a participant, of whom this one has joined."""
        await self.store.make_room(self.chat_id, participant, connection)

    async def say(
        self,
        content: str,
        *,
        connection: str | None = None,
        number: int = 1,
        sender: Participant = "User",
        support_id: str = VIKA,
    ) -> None:
        """Append a message, by default on a connection of its own.

        Args:
            content: of the message.
            connection: that says it.
            number: of the message among those of the connection.
            sender: the participant.
            support_id: as whom a Support has joined.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def on_reply(reply: bytes | Exception) -> None:
            error = append_error(reply)
            done.set_exception(error) if error else done.set_result(None)

        own_id = self.user_id if sender == "User" else support_id
        writer = self.store.writer(self.chat_id, connection or secrets.token_hex(8), own_id)
        writer._number = number - 1
        writer.append(content, on_reply)
        await done

    async def log(self) -> list[Entry]:
        """Everything that happened."""
        entries: list[Entry] = []
        while piece := await self.store.entries_after(self.chat_id, len(entries)):
            entries += piece
        return entries

    async def is_gone(self) -> bool:
        """Whether the chat has expired."""
        return await self.store.remaining_ms(self.chat_id) is None
