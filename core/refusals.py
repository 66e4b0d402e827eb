"""Refusals: Redis answers, but takes no writes. Remembered and logged once, at the beginning and at the end.

`OOM` (maxmemory is reached), `MISCONF` (it cannot write to its disk), `NOREPLICAS` (too few replicas are connected),
`READONLY` (it is a replica, as after a failover). Reading goes on meanwhile, so a command that succeeds is no proof
of the end. A write of nothing is: `SETRANGE` of an empty string makes no key and replicates nothing, but Redis refuses
it whenever it refuses writes.
"""

import math
import re

import structlog

log = structlog.get_logger()


def write_of_nothing(key: str) -> tuple[str, str, int, str]:
    """Make the command that asks whether Redis takes writes; the key stays away."""
    return "SETRANGE", key, 0, ""


def error_code(error: object) -> str:
    """Return the word with which Redis begins an error: the rest may hold names and keys."""
    return str(error).partition(" ")[0]


# Within a script older servers put words before the code.
_CODE = re.compile(r"(?:ERR Error .*-)?(OOM|MISCONF|NOREPLICAS|READONLY)\b")


def refusal_code(error: str) -> str | None:
    """Say why Redis takes no writes, if that is what an error means."""
    found = _CODE.match(error)
    return found[1] if found else None


class Refusals:
    """Whether Redis takes writes, as far as this process knows."""

    def __init__(self) -> None:
        self.code: str | None = None
        """Why it takes none; None while it does."""
        self.since = math.inf
        """Since when, by the loop's clock."""

    def note(self, error: str, now: float) -> str | None:
        """Hear of an error; returns the code if it was a refusal."""
        code = refusal_code(error)
        if code is not None:
            if code != self.code:
                log.error("redis_refuses_writes", reason=code)
            if self.code is None:
                self.since = now
            self.code = code
        return code

    def end(self) -> None:
        """Hear that a write has succeeded."""
        if self.code is not None:
            log.warning("redis_takes_writes", after=self.code)
        self.code = None
        self.since = math.inf
