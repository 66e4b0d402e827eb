"""FastAPI, uvicorn and redis-py written plainly, as most would: json, a PubSub a connection, an await a command."""

import asyncio
import json
import os
import secrets
from datetime import UTC, datetime
from typing import Any

import uvicorn
from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.client import PubSub

TTL_SECONDS = int(os.environ["TTL_SECONDS"])

# The default pool raises when it is empty, which loses messages; every PubSub takes a connection for itself.
pool = BlockingConnectionPool.from_url(
    os.environ["REDIS_URL"], decode_responses=True, max_connections=20_000, timeout=None
)
redis = Redis(connection_pool=pool)
app = FastAPI()


@app.websocket("/chat/{chat_id}")
async def chat(socket: WebSocket, chat_id: str) -> None:
    """Carry a chat for one of its participants."""
    name = f"live-support-bench:{chat_id}"
    await socket.accept()
    try:
        async with redis.pubsub() as pubsub:
            await pubsub.subscribe(f"{name}:live")
            await join(socket, name, (await socket.receive_json())["args"])
            forwarding = asyncio.create_task(forward(pubsub, socket))
            try:
                while True:
                    message = await socket.receive_json()
                    await say(name, message["args"])
            finally:
                forwarding.cancel()
    except WebSocketDisconnect:
        pass


async def join(socket: WebSocket, name: str, args: dict[str, Any]) -> None:
    """Remember the chat, and tell the participant that it has joined."""
    await redis.hset(f"{name}:meta", "userId", args["userId"])
    await redis.expire(f"{name}:meta", TTL_SECONDS)
    who = {"participant": args["from"], "userId": args["userId"]}
    if args["from"] == "Support":
        who |= {"supportId": secrets.token_hex(16), "supportUserName": args["supportUserName"]}
    await socket.send_json({"type": "Joined", "args": who})


async def say(name: str, args: dict[str, Any]) -> None:
    """Store a message and publish it."""
    message = {
        "userId": args["userId"],
        "supportId": args["supportId"],
        "content": args["content"],
        "timestamp": datetime.now(UTC).isoformat(),
        "from": args["from"],
    }
    frame = json.dumps({"type": "ChatMessage", "args": message})
    if not await redis.exists(f"{name}:meta"):
        raise WebSocketDisconnect(4510)
    await redis.xadd(f"{name}:log", {"message": frame})
    await redis.expire(f"{name}:log", TTL_SECONDS)
    await redis.expire(f"{name}:meta", TTL_SECONDS)
    await redis.publish(f"{name}:live", frame)


async def forward(pubsub: PubSub, socket: WebSocket) -> None:
    """Send on what is published."""
    async for message in pubsub.listen():
        if message["type"] == "message":
            await socket.send_text(message["data"])


if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ["PORT"]), log_level="warning")
