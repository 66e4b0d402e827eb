"""Deadlines: how long commands wait for Redis, by the loop's clock and by Redis's own."""

import math
from typing import Any

_AWAY_SECONDS = 1.0
_STAMP = b"$16\r\n%016d\r\n"


class Deadlines:
    """How long a command waits that is submitted now.

    Args:
        timeout_seconds: that a command waits while Redis answers.
    """

    def __init__(self, timeout_seconds: float) -> None:
        self.timeout_seconds = timeout_seconds
        """From now on; fewer while Redis is away."""
        self._full_timeout_seconds = timeout_seconds
        self._zero_us = -math.inf
        """Redis's clock: its microseconds at the zero of the loop's clock."""
        self.until = self.stamp(0)
        """The packed last argument of a script that is sent now: until when it may run, by Redis's clock."""

    def set_clock(self, time: Any, now: float) -> None:
        """Take Redis's reply to `TIME`.

        That it comes some moments after it was made errs on the right side: a script ends a little too early.

        Args:
            time: the reply.
            now: by the loop's clock.
        """
        self._zero_us = int(time[0]) * 1e6 + int(time[1]) - now * 1e6
        self.refresh(now)

    def set_away(self, away: bool) -> None:
        """Say whether Redis is known to be away: commands have a short timeout then."""
        self.timeout_seconds = _AWAY_SECONDS if away else self._full_timeout_seconds

    def refresh(self, now: float) -> None:
        """Bring `until` up to date.

        It is a little early until the next time: a command that Redis finds overdue for it is tried again.
        """
        self.until = self.stamp(now + self.timeout_seconds)

    def stamp(self, deadline: float) -> bytes:
        """Pack the last argument of a script: until when it may run.

        Args:
            deadline: by the loop's clock.
        """
        return _STAMP % max(0, self._zero_us + deadline * 1e6)
