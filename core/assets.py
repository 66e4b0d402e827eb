"""Assets: the files of the docs pages, from memory and in small pieces.

The web framework reads a file in pieces of a megabyte for each request, so a peer that does not read its answer would
cost two; and what it logs when such a peer is cut off would fill the disk.
"""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from functools import cache
from mimetypes import guess_type
from pathlib import Path
from typing import Any, Final

_PIECE_BYTES: Final = 64 * 1024

Message = MutableMapping[str, Any]
App = Callable[[Any, Any, Any], Awaitable[None]]


class Assets:
    """Wraps an ASGI application, and answers for the files of some folders.

    Args:
        app: gets every other request.
        folders: by the path that they are served under. What is in them now is served, and nothing else.
    """

    def __init__(self, app: App, folders: Mapping[str, Path]) -> None:
        self._app = app
        self._files = {
            f"{prefix}/{file.relative_to(folder).as_posix()}": file
            for prefix, folder in folders.items()
            for file in folder.rglob("*")
            if file.is_file()
        }

    async def __call__(
        self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        """Answer with a file, or pass on."""
        file = self._files.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "GET" else None
        if file is None:
            await self._app(scope, receive, send)
            return
        content = _content(file)
        media_type = guess_type(file.name)[0] or "application/octet-stream"
        headers = [
            (b"content-type", media_type.encode()),
            (b"content-length", str(len(content)).encode()),
            (b"cache-control", b"public, max-age=3600"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        # Each waits until the peer has taken most of what went before.
        for start in range(0, len(content), _PIECE_BYTES):
            await send({"type": "http.response.body", "body": content[start : start + _PIECE_BYTES], "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


@cache
def _content(file: Path) -> bytes:
    return file.read_bytes()
