"""The fair Python peer: Starlette on uvicorn's default WebSocket class, with the product's own Redis layer under it.

What differs from the product is only what stands above Redis: no rules, no cursors, no repair, no limits.
"""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from live_support.chats.keys import Keys
from live_support.chats.probe import Probe
from live_support.chats.store import ChatStore
from live_support.chats.writer import Writer, append_error
from live_support.limits import Limits
from live_support.redis.client import RedisClient
from live_support.redis.hub import Hub
from live_support.settings import Settings
from schemas.codec import encode
from schemas.entry import Entry
from schemas.messages import (
    Join,
    Joined,
    NewChatMessage,
    SupportJoin,
    SupportJoined,
    UserJoin,
    UserJoined,
)
from schemas.wire_v1 import V1

settings = Settings(
    redis_url=os.environ["REDIS_URL"],
    chat_ttl_seconds=float(os.environ["TTL_SECONDS"]),
    chat_max_messages=10**9,
    chat_max_bytes=10**12,
    # There is nobody to tell that a machine was too busy to store something in time.
    limits=Limits(store_seconds=60),
)
redis = RedisClient(settings, Probe(Keys()))
hub = Hub(redis, settings)
store = ChatStore(redis, settings)

Outbox = asyncio.Queue[str]


class Chat:
    """Who is in a chat, and what is published in it."""

    def __init__(self) -> None:
        self.outboxes: set[Outbox] = set()

    def publication(self, payload: bytes) -> None:
        """Pass an entry of the log on to everybody."""
        frame = (Entry.parse(payload).frame(V1) or b"").decode()
        for outbox in self.outboxes:
            outbox.put_nowait(frame)

    def missed(self) -> None:
        """Do nothing: the benchmark's verifier would notice."""


KEYS = Keys()
chats: dict[str, Chat] = {}


async def chat(socket: WebSocket) -> None:
    """Carry a chat for one of its participants."""
    chat_id: str = socket.path_params["chat_id"]
    await socket.accept()
    outbox: Outbox = asyncio.Queue()
    here = await enter(chat_id, outbox)
    writer = asyncio.create_task(write(socket, outbox))
    says: Writer | None = None
    try:
        while True:
            match V1.decode((await socket.receive_text()).encode()):
                case Join(args):
                    joined, own_id = await join(chat_id, args)
                    outbox.put_nowait(joined)
                    says = store.writer(chat_id, secrets.token_hex(8), own_id)
                case NewChatMessage(args) if says:
                    says.append(args.content, _stored)
    except WebSocketDisconnect:
        pass
    finally:
        writer.cancel()
        here.outboxes.discard(outbox)
        if not here.outboxes:
            del chats[chat_id]
            hub.unsubscribe(KEYS.chat(chat_id).live)


async def enter(chat_id: str, outbox: Outbox) -> Chat:
    """Listen to the chat."""
    channel = KEYS.chat(chat_id).live
    here = chats.get(chat_id)
    if here is None:
        here = chats[chat_id] = Chat()
        hub.subscribe(channel, here, sharded=True)
    here.outboxes.add(outbox)
    await hub.confirmed(channel)
    return here


async def join(chat_id: str, args: UserJoin | SupportJoin) -> tuple[str, str]:
    """Open the chat if it is the User, else note the Support, who may not write otherwise.

    Returns:
        `Joined`, and the participant's own id.
    """
    if isinstance(args, UserJoin):
        await store.open(chat_id, user_id=args.user_id, username="Nika")
        return encode(Joined(UserJoined(args.user_id))).decode(), args.user_id
    support_id = secrets.token_hex(16)
    await redis.run("HSET", KEYS.chat(chat_id).meta, "supportId", support_id)
    joined = encode(Joined(SupportJoined(args.user_id, support_id, args.support_user_name or "")))
    return joined.decode(), support_id


def _stored(reply: bytes | Exception) -> None:
    if error := append_error(reply):
        raise error


async def write(socket: WebSocket, outbox: Outbox) -> None:
    """Send what is put into the outbox."""
    while True:
        await socket.send_text(await outbox.get())


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[None]:
    """Listen to Redis while the app runs."""
    redis.start()
    yield
    await redis.close()


app = Starlette(routes=[WebSocketRoute("/chat/{chat_id}", chat)], lifespan=lifespan)

if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ["PORT"]), log_level="warning")
