"""Timeline: the workers' seconds put together, and the totals of the measured ones."""

from collections import Counter
from dataclasses import dataclass

from load_generator.latency import Histogram, Interval, Latency

TOTALS = {"unsent": "echo"}
"""What never got an echo, as the end came first, has waited for one."""
SECONDS_KEPT = 3600
"""More are thinned out evenly, so that a long run does not need ever more memory."""
EMPTY = Latency(count=0, p50=0, p90=0, p99=0, p999=0, max=0)


@dataclass(frozen=True, kw_only=True)
class Second:
    """One second of all workers."""

    second: int
    measured: bool
    chats: int
    counts: dict[str, int]
    latency: dict[str, Latency]
    generator_cpu: list[float]
    """Share of a core, one for each worker."""
    server_cpu: dict[str, float]


class Timeline:
    """Takes the workers' intervals in any order.

    Args:
        workers: how many there are.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._pending: dict[int, dict[int, Interval]] = {}
        self._histograms: dict[str, Histogram] = {}
        self._server_cpu: dict[str, float] = {}
        self._stride = 1
        self.seconds: list[Second] = []
        self.counts: Counter[str] = Counter()
        """Of the measured seconds."""
        self.errors: Counter[str] = Counter()
        """Of the whole run."""
        self.measured_from: int | None = None
        """The first second that counts."""
        self.seconds_to_measure = 0

    def measure(self, first: int, seconds: int) -> None:
        """Let the seconds from `first` on count; what comes after the last of them belongs to it."""
        self.measured_from = first
        self.seconds_to_measure = seconds

    def note_server(self, cpu: dict[str, float]) -> None:
        """Take the server's share of a core since the last time."""
        self._server_cpu = cpu

    def add(self, worker: int, interval: Interval) -> bool:
        """Take a worker's interval; returns whether its second is complete with this."""
        self.errors += interval.errors
        if self._is_measured(interval.second):
            self.counts += interval.counts
            for kind, encoded in interval.histograms.items():
                self._histograms.setdefault(TOTALS.get(kind, kind), Histogram()).add(encoded)
        intervals = self._pending.setdefault(interval.second, {})
        intervals[worker] = interval
        if len(intervals) < self._workers:
            return False
        self._complete(interval.second)
        return True

    def finish(self) -> None:
        """Complete the last seconds, in which some workers had come to the end."""
        for second in sorted(self._pending):
            self._complete(second)

    def total(self, kind: str) -> Latency:
        """The latencies of the measured seconds."""
        return self._histograms[kind].brief() if kind in self._histograms else EMPTY

    @property
    def measured(self) -> list[Second]:
        """The measured seconds (some of them, if there are very many), without those after the load."""
        end = (self.measured_from or 0) + self.seconds_to_measure
        return [second for second in self.seconds if second.measured and second.second < end]

    def generator_cpu(self) -> list[float]:
        """Each worker's share of a core, on average."""
        measured = self.measured
        return [_mean([second.generator_cpu[worker] for second in measured]) for worker in range(self._workers)]

    def server_cpu(self) -> dict[str, float]:
        """The same for the parts of the server, where we have started it."""
        names = {name for second in self.measured for name in second.server_cpu}
        return {name: _mean([second.server_cpu.get(name, 0) for second in self.measured]) for name in sorted(names)}

    def _is_measured(self, second: int) -> bool:
        return self.measured_from is not None and second >= self.measured_from

    def _complete(self, number: int) -> None:
        second = self._merge(number, self._pending.pop(number))
        if number % self._stride == 0:
            self.seconds.append(second)
        if len(self.seconds) > SECONDS_KEPT:
            self._stride *= 2
            self.seconds = [second for second in self.seconds if second.second % self._stride == 0]

    def _merge(self, number: int, intervals: dict[int, Interval]) -> Second:
        counts: Counter[str] = Counter()
        histograms: dict[str, Histogram] = {}
        for interval in intervals.values():
            counts += interval.counts
            counts["errors"] += interval.errors.total()
            for kind, encoded in interval.histograms.items():
                histograms.setdefault(kind, Histogram()).add(encoded)
        return Second(
            second=number,
            measured=self._is_measured(number),
            chats=sum(interval.chats for interval in intervals.values()),
            counts=dict(counts),
            latency={kind: histogram.brief() for kind, histogram in histograms.items()},
            generator_cpu=[
                round(intervals[worker].cpu, 3) if worker in intervals else 0.0 for worker in range(self._workers)
            ],
            server_cpu=self._server_cpu,
        )


def _mean(values: list[float]) -> float:
    return round(sum(values) / len(values), 3) if values else 0.0
