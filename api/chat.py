"""The WebSocket `/chat/{chatId}`: I/O only. What a frame may do is decided by `api.session`."""

import asyncio
import re
from typing import Any

from litestar import WebSocket, websocket
from litestar.di import NamedDependency
from litestar.exceptions import NotFoundException
from litestar.params import FromPath

from api.session import ChatSession, Services
from core.connection import Connection
from core.drain import Drain
from core.settings import Settings
from schemas.errors import CloseCode

_CHAT_ID = re.compile(r"[0-9a-f]{32}")


@websocket("/chat/{chatId:str}")
async def chat(
    socket: WebSocket[Any, Any, Any],
    chatId: FromPath[str],
    services: NamedDependency[Services],
    settings: NamedDependency[Settings],
    drain: NamedDependency[Drain],
) -> None:
    """Chat as the User or the Support of one chat."""
    if not _CHAT_ID.fullmatch(chatId):
        raise NotFoundException  # before the upgrade: refused with 403
    connection = Connection(socket, settings, idle_grace=lambda: session.idle_grace())
    session = ChatSession(chatId, connection, services)

    def require_join() -> None:
        if not session.joined:
            connection.close(CloseCode.IDLE)

    deadline = asyncio.get_running_loop().call_later(settings.limits.first_frame_seconds, require_join)
    try:
        await drain.run(connection, session.receive)
    finally:
        deadline.cancel()
        session.leave()
