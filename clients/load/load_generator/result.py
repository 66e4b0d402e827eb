"""Result: what a run has shown, as it is written to a file."""

import json
import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from load_generator.latency import Latency
from load_generator.timeline import Second, Timeline

BUSY = 0.85
"""A worker that uses more of a core than this may be what is measured."""
KEPT_UP = 0.99
KINDS = {
    "echo": "echo to the sender",
    "delivery": "delivery to the other side",
    "refresh": "refresh, until the history is there",
    "setup": "registration to the agent's join",
    "pacing": "the generator's own delay",
}


@dataclass(frozen=True, kw_only=True)
class Result:
    """A run in numbers."""

    options: dict[str, Any]
    seconds_measured: int
    per_second: dict[str, float]
    """Messages sent, echoed and delivered to the other side."""
    counts: dict[str, int]
    latency_ms: dict[str, Latency]
    errors: dict[str, int]
    violations: list[str]
    violation_count: int
    generator_cpu: list[float]
    """Shares of a core."""
    server_cpu: dict[str, float]
    seconds: list[Second]

    @classmethod
    def of(cls, timeline: Timeline, options: dict[str, Any], violations: list[str], violation_count: int) -> "Result":
        """Sum a run up."""
        measured = timeline.seconds_to_measure
        shares = {"sent": "sent", "echoed": "echo", "delivered": "delivery"}
        return cls(
            options=options,
            seconds_measured=measured,
            per_second={name: round(timeline.counts[key] / measured, 1) for name, key in shares.items()},
            counts=dict(timeline.counts),
            latency_ms={kind: timeline.total(kind) for kind in KINDS},
            errors=dict(timeline.errors),
            violations=violations,
            violation_count=violation_count,
            generator_cpu=timeline.generator_cpu(),
            server_cpu=timeline.server_cpu(),
            seconds=timeline.seconds,
        )

    @property
    def generator_is_busy(self) -> bool:
        """Whether the load generator may be the limit rather than the server."""
        return max(self.generator_cpu, default=0) > BUSY

    @property
    def is_sustained(self) -> bool:
        """Whether the server has kept up with the rate."""
        wanted = self.options["rate"]
        return not self.counts.get("unsent") and self.per_second["echoed"] >= KEPT_UP * wanted

    @property
    def passed(self) -> bool:
        """Whether there was load, and no promise was broken."""
        return self.violation_count == 0 and self.counts.get("echo", 0) > 0

    def write(self, file: Path) -> None:
        """Write everything as JSON."""
        machine = {"cores": os.cpu_count(), "system": platform.system(), "python": platform.python_version()}
        text = json.dumps(
            {**asdict(self), "passed": self.passed, "sustained": self.is_sustained, "machine": machine}, indent=1
        )
        file.write_text(text + "\n", "utf-8")
