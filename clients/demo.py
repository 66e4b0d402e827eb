"""Plays a whole conversation against the running services, and prints each frame as it goes.

task up      # in one terminal
task demo    # in another
"""

import argparse
import asyncio
import json
import os
import sys
import urllib.error
import urllib.request
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

Frame = dict[str, Any]


def main() -> int:
    """Run the command."""
    arguments = argparse.ArgumentParser(description="Play a whole conversation and print each frame.")
    host = os.environ.get("LIVE_SUPPORT_HOST", "127.0.0.1")
    chat_port = os.environ.get("LIVE_SUPPORT_CHAT_PORT", "9000")
    subscriber_port = os.environ.get("LIVE_SUPPORT_SUBSCRIBER_PORT", "9001")
    arguments.add_argument("--chat-server", default=f"{host}:{chat_port}", metavar="HOST:PORT")
    arguments.add_argument("--subscriber", default=f"{host}:{subscriber_port}", metavar="HOST:PORT")
    given = arguments.parse_args()
    try:
        asyncio.run(play(given.chat_server, given.subscriber))
    except OSError as error:
        print(f"The services do not answer ({error}). Start them with: task up", file=sys.stderr)
        return 1
    return 0


async def play(chat_server: str, subscriber: str) -> None:
    """Hold a conversation in eight steps."""
    step("1) Nika registers")
    nika = await asyncio.to_thread(get_json, f"http://{chat_server}/user/join/Nika")
    show("<-", "Nika", nika)
    ids: Frame = {"userId": nika["userId"], "username": nika["username"]}
    chat = f"ws://{chat_server}/chat/{nika['chatId']}"

    async with open_socket(chat) as user, open_socket(f"ws://{subscriber}/joins") as joins:
        step("2) Nika joins her chat")
        await send("Nika", user, {"type": "Join", "args": {**ids, "from": "User"}})
        await receive("Nika", user)

        step("3) Vika sees who waits, and takes Nika")
        while (await receive("Vika", joins))["userId"] != nika["userId"]:
            pass
        await send("Vika", joins, nika["userId"])

        async with open_socket(chat) as support:
            step("4) Vika joins the chat; Nika hears of it")
            await send("Vika", support, {"type": "Join", "args": {**ids, "supportUserName": "Vika", "from": "Support"}})
            joined = await receive("Vika", support)
            await receive("Nika", user)
            ids["supportId"] = joined["args"]["supportId"]
            told = {"userId": ids["userId"], "supportId": ids["supportId"]}

            step("5) Nika asks")
            question = "Hey, I want to transfer money, how can I do it via internet bank?"
            await send("Nika", user, {"type": "ChatMessage", "args": {**told, "content": question, "from": "User"}})
            await asyncio.gather(receive("Nika", user), receive("Vika", support))

            step("6) Vika answers")
            answer = {**told, "supportUserName": "Vika", "content": "Hello, please navigate to Transfer :)"}
            await send("Vika", support, {"type": "ChatMessage", "args": {**answer, "from": "Support"}})
            await asyncio.gather(receive("Nika", user), receive("Vika", support))

    step("7) Nika refreshes her browser")
    async with open_socket(chat) as user:
        await send("Nika", user, {"type": "Join", "args": {**ids, "from": "User"}})
        await receive("Nika", user)

    step("8) Vika refreshes hers")
    async with open_socket(chat) as support:
        await send("Vika", support, {"type": "Join", "args": {**ids, "supportUserName": "Vika", "from": "Support"}})
        await receive("Vika", support)


def open_socket(url: str) -> connect:
    """Connect without the environment's proxies."""
    return connect(url, proxy=None)


def get_json(url: str) -> Frame:
    """Send a GET request without the environment's proxies."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=10) as response:
        answer: Frame = json.load(response)
        return answer


async def send(name: str, socket: ClientConnection, frame: Frame | str) -> None:
    """Send and print a frame."""
    show("->", name, frame)
    await socket.send(frame if isinstance(frame, str) else json.dumps(frame))


async def receive(name: str, socket: ClientConnection) -> Frame:
    """Wait for a frame and print it."""
    async with asyncio.timeout(10):
        frame: Frame = json.loads(await socket.recv())
    show("<-", name, frame)
    return frame


def step(title: str) -> None:
    """Print a headline."""
    print(f"\n{title}")


def show(arrow: str, name: str, frame: Frame | str) -> None:
    """Print a frame on one line."""
    print(f"  {name} {arrow} {frame if isinstance(frame, str) else json.dumps(frame, ensure_ascii=False)}")


if __name__ == "__main__":
    sys.exit(main())
