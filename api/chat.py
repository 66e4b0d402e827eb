"""The WebSocket `/chat/{chatId}`: I/O only. `api.session` decides what a frame may do."""

import re
from typing import Any

from litestar import WebSocket, websocket
from litestar.di import NamedDependency
from litestar.exceptions import NotFoundException
from litestar.params import FromPath

from api.services import Services
from api.session import ChatSession
from live_support import subprotocol
from live_support.agents.auth import offered_tokens
from live_support.settings import Settings
from live_support.websocket.connection import Connection
from live_support.websocket.connections import Connections

PATH = "/chat/{chatId:str}"
_CHAT_ID = re.compile(r"[0-9a-f]{32}")


@websocket(PATH)
async def chat(
    socket: WebSocket[Any, Any, Any],
    chatId: FromPath[str],
    services: NamedDependency[Services],
    settings: NamedDependency[Settings],
    connections: NamedDependency[Connections],
) -> None:
    """Chat as the User or the Support of one chat."""
    if not _CHAT_ID.fullmatch(chatId):
        raise NotFoundException  # before the upgrade: refused with 403
    connection = Connection(settings, connections)
    connection.set_deadline(settings.limits.first_frame_seconds, "no Join in time")
    version = subprotocol.select(socket)
    session = ChatSession(chatId, connection, services, wire=subprotocol.wire(version), tokens=offered_tokens(socket))
    await connection.run(socket, session, subprotocol=version)
