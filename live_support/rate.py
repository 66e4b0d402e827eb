"""Rates: how they are written, the bucket of one connection, and those of client addresses in this process."""

import re
from typing import ClassVar

from live_support.addresses import network


class Rate:
    """A number per period, as in "20/second": a bucket of `count` units, refilled evenly over the period."""

    _PERIODS: ClassVar = {"second": 1.0, "minute": 60.0, "hour": 3600.0}
    _FORM: ClassVar = re.compile(r"([1-9][0-9]{0,8})/(second|minute|hour)")

    def __init__(self, text: str) -> None:
        match = self._FORM.fullmatch(text)
        if match is None:
            raise ValueError('Expected "n/second", "n/minute" or "n/hour"')
        self.count = int(match[1])
        self.interval_seconds = self._PERIODS[match[2]] / self.count
        """How long one unit takes to be refilled."""
        self._text = text

    def __repr__(self) -> str:
        """Return the text of the setting."""
        return self._text


class Bucket:
    """Holds `rate.count` units, refilled evenly (generic cell rate algorithm: one number of state)."""

    __slots__ = ("_full_at", "rate")

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        self._full_at = 0.0

    def take(self, now: float) -> float:
        """Take one unit; return 0, or the seconds until the next try."""
        full_at, interval = self._full_at, self.rate.interval_seconds
        full_at = (full_at if full_at > now else now) + interval
        early = full_at - now - interval * self.rate.count
        # 0.1 us of tolerance: the sum of many intervals is not exact.
        if early > 1e-7:
            return early
        self._full_at = full_at
        return 0

    def is_full(self, now: float) -> bool:
        """Whether the bucket is full, so that it need not be remembered."""
        return self._full_at <= now


class Buckets:
    """A bucket for each client address, in this process.

    Args:
        rate: of one address.
        max_addresses: addresses that are remembered; beyond these, full buckets are forgotten first, then the oldest.
    """

    def __init__(self, rate: Rate, max_addresses: int = 10_000) -> None:
        self._rate = rate
        self._max_addresses = max_addresses
        self._buckets: dict[str, Bucket] = {}

    def __len__(self) -> int:
        """Return how many addresses are remembered."""
        return len(self._buckets)

    def take(self, address: str, now: float) -> float:
        """Take one unit of an address; return 0, or the seconds until the next try."""
        key = network(address)
        bucket = self._buckets.get(key)
        if bucket is None:
            if len(self._buckets) >= self._max_addresses:
                self._forget(now)
            bucket = self._buckets[key] = Bucket(self._rate)
        return bucket.take(now)

    def _forget(self, now: float) -> None:
        left = [(key, bucket) for key, bucket in self._buckets.items() if not bucket.is_full(now)]
        # This frees a tenth of the table, so it is not done for each new address.
        self._buckets = dict(left[-(self._max_addresses * 9 // 10) :])
