"""Outbox: queues the frames to one client, in order and within bounds. Knows neither the loop nor a transport."""

from live_support.limits import Limits

MAX_WRITE_BYTES = 16 * 1024
"""Larger writes are split, so that the transport can report in between that the client reads no more."""


class Outbox:
    """The frames that have not been passed to the transport.

    Args:
        limits: bounds of frames and bytes.
    """

    __slots__ = ("_frames", "_limits", "_size", "in_parts", "writable")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._frames: list[bytes] | None = None  # most connections have no frame waiting most of the time
        self._size = 0  # counts only while there are frames
        self.writable = False
        """Whether the transport accepts frames."""
        self.in_parts = False
        """Whether a message is sent in parts and not complete, so that every other frame must wait."""

    def __len__(self) -> int:
        """Return how many frames are queued."""
        return len(self._frames or ())

    def add(self, frame: bytes) -> int:
        """Add a frame; return how many are queued, or 0 if the outbox is full and did not accept it."""
        frames = self._frames
        if frames is None:
            self._frames = [frame]
            self._size = len(frame)
            return 1
        if len(frames) >= self._limits.outbox_frames or self._size > self._limits.outbox_bytes:
            return 0
        frames.append(frame)
        self._size += len(frame)
        return len(frames)

    def refill(self, frames: list[bytes]) -> None:
        """Fill the empty outbox with frames, regardless of its bounds."""
        self._frames = frames
        self._size = sum(map(len, frames))

    def next_write(self) -> list[bytes] | None:
        """Take the frames of one write: up to `MAX_WRITE_BYTES`, or a larger frame alone. None if none may be sent."""
        frames = self._frames
        if frames is None or not self.writable or self.in_parts:
            return None
        if self._size <= MAX_WRITE_BYTES:
            self._frames = None
            return frames
        count, size = 1, len(frames[0])
        while count < len(frames) and size + len(frames[count]) <= MAX_WRITE_BYTES:
            size += len(frames[count])
            count += 1
        self._frames = frames[count:] or None
        self._size -= size
        return frames[:count]

    def start_part(self, *, last: bool) -> bool:
        """Note that a part of a message is sent; return whether it is the first one."""
        first, self.in_parts = not self.in_parts, not last
        return first

    def clear(self) -> None:
        """Drop the queued frames."""
        self._frames = None
