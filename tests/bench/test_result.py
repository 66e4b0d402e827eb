"""Figures: medians, ranges, ratios of the same round, and merged histograms."""

import json
from pathlib import Path
from typing import Any

import pytest

from chatbench.guard import LIMIT, verdict
from chatbench.peers import FASTAPI, OURS
from chatbench.plan import Outcome
from chatbench.result import Range, Result
from load_generator.latency import Histogram


def saturated(cpu_us: float, **changes: Any) -> Outcome:
    """A thousand messages in two seconds."""
    given = {"seconds": 2.0, "messages": 1000.0, "server_ns": round(cpu_us * 1000 * 1000), **changes}
    return Outcome(kind="saturated", rate=0, chats=10, **given)


def paced(latencies_us: list[int], **changes: Any) -> Outcome:
    """The same, paced, with these latencies."""
    histogram = Histogram()
    for latency in latencies_us:
        histogram.record(latency * 1000)
    encoded = histogram.encode()
    given = {
        "rate": 500,
        "seconds": 2.0,
        "messages": 1000.0,
        "server_ns": 10**6,
        "latency": encoded,
        "lateness": encoded,
        **changes,
    }
    return Outcome(kind="paced", chats=10, **given)


def result_of(**rounds: list[float]) -> Result:
    """What these CPU figures of each peer give."""
    result = Result(machine={}, options={})
    for peer, values in rounds.items():
        for number, value in enumerate(values):
            result.add(peer, number, saturated(value))
    return result


def test_a_figure_is_the_median_with_its_range() -> None:
    assert result_of(ours=[40, 30, 80]).range("ours", "cpu_us") == Range(40, 30, 80, 3)


def test_ratios_are_of_the_same_round() -> None:
    # The machine was twice as slow in the second round, which the ratio does not show.
    assert result_of(ours=[50, 100], fastapi=[500, 1000]).ratio(FASTAPI, "cpu_us") == Range(0.1, 0.1, 0.1, 2)


def test_two_figures_are_compared_within_a_round() -> None:
    result = Result(machine={}, options={})
    for number, (one, two) in enumerate([(100, 200), (200, 300)]):
        result.add(OURS, number, saturated(50, messages=float(one)), "@workers:1")
        result.add(OURS, number, saturated(50, messages=float(two)), "@workers:2")
    figures = [f"messages_per_second@workers:{count}" for count in (2, 1)]
    assert result.times(OURS, *figures) == Range(1.75, 1.5, 2, 2)
    assert result.times(FASTAPI, *figures) is None


def test_what_was_not_measured_is_none() -> None:
    result = result_of(ours=[50])
    assert result.range("ours", "p50@500") is None
    assert result.ratio(FASTAPI, "cpu_us") is None


def test_figures_of_a_load() -> None:
    result = Result(machine={}, options={})
    outcome = saturated(
        100, redis_ns=10**7, generator_ns=10**9, others_ns=5 * 10**8, stolen_ns=10**8, violations=["chat 1: lost"]
    )
    result.add("node", 0, outcome)
    figures = {name: value.median for name in result.figures("") if (value := result.range("node", name))}
    assert figures == {
        "cpu_us": 100,
        "redis_us": 10,
        "messages_per_second": 500,
        "server_share": 0.05,
        "redis_share": 0.005,
        "generator_share": 0.5,
        "others_share": 0.25,
        "stolen_share": 0.05,
    }
    assert result.violations == ["node: chat 1: lost"]


def test_figures_of_a_pace() -> None:
    result = Result(machine={}, options={})
    result.add(OURS, 0, paced([1000] * 90 + [20_000] * 10), "@500")
    assert result.range(OURS, "p50@500") == pytest.approx((1, 1, 1, 1), rel=0.01)
    assert result.range(OURS, "p99@500") == pytest.approx((20, 20, 20, 1), rel=0.01)
    assert result.range(OURS, "sustained@500") == (1, 1, 1, 1)
    result.add(OURS, 1, paced([1], messages=900.0), "@500")
    assert result.range(OURS, "sustained@500") == (0.5, 0, 1, 2)
    # What fell behind has no cost a message.
    assert result.range(OURS, "cpu_us@500") == (1, 1, 1, 1)


def test_a_pace_at_which_nothing_came_has_no_latencies() -> None:
    result = Result(machine={}, options={})
    result.add(FASTAPI, 0, paced([], messages=0.0, latency=b"", lateness=b""), "@500")
    assert result.range(FASTAPI, "sustained@500") == (0, 0, 0, 1)
    assert result.range(FASTAPI, "p50@500") is None


def test_figures_of_idle_connections() -> None:
    result = Result(machine={}, options={})
    idle = Outcome(
        kind="idle",
        rate=0,
        chats=100,
        seconds=2,
        server_ns=2 * 10**7,
        joined_ns=2 * 10**8,
        rss_kib=3920,
        connections=196,
    )
    result.add(OURS, 0, idle, "@idle:100")
    assert result.range(OURS, "kib_per_connection@idle:100") == (20, 20, 20, 1)
    assert result.range(OURS, "connect_us@idle:100") == (1000, 1000, 1000, 1)
    assert result.range(OURS, "server_share@idle:100") == (0.01, 0.01, 0.01, 1)


def test_a_message_is_counted_on_top_of_what_idling_costs() -> None:
    result = Result(machine={}, options={})
    result.add(OURS, 0, Outcome(kind="idle", rate=0, chats=10, seconds=2, server_ns=10**8, connections=1), "@idle:10")
    # 500 messages a second of 300 us each, with 5 % of a core besides: 100 us of each message.
    result.add(OURS, 0, saturated(300), "@chats:10")
    assert result.above_idle(OURS, "10", 500) == pytest.approx((200, 200, 200, 1))
    assert result.above_idle(FASTAPI, "10", 500) is None


def test_a_phase_that_was_left_out_gives_no_figure() -> None:
    result = Result(machine={}, options={})
    result.add(FASTAPI, 0, Outcome(kind="paced", rate=6000, chats=200), "@6000")
    assert result.figures("") == []


def test_the_file_has_every_round(tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    result_of(ours=[40, 30, 80], fastapi=[400, 300, 800]).write(file)
    written = json.loads(file.read_text("utf-8"))
    assert written["figures"]["ours"]["cpu_us"] == {
        "median": 40,
        "low": 30,
        "high": 80,
        "rounds": 3,
        "values": {"0": 40, "1": 30, "2": 80},
    }
    assert written["ours_divided_by"][FASTAPI]["median"] == 0.1


def test_rounds_add_up_over_runs(tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    result_of(ours=[40, 30], fastapi=[400, 300]).write(file)
    result = Result(machine={}, options={})
    assert result.read(file) == 2
    result.add(OURS, 2, saturated(80))
    result.add(FASTAPI, 2, saturated(400))
    assert result.range(OURS, "cpu_us") == Range(40, 30, 80, 3)
    assert result.ratio(FASTAPI, "cpu_us") == Range(0.1, 0.1, 0.2, 3)


@pytest.mark.parametrize(("ours", "well"), [(LIMIT - 0.01, True), (LIMIT + 0.01, False)])
def test_the_guard_fails_above_its_limit_only(ours: float, well: bool) -> None:
    decided, text = verdict(result_of(ours=[ours * 100], fastapi=[100]))
    assert decided is well
    assert f"{ours:.2f} of FastAPI's CPU" in text


def test_one_bad_round_does_not_fail_the_guard() -> None:
    assert verdict(result_of(ours=[10, 10, 500], fastapi=[100, 100, 100]))[0]


def test_the_guard_fails_when_nothing_was_measured() -> None:
    assert not verdict(Result(machine={}, options={}))[0]
