"""Result: what all rounds gave, as medians with their ranges, and as ratios of the same round."""

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple, Self

from chatbench.peers import OURS
from chatbench.plan import Outcome
from load_generator.latency import Histogram

KEPT_UP = 0.95
"""A rate is sustained when so much of it is delivered."""


class Range(NamedTuple):
    """A figure over the rounds."""

    median: float
    low: float
    high: float
    rounds: int

    @classmethod
    def of(cls, values: list[float]) -> Self:
        """Sum up at least one value."""
        return cls(median(values), min(values), max(values), len(values))


@dataclass
class Result:
    """All that was measured."""

    machine: dict[str, Any]
    options: dict[str, Any]
    skipped: dict[str, str] = field(default_factory=dict)
    """Who could not run, and why."""
    violations: list[str] = field(default_factory=list)
    _values: dict[str, dict[str, dict[int, float]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(dict))
    )
    """Peer, figure, round."""

    def add(self, peer: str, number: int, outcome: Outcome, where: str = "") -> None:
        """Take what a phase of a peer's turn gave; `where` is added to the names of the figures."""
        for name, value in _figures(outcome):
            self._values[peer][name + where][number] = value
        self.violations += [f"{peer}: {violation}" for violation in outcome.violations]

    @property
    def peers(self) -> list[str]:
        """Who was measured."""
        return list(self._values)

    def range(self, peer: str, figure: str) -> Range | None:
        """A figure of a peer; None where it was not measured."""
        values = self._values[peer].get(figure)
        return Range.of(list(values.values())) if values else None

    def ratio(self, peer: str, figure: str) -> Range | None:
        """Ours divided by the peer's, each within one round."""
        ours, theirs = self._values[OURS].get(figure, {}), self._values[peer].get(figure, {})
        ratios = [ours[number] / theirs[number] for number in ours if theirs.get(number)]
        return Range.of(ratios) if ratios else None

    def times(self, peer: str, figure: str, base: str) -> Range | None:
        """A peer's figure divided by another one of the same round."""
        values, bases = self._values[peer].get(figure, {}), self._values[peer].get(base, {})
        ratios = [values[number] / bases[number] for number in values if bases.get(number)]
        return Range.of(ratios) if ratios else None

    def above_idle(self, peer: str, chats: str, rate: float) -> Range | None:
        """What a message costs on top of what as many chats cost when nobody says anything, in microseconds."""
        all_us, idle = (
            self._values[peer].get(f"{name}{chats}", {}) for name in ("cpu_us@chats:", "server_share@idle:")
        )
        costs = [all_us[number] - idle[number] * 10**6 / rate for number in all_us if number in idle]
        return Range.of(costs) if costs else None

    def figures(self, prefix: str) -> list[str]:
        """The figures that begin so, in the order in which they were measured."""
        return list(dict.fromkeys(name for all_ in self._values.values() for name in all_ if name.startswith(prefix)))

    def read(self, file: Path) -> int:
        """Take what `write` has written; returns how many rounds that is."""
        written = json.loads(file.read_text("utf-8"))
        self.violations += written["violations"]
        for peer, figures in written["figures"].items():
            for name, figure in figures.items():
                self._values[peer][name].update({int(number): value for number, value in figure["values"].items()})
        numbers = (number for figures in self._values.values() for values in figures.values() for number in values)
        return max(numbers, default=-1) + 1

    def write(self, file: Path) -> None:
        """Write everything as JSON, each round's values included."""
        figures = {
            peer: {
                name: {**(self.range(peer, name) or Range(0, 0, 0, 0))._asdict(), "values": values}
                for name, values in all_.items()
            }
            for peer, all_ in self._values.items()
        }
        ratios = {peer: ratio._asdict() for peer in self.peers if (ratio := self.ratio(peer, "cpu_us"))}
        result = {
            "machine": self.machine,
            "options": self.options,
            "skipped": self.skipped,
            "violations": self.violations,
            "ours_divided_by": ratios,
            "figures": figures,
        }
        file.write_text(json.dumps(result, indent=1, default=str) + "\n", "utf-8")


def _figures(outcome: Outcome) -> Iterator[tuple[str, float]]:
    """The figures of one phase."""
    if not outcome.seconds:
        return
    busy_ns = outcome.seconds * 10**9
    yield "others_share", outcome.others_ns / busy_ns
    yield "stolen_share", outcome.stolen_ns / busy_ns
    yield "server_share", outcome.server_ns / busy_ns
    if outcome.kind == "idle":
        yield "connections", outcome.connections
        yield "kib_per_connection", outcome.rss_kib / outcome.connections
        yield "connect_us", outcome.joined_ns / 1000 / (2 * outcome.chats)
        return
    messages = max(outcome.messages, 1)
    sustained = outcome.messages >= KEPT_UP * outcome.rate * outcome.seconds
    yield "messages_per_second", outcome.messages / outcome.seconds
    yield "generator_share", outcome.generator_ns / busy_ns
    if sustained:
        # Of who falls behind, it would count work on messages that come later.
        yield "cpu_us", outcome.server_ns / 1000 / messages
    if outcome.redis_ns is not None:
        yield "redis_share", outcome.redis_ns / busy_ns
        if sustained:
            yield "redis_us", outcome.redis_ns / 1000 / messages
    if outcome.kind == "paced":
        yield "sustained", float(sustained)
        for prefix, encoded in {"": outcome.latency, "late_": outcome.lateness}.items():
            if not encoded:
                continue
            histogram = Histogram()
            histogram.add(encoded)
            brief = asdict(histogram.brief())
            for name in ("p50", "p99", "p999"):
                yield prefix + name, brief[name]
