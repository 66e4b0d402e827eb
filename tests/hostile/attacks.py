"""Attacks on a ChatServer, by raw sockets: `python -m tests.hostile.attacks NAME PORT [USER ...]` prints what became of
them. A user is what registration gave, as JSON.

They run in a process of their own, so that an honest client's latency is not the attacker's. The output is one JSON
object: `cut_after`, how many seconds each hostile connection lasted (null: it still stood), and `told`, the codes.
"""

import json
import random
import select
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.client import HTTPConnection
from threading import Thread
from typing import Any, NamedTuple

MASK = b"\0\0\0\0"
TEXT, CONTINUATION, PING = 0x1, 0x0, 0x9
LONGEST_SECONDS = 30


def frame(opcode: int, payload: bytes, *, fin: bool = True, announced: int | None = None) -> bytes:
    """A masked frame; `announced` is the size that it lies about."""
    size = len(payload) if announced is None else announced
    first = opcode | (0x80 if fin else 0)
    if size < 126:
        head = bytes((first, 0x80 | size))
    elif size < 65536:
        head = struct.pack("!BBH", first, 0x80 | 126, size)
    else:
        head = struct.pack("!BBQ", first, 0x80 | 127, size)
    return head + MASK + payload


class Outcome(NamedTuple):
    """What became of a hostile connection."""

    cut_after: float | None
    told: int | None


class Hostile:
    """A WebSocket whose other side means harm."""

    def __init__(self, port: int, path: str, *, receive_buffer: int | None = None) -> None:
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(LONGEST_SECONDS)
        self.socket.connect(("127.0.0.1", port))
        self.socket.sendall(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            answer += self.socket.recv(1)
        assert answer.startswith(b"HTTP/1.1 101"), answer
        self.began = time.monotonic()

    def send_json(self, message: Any) -> None:
        """Send a message as a client of ours would."""
        self.socket.sendall(frame(TEXT, json.dumps(message).encode()))

    def flood(self, chunks: Iterator[bytes], *, reads: bool = False) -> Outcome:
        """Send until the server cuts the connection, but for 3 seconds at the most."""
        received = bytearray()
        if reads:
            Thread(target=self._read, args=(received,), daemon=True).start()
        self.socket.settimeout(FLOOD_SECONDS)
        with suppress(OSError):
            for chunk in chunks:
                if time.monotonic() - self.began > FLOOD_SECONDS:
                    break
                self.socket.sendall(chunk)
        if reads:
            return Outcome(None, close_code(bytes(received)))
        return self.outcome()

    def _read(self, received: bytearray) -> None:
        with suppress(OSError):
            while got := self.socket.recv(65536):
                received += got

    def outcome(self) -> Outcome:
        """Wait, without reading, until the connection is gone; then look what the last words were."""
        poll = select.poll()
        poll.register(self.socket, select.POLLRDHUP)
        gone = poll.poll(max(0, LONGEST_SECONDS - (time.monotonic() - self.began)) * 1000)
        lasted = time.monotonic() - self.began
        received = b""
        self.socket.settimeout(0.2)
        with suppress(OSError):
            while gone and (got := self.socket.recv(65536)):
                received += got
        self.socket.close()
        return Outcome(round(lasted, 2) if gone else None, close_code(received))


FLOOD_SECONDS = 3.0


def close_code(received: bytes) -> int | None:
    """The code of the close frame at the end, if there is one."""
    while len(received) >= 2:
        size, skip = received[1] & 0x7F, 2
        if size == 126:
            size, skip = struct.unpack_from("!H", received, 2)[0], 4
        elif size == 127:
            size, skip = struct.unpack_from("!Q", received, 2)[0], 10
        if received[0] & 0xF == 8 and size >= 2:
            code: int = struct.unpack_from("!H", received, skip)[0]
            return code
        received = received[skip + size :]
    return None


def register(port: int) -> dict[str, str]:
    """A user of our own."""
    connection = HTTPConnection("127.0.0.1", port)
    connection.request("POST", "/users", b'{"username":"Mallory"}', {"Content-Type": "application/json"})
    user: dict[str, str] = json.loads(connection.getresponse().read())
    connection.close()
    return user


def join(user: dict[str, str], sender: str = "User") -> dict[str, Any]:
    """The `Join` of a user, or of a Support in the user's chat."""
    name = {"supportUserName": "Eve"} if sender == "Support" else {"token": user.get("token")}
    return {"type": "Join", "args": {"userId": user["userId"], "username": "Mallory", "from": sender, **name}}


def in_chat(port: int) -> Hostile:
    """A hostile connection that has joined."""
    user = register(port)
    hostile = Hostile(port, f"/chat/{user['chatId']}")
    hostile.send_json(join(user))
    return hostile


def together(attack: Callable[[], Outcome], count: int) -> list[Outcome]:
    """Attack with so many connections at once."""
    outcomes: list[Outcome] = []
    threads = [Thread(target=lambda: outcomes.append(attack()), daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


def again(chunk: bytes, first: bytes = b"") -> Iterator[bytes]:
    """The same for ever."""
    yield first
    while True:
        yield chunk


# The attacks.


def none(port: int) -> list[Outcome]:  # noqa: ARG001
    """What to compare with."""
    time.sleep(3)
    return []


def ping_flood(port: int) -> list[Outcome]:
    """Pings as large as allowed, as fast as they go, and no answer is read."""
    return together(lambda: in_chat(port).flood(again(frame(PING, b"x" * 125) * 100)), 5)


def empty_fragments(port: int) -> list[Outcome]:
    """A message of endless empty fragments."""
    rest = frame(CONTINUATION, b"", fin=False) * 1000
    return together(lambda: in_chat(port).flood(again(rest, frame(TEXT, b"", fin=False))), 5)


def tiny_fragments(port: int) -> list[Outcome]:
    """A message of endless fragments of one byte."""
    rest = frame(CONTINUATION, b"x", fin=False) * 1000
    return together(lambda: in_chat(port).flood(again(rest, frame(TEXT, b"x", fin=False))), 5)


def small_frames(port: int) -> list[Outcome]:
    """100,000 well-formed frames at once, and every answer is read."""
    one = frame(TEXT, b'{"type":"x"}')
    return together(lambda: in_chat(port).flood(iter([one * 1000] * 100), reads=True), 5)


def small_frames_unread(port: int) -> list[Outcome]:
    """The same, and no answer is read."""
    one = frame(TEXT, b'{"type":"x"}')
    return together(lambda: in_chat(port).flood(iter([one * 1000] * 100)), 5)


def oversize(port: int) -> list[Outcome]:
    """Messages larger than may be: announced, and grown by fragments."""
    part = b"x" * 60_000
    announced = frame(TEXT, part, announced=2**40)
    more, first = frame(CONTINUATION, part, fin=False), frame(TEXT, part, fin=False)
    return [
        *together(lambda: in_chat(port).flood(again(part, announced)), 3),
        *together(lambda: in_chat(port).flood(again(more, first)), 3),
    ]


def unfinished_close(port: int) -> list[Outcome]:
    """Make the server close, and never answer."""

    def attack() -> Outcome:
        hostile = in_chat(port)
        for _ in range(3):
            hostile.socket.sendall(frame(TEXT, b"no JSON"))
        return hostile.outcome()

    return together(attack, 20)


def slow_readers(port: int) -> list[Outcome]:
    """100 tabs of 25 users read nothing, while the Supports write ten long messages a second."""
    readers, supports = [], []
    for _ in range(25):
        user = register(port)
        first = Hostile(port, f"/chat/{user['chatId']}", receive_buffer=1024)
        first.send_json(join(user))
        readers.append(first)
        while select.select([first.socket], [], [], 5)[0] and b"Joined" not in first.socket.recv(4096):
            pass
        support = Hostile(port, f"/chat/{user['chatId']}")
        support.send_json(join(user, "Support"))
        said = support.socket.recv(65536)
        supports.append((support, json.loads(said[said.index(b"{") :])["args"]))
        for _ in range(3):
            tab = Hostile(port, f"/chat/{user['chatId']}", receive_buffer=1024)
            tab.send_json(join(user))
            readers.append(tab)
    done = False

    def talk() -> None:
        words = "\U0001f642" * 3990
        while not done:
            for support, own in supports:
                args = {"userId": own["userId"], "supportId": own["supportId"], "content": words, "from": "Support"}
                support.send_json({"type": "ChatMessage", "args": args})
                while select.select([support.socket], [], [], 0)[0]:
                    support.socket.recv(1 << 20)
            time.sleep(0.1 * random.uniform(0.9, 1.1))  # noqa: S311

    talking = Thread(target=talk, daemon=True)
    talking.start()
    for reader in readers:
        reader.began = time.monotonic()
    outcomes: list[Outcome] = []
    threads = [Thread(target=lambda reader=reader: outcomes.append(reader.outcome())) for reader in readers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    done = True
    talking.join()
    return outcomes


STORM_SECONDS = 6.0


def join_storm(port: int, user: dict[str, str]) -> list[Outcome]:
    """Join one chat again and again in four threads, and reset each connection at once."""
    end = time.monotonic() + STORM_SECONDS

    def storm() -> None:
        while time.monotonic() < end:
            with suppress(OSError):
                one = Hostile(port, f"/chat/{user['chatId']}")
                one.send_json(join(user))
                time.sleep(0.01)
                one.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                one.socket.close()

    threads = [Thread(target=storm) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return []


def unread_histories(port: int, *users: dict[str, str]) -> list[Outcome]:
    """Join in five tabs each, with a message between them, and read nothing."""
    tabs = []
    for user in users:
        for number in range(5):
            tab = Hostile(port, f"/chat/{user['chatId']}", receive_buffer=1024)
            tab.send_json(join(user))
            args = {"userId": user["userId"], "content": f"{number}", "from": "User"}
            tab.send_json({"type": "ChatMessage", "args": args})
            tabs.append(tab)
            time.sleep(0.2)
    time.sleep(1)
    for tab in tabs:
        tab.socket.close()
    return []


ATTACKS: dict[str, Callable[..., list[Outcome]]] = {
    attack.__name__: attack
    for attack in (
        none,
        ping_flood,
        empty_fragments,
        tiny_fragments,
        small_frames,
        small_frames_unread,
        oversize,
        unfinished_close,
        slow_readers,
        join_storm,
        unread_histories,
    )
}


def main(name: str, port: int, *users: str) -> None:
    """Attack, and print the outcomes."""
    outcomes = ATTACKS[name](port, *map(json.loads, users))
    print(json.dumps({"cut_after": [one.cut_after for one in outcomes], "told": [one.told for one in outcomes]}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
