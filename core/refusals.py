"""Refusals: Redis answers, but takes no writes. Remembered and logged once, at the beginning and at the end.

`OOM` (maxmemory is reached), `MISCONF` (it cannot write to its disk), `NOREPLICAS` (too few replicas are connected),
`READONLY` (it is a replica, as after a failover). Reading goes on meanwhile, so a command that succeeds is no proof
of the end. A write of nothing is: `SETRANGE` of an empty string makes no key and replicates nothing, but Redis refuses
it whenever it refuses writes.
"""

import re

import structlog
from redis.exceptions import OutOfMemoryError, ReadOnlyError

log = structlog.get_logger()

_PROBE_SECONDS = 1.0
# redis-py cuts the code off where it has a class for it. Within a script older servers put words before it.
_CODES = {OutOfMemoryError: "OOM", ReadOnlyError: "READONLY"}
_CODE = re.compile(r"(?:ERR Error .*-)?(OOM|MISCONF|NOREPLICAS|READONLY)\b")


def refusal_code(error: Exception) -> str | None:
    """Say why Redis takes no writes, if that is what the error means."""
    for kind, code in _CODES.items():
        if isinstance(error, kind):
            return code
    found = _CODE.match(str(error))
    return found[1] if found else None


class Refusals:
    """Whether Redis takes writes, as far as this process knows."""

    def __init__(self) -> None:
        self.code: str | None = None
        """Why it takes none; None while it does."""
        self._next_probe = 0.0

    def note(self, error: Exception) -> bool:
        """Hear of an error; returns whether it was a refusal."""
        code = refusal_code(error)
        if code is None:
            return False
        if code != self.code:
            log.error("redis_refuses_writes", reason=code)
        self.code = code
        return True

    def end(self) -> None:
        """Hear that a write has succeeded."""
        if self.code is not None:
            log.warning("redis_takes_writes", after=self.code)
        self.code = None

    def probe_is_due(self, now: float) -> bool:
        """Whether to try a write of nothing: while writes are refused, once a second at the most."""
        if self.code is None or now < self._next_probe:
            return False
        self._next_probe = now + _PROBE_SECONDS
        return True
