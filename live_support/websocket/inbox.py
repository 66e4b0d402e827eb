"""Inbox: keeps one client's frames in order, and counts those in flight. Knows neither the loop nor a transport."""

from collections import deque


class Inbox:
    """Releases frames in order, unless one holds up the rest or too many are in flight.

    Args:
        max_in_flight: frames without an answer, beyond which later ones wait.
    """

    __slots__ = ("_frames", "_held", "_max_in_flight", "in_flight")

    def __init__(self, max_in_flight: int) -> None:
        self._max_in_flight = max_in_flight
        self.in_flight = 0
        """Frames that were handled, and whose answer comes later."""
        self._held = False
        self._frames: deque[bytes] | None = None  # most connections never have a frame waiting

    @property
    def blocked(self) -> bool:
        """Whether frames must wait."""
        return self._held or self.in_flight >= self._max_in_flight

    @property
    def working(self) -> bool:
        """Whether frames are in flight or waiting."""
        return self._held or self.in_flight > 0 or bool(self._frames)

    def accept(self, frame: bytes) -> bool:
        """Return whether a frame can be handled now; otherwise it waits for `next_frame`."""
        if self._frames is None:
            if not self._held and self.in_flight < self._max_in_flight:
                return True
            self._frames = deque()
        self._frames.append(frame)
        return False

    def next_frame(self) -> bytes | None:
        """Take the next waiting frame; None if there is none or it must wait."""
        if self._frames is None or self.blocked:
            return None
        if self._frames:
            return self._frames.popleft()
        self._frames = None
        return None

    def hold(self) -> None:
        """Let all later frames wait until `release`."""
        self._held = True

    def release(self) -> None:
        """Let the waiting frames go on after `hold`."""
        self._held = False

    def finish(self) -> bool:
        """Count one frame less in flight; return whether waiting frames may go on because of that."""
        self.in_flight -= 1
        return self.in_flight == self._max_in_flight - 1

    def clear(self) -> None:
        """Drop the waiting frames."""
        self._frames = None
