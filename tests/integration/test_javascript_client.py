"""The JavaScript client of docs/protocol.md, as it stands there, against a real server."""

import asyncio
import json
import re
import shutil
import subprocess
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import api.app
from live_support.settings import Settings
from tests.helpers.services import DEADLINE, Service, free_port, serve
from tests.helpers.wire import User, agent_socket, support_in_chat

ROOT = Path(__file__).parent.parent.parent
NODE = shutil.which("node")
# Node has had WebSockets since 22; before, this turns them on.
COMMAND = (NODE or "node", "--experimental-websocket")


def has_websockets() -> bool:
    """Whether there is a Node that can do it."""
    probe = [*COMMAND, "-e", "process.exit(typeof WebSocket === 'function' ? 0 : 1)"]
    return NODE is not None and subprocess.run(probe, capture_output=True, check=False).returncode == 0


if not has_websockets():
    pytest.skip("there is no Node that has WebSockets", allow_module_level=True)

HARNESS = """
import { createInterface } from "node:readline";
import { openChat } from "./client.mjs";
Math.random = () => 0.01; // back at once
// Node 20 leaves out the close of a connection that never stood; browsers and later ones tell it as 1006.
globalThis.WebSocket = class extends WebSocket {
  constructor(...args) {
    super(...args);
    let closed = false;
    this.addEventListener("close", () => (closed = true));
    this.addEventListener("error", () =>
      setTimeout(() => closed || this.onclose(Object.assign(new Event("close"), { code: 1006 })), 20));
  }
};
const say = (what, value) => console.log(JSON.stringify([what, value]));
const send = await openChat(process.argv[2], process.argv[3], {
  show: (messages) => say("show", messages.map(({ from, content }) => `${from}: ${content}`)),
  tell: (text) => say("tell", text),
});
createInterface({ input: process.stdin }).on("line", send).on("close", () => process.exit());
"""


class Page:
    """What would be a page: it is told what the person types, and tells what is shown."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def next(self) -> Any:
        """Wait for what is shown or told next."""
        assert self._process.stdout is not None
        async with asyncio.timeout(DEADLINE):
            return json.loads(await self._process.stdout.readline())

    def types(self, text: str) -> None:
        """Send a text."""
        assert self._process.stdin is not None
        self._process.stdin.write(text.encode() + b"\n")


@pytest.fixture
async def pages(tmp_path: Path) -> AsyncIterator[Any]:
    """Opens pages with the client."""
    text = (ROOT / "docs" / "protocol.md").read_text("utf-8")
    (client,) = re.findall(r"^```js\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    (tmp_path / "client.mjs").write_text(client, "utf-8")
    (tmp_path / "page.mjs").write_text(HARNESS, "utf-8")
    processes = []

    async def open_page(url: str, name: str) -> Page:
        command = (*COMMAND, "--no-warnings", "page.mjs", url, name)
        process = await asyncio.create_subprocess_exec(*command, cwd=tmp_path, stdin=PIPE, stdout=PIPE)
        processes.append(process)
        return Page(process)

    yield open_page
    for process in processes:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_it_talks_and_is_back_after_a_restart(
    settings: Settings, subscriber_service: Service, pages: Any
) -> None:
    port = free_port()
    async with serve(api.app.create_service, settings, port=port) as service:
        async with agent_socket(subscriber_service) as joins:
            page = await pages(service.http, "Nika & Co.")
            request = await joins.receive()
        user = User(request["userId"], "Nika & Co.", request["chatId"])
        async with support_in_chat(service, user) as (support_id, support):
            assert await page.next() == ["tell", "Vika is here."]
            page.types("Hey")
            assert await page.next() == ["show", ["User: Hey"]]
            await support.send(user.hears("Hello!", support_id))
            assert await page.next() == ["show", ["User: Hey", "Support: Hello!"]]
            page.types(" ")
            what, text = await page.next()
            assert what == "tell"
            assert "white space" in text
    async with serve(api.app.create_service, settings, port=port):
        said = await page.next()
        if said == ["tell", "The connection is lost."]:  # when the restart takes it long
            said = await page.next()
        assert said == ["tell", "Vika is here."]
        assert await page.next() == ["show", ["User: Hey", "Support: Hello!"]]
        page.types("Still there?")
        assert await page.next() == ["show", ["User: Hey", "Support: Hello!", "User: Still there?"]]


@pytest.mark.given(chat_ttl_seconds=1)
async def test_it_says_when_the_chat_is_over(chat_server: Service, pages: Any) -> None:
    page = await pages(chat_server.http, "Nika")
    assert await page.next() == ["tell", "This chat is over."]
    assert await page.next() == ["tell", "Ended with 4510."]


async def test_it_says_why_it_cannot_register(chat_server: Service, pages: Any) -> None:
    page = await pages(chat_server.http, "x" * 65)
    what, text = await page.next()
    assert what == "tell"
    assert "64" in text
