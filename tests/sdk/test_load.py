"""The load test: it runs, it measures, and it notices when the server breaks a promise."""

import asyncio
import io
import json
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from rich.console import Console

from live_support.environment import PREFIX
from live_support.rate import Rate
from live_support_client import ChatClient, ChatMessage, Options
from load_generator.agents import Agents
from load_generator.conversation import Conversation
from load_generator.latency import Latency, Recorder
from load_generator.options import parse
from load_generator.plot import draw
from load_generator.screen import progress
from load_generator.timeline import SECONDS_KEPT, Second, Timeline
from load_generator.verifier import Delivered, Side, Token, Verifier, Violation
from tests.helpers.services import Service

pytestmark = pytest.mark.slow

COMMAND = Path(__file__).parent.parent.parent / "clients" / "load_test.py"
START = datetime(2026, 1, 1, tzinfo=UTC)
Messages = list[Delivered]


async def load_test(*arguments: object) -> tuple[int | None, str, str]:
    """Run the command as a user does; returns the exit code and what it printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(COMMAND),
        *map(str, arguments),
        env={name: value for name, value in os.environ.items() if not name.startswith(PREFIX)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def test_a_run_measures_and_verifies(tmp_path: Path) -> None:
    file, plot = tmp_path / "result.json", tmp_path / "plot.png"
    chats = ["--chats", 6, "--rate", 40, "--ramp", 0.5, "--chat-messages", 12, "--refresh-rate", 4, "--agents", 4]
    code, out, err = await load_test("--start", "--seconds", 3, *chats, "--json", file, "--plot", plot)
    assert code == 0, out + err
    assert err == ""
    assert "Every message came to both sides, once, in one order." in out

    result = json.loads(file.read_text("utf-8"))
    assert result["passed"]
    assert result["violations"] == []
    assert result["seconds_measured"] == 3
    # How fast it is on a busy machine is not what this test is about.
    assert 10 < result["per_second"]["echoed"] < 80
    assert result["counts"]["refreshed"] > 0
    assert result["counts"]["ended"] >= 6
    assert result["counts"]["delivery"] > 0
    for kind in ("echo", "delivery", "refresh", "pacing"):
        latency = result["latency_ms"][kind]
        assert 0 < latency["p50"] <= latency["p90"] <= latency["p99"] <= latency["p999"] <= latency["max"], kind
    assert len(result["generator_cpu"]) == 2
    assert [second["second"] for second in result["seconds"]] == list(range(len(result["seconds"])))
    if sys.platform == "linux":
        assert set(result["server_cpu"]) == {"ChatServer", "Redis", "Subscriber"}
    assert plot.read_bytes().startswith(b"\x89PNG")


async def test_without_a_server_it_says_how_to_start_one() -> None:
    code, out, err = await load_test("--url", "http://127.0.0.1:9", "--seconds", 1)
    assert (code, out) == (2, "")
    assert "task up" in err
    assert err.count("\n") == 1


@pytest.mark.given(join_rate=Rate("2/minute"))
async def test_a_limit_on_registrations_is_named(chat_server: Service, subscriber_service: Service) -> None:
    urls = ["--url", chat_server.http, "--joins-url", subscriber_service.http]
    code, out, err = await load_test(*urls, "--chats", 8, "--ramp", 0)
    assert code == 2, out + err
    assert "LIVE_SUPPORT_JOIN_RATE" in err
    assert err.count("\n") == 1


# What a lying server would do to one side, or to both.


def drop(messages: Messages) -> Messages:
    return messages[:5] + messages[6:]


def drop_the_last(messages: Messages) -> Messages:
    return messages[:-1]


def double(messages: Messages) -> Messages:
    return messages[:6] + messages[5:]


def double_late(messages: Messages) -> Messages:
    return [*messages, messages[5]]


def swap(messages: Messages) -> Messages:
    return [*messages[:5], messages[6], messages[5], *messages[7:]]


def swap_one_sender(messages: Messages) -> Messages:
    return [*messages[:4], messages[6], messages[5], messages[4], *messages[7:]]


def change_the_time(messages: Messages) -> Messages:
    return [*messages[:5], messages[5]._replace(timestamp=START), *messages[6:]]


def name_another_chat(messages: Messages) -> Messages:
    return [*messages[:5], messages[5]._replace(token=messages[5].token._replace(chat_id="other")), *messages[6:]]


MUTATIONS = [drop, drop_the_last, double, double_late, swap, swap_one_sender, change_the_time, name_another_chat]


def said(verifier: Verifier, count: int = 12) -> Messages:
    """A chat in which both speak in turn, and everything is acknowledged."""
    messages = []
    for number in range(count):
        sender: Side = ("User", "Support")[number % 2]
        token = verifier.issue(sender, number)
        verifier.acknowledged(sender, token)
        messages.append(Delivered(sender, token, START + timedelta(seconds=number)))
    return messages


def play(verifier: Verifier, user: Messages, support: Messages, *, ahead: int) -> None:
    """Show both sides their messages, the Support some messages after (or before) the User."""
    shown: list[tuple[float, Side, Delivered]] = []
    shown += [(index, "User", message) for index, message in enumerate(user)]
    shown += [(index + ahead + 0.5, "Support", message) for index, message in enumerate(support)]
    for _, side, message in sorted(shown, key=lambda each: each[0]):
        verifier.deliver(side, message)
    verifier.finish()


@pytest.mark.parametrize("ahead", [0, 3, -4, 100])
def test_what_was_delivered_as_promised_is_accepted(ahead: int) -> None:
    verifier = Verifier("chat")
    messages = said(verifier)
    play(verifier, messages, messages, ahead=ahead)
    assert verifier.settled
    assert verifier.count == 12


@pytest.mark.parametrize("mutation", MUTATIONS)
@pytest.mark.parametrize("ahead", [0, 3, -4, 100])
@pytest.mark.parametrize("side", ["User", "Support"])
def test_one_wrong_delivery_is_noticed(mutation: Callable[[Messages], Messages], ahead: int, side: Side) -> None:
    verifier = Verifier("chat")
    messages = said(verifier)
    user, support = [mutation(messages) if each == side else messages for each in ("User", "Support")]
    with pytest.raises(Violation):
        play(verifier, user, support, ahead=ahead)


@pytest.mark.parametrize("mutation", [drop, drop_the_last, double, double_late, swap_one_sender, name_another_chat])
def test_the_same_wrong_delivery_to_both_is_noticed(mutation: Callable[[Messages], Messages]) -> None:
    verifier = Verifier("chat")
    messages = mutation(said(verifier))
    with pytest.raises(Violation):
        play(verifier, messages, messages, ahead=0)


def test_a_history_goes_on_where_a_side_had_left() -> None:
    verifier = Verifier("chat")
    messages = said(verifier)
    for message in messages[:6]:
        verifier.deliver("User", message)
    verifier.catch_up("Support", messages[:4])
    verifier.deliver("Support", messages[4])
    verifier.catch_up("Support", messages[:8])
    verifier.catch_up("User", messages)
    for message in messages[8:]:
        verifier.deliver("Support", message)
    verifier.finish()


@pytest.mark.parametrize("mutation", [*MUTATIONS, lambda messages: messages[:3], lambda _: []])
def test_a_wrong_history_is_noticed(mutation: Callable[[Messages], Messages]) -> None:
    verifier = Verifier("chat")
    messages = said(verifier)
    for message in messages[:9]:
        verifier.deliver("User", message)
        verifier.deliver("Support", message)
    with pytest.raises(Violation):  # noqa: PT012 - sooner or later
        verifier.catch_up("User", mutation(messages))
        verifier.finish()


def test_what_failed_may_be_missing_and_what_was_refused_may_not_come() -> None:
    verifier = Verifier("chat")
    refused, lost, late = (verifier.issue("User", 0) for _ in range(3))
    verifier.failed("User", refused, may_come=False)
    verifier.failed("User", lost, may_come=True)
    verifier.failed("User", late, may_come=True)
    token = verifier.issue("User", 0)
    verifier.acknowledged("User", token)
    messages = [Delivered("User", each, START) for each in (token, late)]
    play(verifier, messages, messages, ahead=0)
    with pytest.raises(Violation, match="refused"):
        verifier.deliver("User", Delivered("User", refused, START))


def test_a_message_of_nobody_is_noticed() -> None:
    with pytest.raises(Violation, match="Hello!"):
        Token.parse("Hello!")


def test_memory_does_not_grow_with_the_chat() -> None:
    verifier = Verifier("chat")
    for message in said(verifier, 1000):
        verifier.deliver("User", message)
        verifier.deliver("Support", message)
    assert len(verifier._ahead) == 0
    assert all(not sent.not_stored for sent in verifier._sent.values())


class Tampered(Conversation):
    """A chat in which the Support's eighth message is dropped, doubled, or swapped with the next."""

    how = ""
    _heard = 0
    _kept: object = None

    def _hear(self, side: Side, message: object) -> None:
        if side == "Support" and isinstance(message, ChatMessage):
            self._heard += 1
            if self._heard == 8 and self.how in ("drop", "swap"):
                self._kept = message
                return
            if self._heard == 8 and self.how == "double":
                super()._hear(side, message)
        super()._hear(side, message)
        if self._heard == 9 and self.how == "swap":
            super()._hear(side, self._kept)


@pytest.mark.parametrize("how", ["", "drop", "double", "swap"])
async def test_a_violation_names_the_chat(
    how: str, client: ChatClient, subscriber_service: Service, options: Options
) -> None:
    recorder, violations = Recorder(), list[str]()
    agents = Agents(subscriber_service.http, 2, claim_seconds=0, options=options, recorder=recorder)
    async with agents:
        chat = Tampered(client, recorder, violations.append)
        chat.how = how
        await chat.begin(agents)
        for number in range(12):
            await chat.say("User" if number % 2 else "Support", 0)
        await chat.end()
    if how:
        assert len(violations) == 1
        assert violations[0].startswith(f"chat {chat._verifier.chat_id}: ")
        assert "Support" in violations[0]
    else:
        assert violations == []
    assert recorder.errors == {}
    assert (recorder.counts["begun"], recorder.counts["ended"], recorder.chats) == (1, 1, 0)


def busy_seconds(count: int, *, latency: float) -> list[Second]:
    brief = Latency(count=9, p50=latency, p90=latency, p99=2 * latency, p999=3 * latency, max=4 * latency)
    return [
        Second(
            second=1000 + number,
            measured=number > 0,
            chats=12_345,
            counts={"sent": 71_234, "echo": 71_234, "delivery": 71_234, "errors": 99_999},
            latency={"echo": brief, "delivery": brief},
            generator_cpu=[0.97, 0.85, 1.01, 0.99],
            server_cpu={"ChatServer": 3.97, "Redis": 0.91, "Subscriber": 0.12},
        )
        for number in range(count)
    ]


@pytest.mark.parametrize("columns", [80, 120])
def test_the_live_table_fits_into_a_terminal(columns: int) -> None:
    console = Console(width=columns, record=True, file=io.StringIO())
    console.print(progress(busy_seconds(12, latency=12_345.6), "measuring: 29 s left"))
    lines = console.export_text().splitlines()
    assert "…" not in "".join(lines)
    assert len(lines) == 1 + 1 + 12 + 2, "a row takes one line"
    for heading in ("echoed/s", "delivered/s", "errors"):
        assert heading in lines[1]
    assert "ChatServer 397%, Redis 91%, Subscriber 12%" in lines[-1]
    console.print(progress([], "starting"))


@pytest.mark.parametrize("latency", [0.4, 3, 30, 450])
def test_the_plot_has_numbers_beside_its_lines(latency: float) -> None:
    figure = draw(busy_seconds(10, latency=latency), 8, "10 chats", 70_000)
    for axes in figure.axes[1:]:
        low, high = axes.get_ylim()
        numbers = [tick for tick in axes.get_yticks() if low <= tick <= high]
        assert len(numbers) >= 2
        assert [label.get_text() for label in axes.get_yticklabels()] == [f"{tick:g}" for tick in axes.get_yticks()]
        assert "ms" in axes.get_ylabel()


async def test_several_chat_servers_for_those_who_start_them_only(capsys: pytest.CaptureFixture[str]) -> None:
    assert parse(["--start", "--workers", "2"]).workers == 2
    for wrong in (["--workers", "2"], ["--start", "--workers", "0"]):
        with pytest.raises(SystemExit):
            parse(wrong)
        assert "--workers" in capsys.readouterr().err


@pytest.mark.slow
async def test_a_run_with_several_chat_servers() -> None:
    chats = ["--chats", 4, "--rate", 10, "--ramp", 0.2]
    code, out, err = await load_test("--start", "--workers", 2, "--seconds", 2, *chats)
    assert (code, err) == (0, ""), out + err


def test_seconds_of_several_workers_are_put_together() -> None:
    timeline = Timeline(2)
    workers = [Recorder(), Recorder()]

    def second(number: int, *milliseconds: int) -> None:
        for worker, (recorder, latency) in enumerate(zip(workers, milliseconds, strict=False)):
            recorder.counts["echo"] += 1
            recorder.record("echo", latency * 1_000_000)
            assert timeline.add(worker, recorder.take(number)) is (worker == 1)

    second(0, 500, 700)
    (ramp,) = timeline.seconds
    assert (ramp.measured, ramp.counts["echo"]) == (False, 2)
    assert ramp.latency["echo"].max == pytest.approx(700, rel=0.01)
    timeline.measure(1, 2)
    second(1, 10, 20)
    second(2, 30, 40)
    second(3, 50)  # the other worker has come to the end
    timeline.finish()
    total = timeline.total("echo")
    assert (timeline.counts["echo"], total.count) == (5, 5)
    assert ([second.second for second in timeline.seconds], len(timeline.measured)) == ([0, 1, 2, 3], 2)
    assert total.p50 == pytest.approx(30, rel=0.01)
    assert total.max == pytest.approx(50, rel=0.01)


def test_a_long_run_keeps_only_some_of_its_seconds() -> None:
    timeline, recorder = Timeline(1), Recorder()
    timeline.measure(0, 10 * SECONDS_KEPT)
    for number in range(3 * SECONDS_KEPT):
        timeline.add(0, recorder.take(number))
    assert len(timeline.seconds) <= SECONDS_KEPT
    gaps = {after.second - before.second for before, after in pairwise(timeline.seconds)}
    assert gaps == {4}
