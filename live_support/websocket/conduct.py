"""Conduct: one client's rate and malformed frames. Knows neither the loop nor a transport."""

from live_support.rate import Bucket, Rate
from schemas.errors import ChatError, InvalidFrame, RateLimited

_MAX_PAUSE_SECONDS = 1.0


class Conduct:
    """Counts a client's frames: all against a rate, and malformed ones in a row.

    Args:
        rate: of frames.
        max_malformed: in a row, before the connection is closed.
    """

    __slots__ = ("_bucket", "_max_malformed", "_refused", "malformed")

    def __init__(self, rate: Rate, max_malformed: int) -> None:
        self._bucket = Bucket(rate)
        self._refused = 0
        self._max_malformed = max_malformed
        self.malformed = 0
        """Malformed frames in a row."""

    def take(self, now: float) -> RateLimited | None:
        """Count a frame; return the error if it must be refused, else None."""
        retry_seconds = self._bucket.take(now)
        if not retry_seconds:
            self._refused = 0
            return None
        self._refused += 1
        return RateLimited("Rate limit exceeded.", retry_after_ms=round(retry_seconds * 1000) + 1)

    @property
    def pause_seconds(self) -> float:
        """How long to stop reading from a client whose frames are refused.

        That slows a flood down at its source: each refused frame is answered, and the next one is read when the bucket
        would have held all refused ones.
        """
        return min(self._refused * self._bucket.rate.interval_seconds, _MAX_PAUSE_SECONDS)

    def failed(self, error: ChatError) -> bool:
        """Count a refused frame; return whether there are too many malformed ones in a row."""
        self.malformed = self.malformed + 1 if isinstance(error, InvalidFrame) else 0
        return self.malformed >= self._max_malformed
