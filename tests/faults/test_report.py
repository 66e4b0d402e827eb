"""The table at the end: what is counted, and how long a recovery took."""

from collections import Counter
from datetime import UTC, datetime

from tests.faults.checker import Violation
from tests.faults.history import Echoed, Event, History, Message, Opened, Received, Sent, Truth, Unanswered
from tests.faults.report import Injected, Row, fill, recoveries, table

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
FAULT = Injected(10, 12)
OPENED: list[Event] = [
    Opened(at=0, chat="a", view=1, role="User"),
    Opened(at=0, chat="a", view=2, role="Support"),
]


def message(token: str, sent: float, *seen: float) -> list[Event]:
    """A message, and when the user and the agent were shown it."""
    return [
        Sent(at=sent, chat="a", token=token),
        *(Received(at=at, chat="a", view=view, message=Message(token, EPOCH)) for view, at in enumerate(seen, start=1)),
    ]


def recovery(*events: Event) -> list[float]:
    return recoveries(History([*OPENED, *events], []), [FAULT])


def test_a_message_that_is_not_held_up() -> None:
    assert recovery(*message("a/User/1", 1, 1.5, 2)) == [0]


def test_the_last_to_get_what_a_fault_held_up_counts_from_its_end() -> None:
    assert recovery(*message("a/User/1", 9, 9.5, 15)) == [3]
    assert recovery(*message("a/User/1", 11, 12.5, 12.1)) == [0.5]


def test_a_message_sent_after_a_fault_counts_from_its_sending() -> None:
    assert recovery(*message("a/User/1", 13, 13.5, 14)) == [1]


def test_who_joined_later_does_not_count() -> None:
    late = Opened(at=100, chat="a", view=3, role="Support")
    seen = Received(at=100, chat="a", view=3, message=Message("a/User/1", EPOCH))
    events = [OPENED[0], *message("a/User/1", 13, 13.5), late, seen]
    assert recoveries(History(events, []), [FAULT]) == [0.5]


def test_without_faults_there_is_nothing_to_recover_from() -> None:
    assert recoveries(History(message("a/User/1", 1), []), []) == []


def test_a_row_counts_what_happened_and_what_was_broken() -> None:
    row = Row("F1", "something")
    events: list[Event] = [
        *OPENED,
        *message("a/User/1", 1, 2, 3),
        Echoed(at=2, chat="a", token="a/User/1"),  # noqa: S106 - no secret
        Unanswered(at=4, chat="a", token="a/User/2", code="unavailable", may_come=True),  # noqa: S106
    ]
    broken = [Violation(rule, "a", "") for rule in ("C1", "C2", "C7", "C3", "C6", "C9")]
    fill(row, History(events, [Truth(chat="a", user="u")]), broken, [FAULT])
    assert row.broken == Counter(["C1", "C2", "C7", "C3", "C6", "C9"])
    assert row.cells == ["F1", "something", "1", "1", "1", "1", "1", "2", "2", "1", "0.00 / 0.00"]


def test_the_table_is_markdown() -> None:
    lines = table([Row("F1", "something"), Row("F22", "something else")]).splitlines()
    assert len(lines) == 4
    assert len({line.count("|") for line in lines}) == len({len(line) for line in lines}) == 1
