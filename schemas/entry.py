"""Entry: one entry of a chat's log, as Redis stores and publishes it.

Processes of two releases share one log during a rolling upgrade. So the format has room:

- A process skips an entry of an unknown kind: no client is sent it, and the next one follows it without a gap.
- The body of a kind never changes: processes of an older release send it as it is.
- A later release may add further fields to the stream's entry, and further lines to the publication. Both are ignored
  here.
"""

from typing import TYPE_CHECKING, Final, Self

from msgspec import Struct

if TYPE_CHECKING:
    from schemas.wire import Wire

JOINED: Final = b"Joined"
"""The body is the args of `Joined`."""
CHAT_MESSAGE: Final = b"ChatMessage"
"""The body is the args of `ChatMessage`."""
REPLACED: Final = b"Replaced"
"""The body names a connection that must close. No message to clients."""


class Entry(Struct, gc=False):
    """One entry of a chat's log.

    Args:
        offset: its position in the log, counted from 1 without a gap.
        kind: one of the kinds above, or one of a later release.
        body: depends on the kind.
    """

    offset: int
    kind: bytes
    body: bytes
    _frames: dict["Wire", bytes | None] | None = None

    @classmethod
    def parse(cls, publication: bytes) -> Self:
        """Read an entry from its publication.

        Raises:
            ValueError: the payload is not an entry.
        """
        # No body has a line end: they are JSON on one line, or an id.
        offset, kind, body = publication.partition(b"\n")[0].split(b" ", 2)
        return cls(int(offset), kind, body)

    def frame(self, wire: "Wire") -> bytes | None:
        """Encode the message for clients of a version, only once; None where they are sent nothing."""
        frames = self._frames
        if frames is None:
            frame = wire.entry(self)
            self._frames = {wire: frame}
        elif wire in frames:
            frame = frames[wire]
        else:
            frame = frames[wire] = wire.entry(self)
        return frame
