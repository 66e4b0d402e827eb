"""Latencies as HDR histograms, which can be merged, and what a worker reports every second."""

import time
from collections import Counter
from dataclasses import dataclass, field

from hdrh.histogram import HdrHistogram

HIGHEST_US = 120_000_000
PERCENTILES = (50.0, 90.0, 99.0, 99.9)


@dataclass(frozen=True, kw_only=True)
class Latency:
    """A histogram in brief, in milliseconds."""

    count: int
    p50: float
    p90: float
    p99: float
    p999: float
    max: float


class Histogram:
    """Latencies from 1 us to two minutes with three significant digits; longer ones count as two minutes."""

    def __init__(self) -> None:
        self._hdr = HdrHistogram(1, HIGHEST_US, 3)

    def record(self, nanoseconds: int) -> None:
        """Add a latency."""
        self._hdr.record_value(min(max(nanoseconds // 1000, 1), HIGHEST_US))

    def encode(self) -> bytes:
        """Return it in HDR's compressed form."""
        encoded: bytes = self._hdr.encode()
        return encoded

    def add(self, encoded: bytes) -> None:
        """Add another histogram."""
        self._hdr.decode_and_add(encoded)

    def brief(self) -> Latency:
        """Return the percentiles that are shown."""
        values = self._hdr.get_percentile_to_value_dict(PERCENTILES)
        p50, p90, p99, p999 = (round(values[percentile] / 1000, 3) for percentile in PERCENTILES)
        count, longest = self._hdr.get_total_count(), self._hdr.get_max_value() / 1000
        return Latency(count=count, p50=p50, p90=p90, p99=p99, p999=p999, max=round(longest, 3))


@dataclass(frozen=True, kw_only=True)
class Interval:
    """What happened in one worker within one second."""

    second: int
    """Since the beginning of the run."""
    counts: Counter[str]
    errors: Counter[str]
    histograms: dict[str, bytes]
    chats: int
    """How many there are at the end of the second."""
    cpu: float
    """Share of a core."""


@dataclass(kw_only=True)
class Recorder:
    """Collects one second after the other."""

    counts: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    chats: int = 0
    _histograms: dict[str, Histogram] = field(default_factory=dict)
    _since: float = field(default_factory=time.monotonic)
    _cpu: float = field(default_factory=time.process_time)

    def record(self, kind: str, nanoseconds: int) -> None:
        """Add a latency of a kind."""
        if (histogram := self._histograms.get(kind)) is None:
            histogram = self._histograms[kind] = Histogram()
        histogram.record(nanoseconds)

    def take(self, second: int) -> Interval:
        """Return what was collected, and begin anew."""
        now, cpu = time.monotonic(), time.process_time()
        interval = Interval(
            second=second,
            counts=self.counts,
            errors=self.errors,
            histograms={kind: histogram.encode() for kind, histogram in self._histograms.items()},
            chats=self.chats,
            cpu=(cpu - self._cpu) / max(now - self._since, 1e-3),
        )
        self.counts, self.errors, self._histograms = Counter(), Counter(), {}
        self._since, self._cpu = now, cpu
        return interval
