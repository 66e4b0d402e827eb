"""The table of those who are compared, and how each is started."""

import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PEERS = Path(__file__).parent.parent / "peers"
NODE_MODULES = PEERS / "node" / "node_modules"
BUN = NODE_MODULES / ".bin" / "bun"

SETTINGS = {
    "LIVE_SUPPORT_HOST": "127.0.0.1",
    "LIVE_SUPPORT_JOIN_RATE": "100000/second",
    "LIVE_SUPPORT_CHAT_JOIN_RATE": "100000/second",
    "LIVE_SUPPORT_MESSAGE_RATE": "100000/second",
    "LIVE_SUPPORT_MAX_CONNECTIONS": "1000000",
    "LIVE_SUPPORT_CHAT_MAX_MESSAGES": "1000000000",
    "LIVE_SUPPORT_CHAT_MAX_BYTES": "1000000000000",
    "LIVE_SUPPORT_LOG_LEVEL": "warning",
}
TTL_SECONDS = "900"
"""Chats live longer than it takes to open ten thousand."""


@dataclass(frozen=True, kw_only=True)
class Peer:
    """One of those who are compared."""

    key: str
    label: str
    command: tuple[str, ...]
    registers: bool = False
    """Whether a chat must be opened by HTTP; the peers open it at the User's `Join`."""
    files_per_connection: int = 1
    """Sockets that the server holds for one client."""
    target: float | None = None
    """Ours is to cost at most this part of it."""
    missing: str | None = None
    """Why it cannot run here."""

    def environment(self, port: int, redis_url: str) -> Mapping[str, str]:
        """Where it is to listen, and where Redis is."""
        if self.key == OURS:
            return {
                **SETTINGS,
                "LIVE_SUPPORT_CHAT_PORT": str(port),
                "LIVE_SUPPORT_REDIS_URL": redis_url,
                "LIVE_SUPPORT_CHAT_TTL": TTL_SECONDS,
                "LIVE_SUPPORT_IDLE_TIMEOUT": TTL_SECONDS,
            }
        return {"PORT": str(port), "REDIS_URL": redis_url, "TTL_SECONDS": TTL_SECONDS, "NODE_ENV": "production"}


OURS = "ours"
FASTAPI = "fastapi"


def all_peers() -> dict[str, Peer]:
    """Everybody by key, ours first."""
    node = shutil.which("node")
    no_node = None if node else "node is not installed"
    no_modules = None if (NODE_MODULES / "ws").is_dir() else "its packages are not installed (`task bench:peers`)"
    no_bun = None if BUN.exists() else "npm package bun is not installed (`task bench:peers`)"
    peers = [
        Peer(
            key=OURS,
            label="Live Support",
            command=(str(Path(sys.executable).with_name("live-support")), "chat-server"),
            registers=True,
        ),
        Peer(
            key="node-best",
            label="Node, one script call a tick",
            command=(node or "node", str(PEERS / "node" / "best.mjs")),
            target=0.8,
            missing=no_node or no_modules,
        ),
        Peer(
            key="node-corked",
            label="Node, and one write a socket",
            command=(node or "node", str(PEERS / "node" / "best.mjs"), "corked"),
            missing=no_node or no_modules,
        ),
        Peer(
            key="node",
            label="Node, as usually written",
            command=(node or "node", str(PEERS / "node" / "usual.mjs")),
            target=0.45,
            missing=no_node or no_modules,
        ),
        Peer(
            key="bun",
            label="Bun, a script call a message",
            command=(str(BUN), str(PEERS / "node" / "bun.mjs")),
            missing=no_bun,
        ),
        Peer(
            key="starlette",
            label="Starlette, our Redis layer",
            command=(sys.executable, str(PEERS / "starlette_our_redis.py")),
            target=0.5,
        ),
        Peer(
            key=FASTAPI,
            label="FastAPI, plain",
            command=(sys.executable, str(PEERS / "fastapi_plain.py")),
            # Each PubSub is a connection to Redis.
            files_per_connection=2,
            target=0.1,
        ),
        Peer(
            key="floor",
            label="floor: frames only",
            command=(sys.executable, str(PEERS / "relay.py")),
        ),
    ]
    return {peer.key: peer for peer in peers}
