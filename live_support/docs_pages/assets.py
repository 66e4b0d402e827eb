"""Assets: serves the files of the docs pages, from memory and in small pieces.

Nothing else serves files. A router of the web framework would read a file in pieces of 1 MiB for each request, so a
client that does not read its answer would cost 2 MiB; and it searches the disk for any name that is requested.
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
    """Wraps an ASGI application, and serves the files of some folders.

    A file has exactly one address. Any other spelling of it, as with a second slash or one at the end, is left to the
    application, which refuses it.

    Args:
        app: gets every other request.
        folders: by the path that they are served under. Only the files that are in them now are served.
    """

    def __init__(self, app: App, folders: Mapping[str, Path]) -> None:
        self._app = app
        self._files = {
            f"{prefix}/{file.relative_to(folder).as_posix()}".encode(): file
            for prefix, folder in folders.items()
            for file in folder.rglob("*")
            if file.is_file()
        }

    async def __call__(
        self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        """Answer with a file, or call the application."""
        asked = scope["type"] == "http" and scope["method"] in ("GET", "HEAD")
        file = self._files.get(scope["raw_path"]) if asked else None
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
        if scope["method"] == "GET":
            # Each waits until the client has read most of the former ones.
            for start in range(0, len(content), _PIECE_BYTES):
                piece = content[start : start + _PIECE_BYTES]
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


@cache
def _content(file: Path) -> bytes:
    return file.read_bytes()
