"""What the scenarios have found, as the table that is printed at the end."""

from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import median

from msgspec import Struct

from tests.faults.checker import Violation
from tests.faults.history import Echoed, History, Opened, Received, Sent, Snapshot, Unanswered


class Injected(Struct, frozen=True):
    """A fault that was done to the system, and when (monotonic seconds)."""

    start: float
    end: float


class Row(Struct):
    """One scenario's line."""

    name: str
    what: str
    faults: int = 0
    chats: int = 0
    acknowledged: int = 0
    unanswered: int = 0
    """Messages that were refused, or whose fate the sender was not told."""
    broken: Counter[str] = Counter()
    recoveries: Sequence[float] = ()

    @property
    def cells(self) -> list[str]:
        """What the table shows."""
        order = sum(self.broken[rule] for rule in ("C3", "C4", "C5", "C6"))
        others = self.broken.total() - order - self.broken["C1"] - self.broken["C2"] - self.broken["C7"]
        return [
            self.name,
            self.what,
            str(self.faults),
            str(self.chats),
            str(self.acknowledged),
            str(self.unanswered),
            str(self.broken["C1"]),
            str(self.broken["C2"] + self.broken["C7"]),
            str(order),
            str(others),
            f"{median(self.recoveries):.2f} / {max(self.recoveries):.2f}" if self.recoveries else "-",
        ]


HEAD = [
    *("", "injected", "faults", "chats", "acknowledged", "refused or unknown"),
    *("lost", "doubled", "out of order", "other", "recovery p50 / max, s"),
]


def table(rows: Iterable[Row]) -> str:
    """Render the rows as a Markdown table."""
    lines = [HEAD, *(row.cells for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    rendered = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    ]
    return "\n".join([rendered[0], "| " + " | ".join("-" * width for width in widths) + " |", *rendered[1:]])


def fill(row: Row, history: History, violations: Sequence[Violation], faults: Sequence[Injected]) -> None:
    """Count what a run has to show."""
    row.faults = len(faults)
    row.chats = len(history.truths)
    row.acknowledged = sum(1 for _ in history.of(Echoed))
    row.unanswered = sum(1 for _ in history.of(Unanswered))
    row.broken = Counter(violation.rule for violation in violations)
    row.recoveries = recoveries(history, faults)


def recoveries(history: History, faults: Sequence[Injected]) -> list[float]:
    """Say of each fault how long after its end the last message that it had held up reached everybody, in seconds.

    A message belongs to the first fault that had not ended when it was sent, if that began before it arrived, else to
    the last one before.
    """
    if not faults:
        return []
    joined: dict[tuple[str, str], float] = {}
    roles: dict[int, str] = {}
    sent: dict[str, float] = {}
    seen: dict[str, dict[str, float]] = {}

    def see(token: str, view: int, at: float) -> None:
        seen.setdefault(token, {}).setdefault(roles[view], at)

    for event in history.events:
        match event:
            case Opened():
                roles[event.view] = event.role
                joined.setdefault((event.chat, event.role), event.at)
            case Sent():
                sent[event.token] = event.at
            case Received():
                see(event.message.token, event.view, event.at)
            case Snapshot():
                for message in event.messages:
                    see(message.token, event.view, event.at)
    worst = dict.fromkeys(faults, 0.0)
    for token, by_role in seen.items():
        if token not in sent:
            continue
        chat, since = token.partition("/")[0], sent[token]
        in_time = [at for role, at in by_role.items() if joined[chat, role] <= since]
        if not in_time:
            continue
        arrived = max(in_time)
        fault = next((fault for fault in faults if fault.end >= since), None)
        if fault is None or fault.start > arrived:
            fault = next((fault for fault in reversed(faults) if fault.end < since), None)
        if fault is not None:
            worst[fault] = max(worst[fault], arrived - max(since, fault.end))
    return list(worst.values())
