"""WriteRefusals: remembers and logs that Redis answers but accepts no writes, once at the beginning and at the end.

`OOM` (maxmemory is reached), `MISCONF` (it cannot write to its disk), `NOREPLICAS` (too few replicas are connected),
`READONLY` (it is a replica, as after a failover). Reading still works meanwhile, so a command that succeeds does not
prove the end. The write probe that `live_support.redis.health` sends does. Other reasons why Redis is unusable, such as
a missing right, are remembered and logged here likewise.
"""

import math
import re
from collections.abc import Iterable

import structlog

from live_support.redis.errors import refusal_code

log = structlog.get_logger()


class WriteRefusals:
    """Whether Redis accepts writes, and can be used, as far as this process knows."""

    def __init__(self) -> None:
        self.code: str | None = None
        """Why it accepts no writes; None while it does."""
        self.since = math.inf
        """Since when, by the loop's clock."""
        self._unusable_because: str | None = None

    @property
    def unwell(self) -> bool:
        """Whether a problem was logged, so that its end must be logged, too."""
        return bool(self.code or self._unusable_because)

    def note(self, error: str, now: float) -> str | None:
        """Note an error; return its code if it was a refusal of writes."""
        code = refusal_code(error)
        if code is not None:
            if code != self.code:
                log.error("redis_refuses_writes", reason=code)
            if self.code is None:
                self.since = now
            self.code = code
        return code

    def judge(self, reason: str | None, errors: Iterable[str], now: float) -> None:
        """Note the result of a probe.

        Args:
            reason: why Redis cannot be used, or None.
            errors: those among its replies.
            now: by the loop's clock.
        """
        refused = [self.note(error, now) for error in errors]
        if any(refused):
            return
        if reason is None:
            self._end()
        if reason != self._unusable_because:
            if reason is None:
                log.warning("redis_usable")
            else:
                log.error("redis_unusable", reason=reason)
            self._unusable_because = reason

    def _end(self) -> None:
        if self.code is not None:
            log.warning("redis_takes_writes", after=self.code)
        self.code = None
        self.since = math.inf


def eviction_policy(memory: str | bytes) -> str | None:
    """Read from `INFO memory` the policy by which Redis evicts keys; None if it evicts none, or does not say."""
    text = memory if isinstance(memory, str) else memory.decode()
    found = re.search(r"^maxmemory_policy:(\S+)", text, re.MULTILINE)
    return found[1] if found and found[1] != "noeviction" else None
