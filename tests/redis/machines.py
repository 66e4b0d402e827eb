"""What the state machines share: a Redis of their own, one event loop, and how many examples they try."""

import asyncio
import json
from collections.abc import Coroutine
from typing import Any, TypeVar

import hypothesis
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test
from redis.asyncio import Redis as Client

from live_support.chats.join_queue import JoinQueue
from live_support.chats.store import ChatStore
from live_support.chats.sweeper import Sweeper
from tests.helpers.keys import KEYS, make_redis
from tests.helpers.services import make_settings

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
        self.redis = make_redis(self.settings)
        self.client = Client.from_url(self.redis_url, decode_responses=True)
        self.store = ChatStore(self.redis, self.settings)
        self.queue = JoinQueue(self.redis, self.settings)
        self.sweeper = Sweeper(self.queue, self.store, self.settings)
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


async def check_queue_keys(client: Client) -> None:
    """What holds of the queue's keys at any moment: a user waits, is claimed or is served, and is always swept."""
    async with client.pipeline() as pipeline:
        pipeline.zrange(KEYS.queue.waiting, 0, -1)
        pipeline.zrange(KEYS.queue.leases, 0, -1)
        pipeline.zrange(KEYS.queue.present, 0, -1)
        for key in (KEYS.queue.chats, KEYS.queue.stays, KEYS.queue.claims):
            pipeline.hkeys(key)
        pipeline.keys("live-support:{joins}:*")
        *members, keys = await pipeline.execute()
    waiting, leases, present, chats, stays, claims = map(set, members)
    assert leases == claims, "a claim without an end, or an end without a claim"
    assert claims <= waiting, "a claim of somebody who does not wait keeps its place for nobody"
    assert stays == waiting
    assert waiting <= chats
    assert chats == present, "somebody whom the sweeper never finds, or finds for nothing"
    assert set(keys) <= set(KEYS.queue[:-1])


async def check_entries(client: Client) -> None:
    """What holds of the entries as long as no earlier release is at work: they say what the other keys mean."""
    async with client.pipeline() as pipeline:
        pipeline.zrange(KEYS.queue.waiting, 0, -1)
        for key in (KEYS.queue.chats, KEYS.queue.stays, KEYS.queue.entries):
            pipeline.hgetall(key)
        waiting, chat_ids, entry_ids, entries = await pipeline.execute()
    assert {user_id: json.loads(entry) for user_id, entry in entries.items()} == {
        user_id: ["waiting" if user_id in waiting else "served", chat_id, entry_ids.get(user_id, "")]
        for user_id, chat_id in chat_ids.items()
    }


def run_machine(machine: type[Machine], redis_url: str, *, examples: int, steps: int, **changes: Any) -> None:
    """Try many sequences of steps; `--hypothesis-profile=long` tries 20 times as many and others in each run.

    Args:
        machine: what to try.
        redis_url: where all our keys are deleted.
        examples: sequences where the slow tests run; a quarter of them elsewhere.
        steps: of the longest sequence.
        changes: fields of `Settings`.
    """
    machine.redis_url, machine.changes = redis_url, changes
    profile = hypothesis.settings()
    settings = hypothesis.settings(max_examples=examples * profile.max_examples // 100, stateful_step_count=steps)
    run_state_machine_as_test(machine, settings=settings)
