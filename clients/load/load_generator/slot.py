"""Slot: one chat at a time, and the fixed times at which its participants speak."""

import asyncio
import random
import time
from collections.abc import Callable, Coroutine
from typing import Any

from live_support_client import LiveSupportError, RateLimited
from load_generator.agents import error_code
from load_generator.conversation import Conversation
from load_generator.latency import Recorder
from load_generator.plan import Plan
from load_generator.verifier import Side, Violation

RETRY_SECONDS = 1.0
GRACE_NS = 50_000_000
"""What is late by no more than this at the end is still sent: a timer is not exact."""
SIDES: tuple[Side, Side] = ("User", "Support")


class Slot:
    """Keeps a chat going until the run ends; a chat that is long enough ends, and another one takes its place.

    The times to speak are fixed from the start and go on over the change of chats. Whoever could not speak in time, as
    the answer to the message before was not there yet, does so late, and the latency counts from the intended time.

    Args:
        plan: how often to speak, and for how long in one chat.
        begin: makes a chat; see `Conversation.begin`.
        recorder: takes counts and errors.
    """

    def __init__(self, plan: Plan, begin: Callable[[], Coroutine[Any, Any, Conversation]], recorder: Recorder) -> None:
        self._plan = plan
        self._begin = begin
        self._recorder = recorder
        self._stop = asyncio.Event()
        self._stop_ns: int | None = None
        self._chat: Conversation | None = None
        self._asleep: set[asyncio.Task[None]] = set()
        self._change = asyncio.Event()
        # The first chats end at different times, so that later not all of them end at once.
        self._bound = random.uniform(0.1, 1) * plan.chat_messages  # noqa: S311 - no secret
        self.ready = asyncio.Event()
        """Set when there is a chat, or there will be none."""

    def stop(self, at_ns: int) -> None:
        """Let nobody say what is due later than this."""
        self._stop_ns = at_ns
        self._stop.set()
        self._change.set()
        for task in self._asleep:
            task.cancel()

    async def run(self) -> None:
        """Keep the chat going until `stop`.

        Raises:
            RateLimited: the server lets nobody register any more.
        """
        try:
            self._chat = await self._next_chat()
        finally:
            self.ready.set()
        async with asyncio.TaskGroup() as group:
            speakers = [group.create_task(self._speak(side)) for side in SIDES]
            while not self._stop.is_set():
                await self._change.wait()
                self._change.clear()
                if not self._is_over():
                    continue
                chat = await self._next_chat()
                if chat is not None and self._chat is not None:
                    group.create_task(self._chat.end())
                    self._chat, self._bound = chat, self._plan.chat_messages
            await asyncio.wait(speakers)
            if self._chat is not None:
                await self._chat.end()

    def _is_over(self) -> bool:
        return self._chat is not None and (self._chat.broken or self._chat.count >= self._bound)

    async def _next_chat(self) -> Conversation | None:
        """Make a chat, however often that fails; None when it is time to stop."""
        while not self._stop.is_set():
            try:
                return await self._begin()
            except RateLimited:
                raise
            except (LiveSupportError, TimeoutError, Violation) as error:
                if not isinstance(error, Violation):
                    self._recorder.errors[error_code(error)] += 1
            await asyncio.sleep(RETRY_SECONDS)
        return None

    async def _speak(self, side: Side) -> None:
        interval_ns = int(self._plan.message_seconds * 1e9)
        due = time.monotonic_ns() + int(random.random() * interval_ns)  # noqa: S311
        while self._chat is not None and (self._stop_ns is None or due < self._stop_ns):
            if not await self._sleep_until(due):
                continue
            chat = self._chat
            if self._stop_ns is not None and time.monotonic_ns() >= self._stop_ns + GRACE_NS:
                # Too late to be sent. What would have become of it nobody knows, but it has waited so long already.
                self._recorder.counts["unsent"] += 1
                self._recorder.record("unsent", self._stop_ns - due)
            else:
                await chat.say(side, due)
                if random.random() < self._plan.refresh_chance:  # noqa: S311
                    await chat.refresh(side, know_support=random.random() < 0.5)  # noqa: S311
            if self._is_over():
                self._change.set()
            due += interval_ns

    async def _sleep_until(self, due_ns: int) -> bool:
        """Return True then, or False when there is a reason to think again."""
        delay = (due_ns - time.monotonic_ns()) / 1e9
        if delay <= 0:
            return True
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - for the type checker
        self._asleep.add(task)
        try:
            await asyncio.sleep(delay)
        except asyncio.CancelledError:
            if not self._stop.is_set():
                raise
            task.uncancel()
            return False
        finally:
            self._asleep.discard(task)
        self._recorder.record("pacing", time.monotonic_ns() - due_ns)
        return True
