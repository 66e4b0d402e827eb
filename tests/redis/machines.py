"""What the state machines share: a Redis of their own, one event loop, and how many examples they try."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import hypothesis
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test
from redis.asyncio import Redis as Client

from core.join_queue import JoinQueue
from core.redis import Redis
from core.store import ChatStore
from tests.support import make_settings

T = TypeVar("T")


class Machine(RuleBasedStateMachine):
    """Takes each step on the real thing and on a model in Python."""

    redis_url: str
    changes: dict[str, Any]
    """Fields of `Settings`."""

    def __init__(self) -> None:
        super().__init__()
        self.settings = make_settings(self.redis_url, **self.changes)
        self.runner = asyncio.Runner()
        self.redis = Redis(self.settings)
        self.client = Client.from_url(self.redis_url, decode_responses=True)
        self.store = ChatStore(self.redis, self.settings)
        self.queue = JoinQueue(self.redis, self.settings)
        self.run(self.delete_our_keys())

    def run(self, step: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(step)

    async def delete_our_keys(self) -> None:
        if keys := await self.our_keys():
            await self.client.unlink(*keys)

    async def our_keys(self) -> list[str]:
        return [str(key) for key in await self.client.keys("live-support:*")]

    def teardown(self) -> None:
        self.run(self.client.aclose())
        self.run(self.redis.close())
        self.runner.close()


def run_machine(machine: type[Machine], redis_url: str, *, examples: int, steps: int, **changes: Any) -> None:
    """Try many sequences of steps; `--hypothesis-profile=long` tries 20 times as many, and others in each run.

    Args:
        machine: what to try.
        redis_url: where all our keys are deleted.
        examples: sequences in a normal run.
        steps: of the longest sequence.
        changes: fields of `Settings`.
    """
    machine.redis_url, machine.changes = redis_url, changes
    profile = hypothesis.settings()
    settings = hypothesis.settings(max_examples=examples * profile.max_examples // 100, stateful_step_count=steps)
    run_state_machine_as_test(machine, settings=settings)
