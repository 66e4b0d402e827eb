"""Agents: the sockets of this worker's agents, and who of them claims whom."""

import asyncio
import random
import time
from typing import Self

from live_support_client import AlreadyClaimed, JoinRequest, JoinsClient, LiveSupportError, Options, Refused
from load_generator.latency import Recorder
from load_generator.verifier import Violation

RIVAL_CHANCE = 0.1
"""How often two agents claim a user at the same time; exactly one may win."""


class Agents:
    """The agents of one worker. Each is shown everybody who waits, and claims those of this worker who are assigned.

    Args:
        url: of the Subscriber.
        count: how many agents.
        claim_seconds: from one claim to the next, all agents together; 0 means as they come.
        recorder: for errors.
    """

    def __init__(self, url: str, count: int, *, claim_seconds: float, options: Options, recorder: Recorder) -> None:
        self._agents = [JoinsClient(url, options=options) for _ in range(count)]
        self._claim_seconds = claim_seconds
        self._next_claim = 0.0
        self._recorder = recorder
        self._expected: dict[str, tuple[JoinsClient, asyncio.Future[JoinRequest]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        """Connect all agents."""
        await asyncio.gather(*(agent.__aenter__() for agent in self._agents))
        for agent in self._agents:
            self._spawn(agent)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connections."""
        await asyncio.gather(*(agent.aclose() for agent in self._agents))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def expect(self, user_id: str) -> asyncio.Future[JoinRequest]:
        """Assign a user, before the user joins, to an agent; the future is done when the user is claimed."""
        claimed: asyncio.Future[JoinRequest] = asyncio.get_running_loop().create_future()
        self._expected[user_id] = (random.choice(self._agents), claimed)  # noqa: S311 - no secret
        claimed.add_done_callback(lambda _: self._expected.pop(user_id, None))
        return claimed

    def _spawn(self, agent: JoinsClient, request: JoinRequest | None = None) -> None:
        task = asyncio.create_task(self._watch(agent) if request is None else self._claim(agent, request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _watch(self, agent: JoinsClient) -> None:
        try:
            async for request in agent:
                assigned, _ = self._expected.get(request.user_id, (None, None))
                if assigned is agent:
                    self._spawn(agent, request)
        except LiveSupportError as error:
            self._recorder.errors[f"joins: {type(error).__name__}"] += 1

    async def _claim(self, agent: JoinsClient, request: JoinRequest) -> None:
        await self._pace()
        claimants = [agent]
        if len(self._agents) > 1 and random.random() < RIVAL_CHANCE:  # noqa: S311
            claimants.append(random.choice([other for other in self._agents if other is not agent]))  # noqa: S311
        answers = await asyncio.gather(*(each.claim(request) for each in claimants), return_exceptions=True)
        won = sum(answer is None for answer in answers)
        _, claimed = self._expected.get(request.user_id, (None, None))
        for answer in answers:
            if isinstance(answer, BaseException) and not (won and isinstance(answer, AlreadyClaimed)):
                self._recorder.errors[f"claim: {error_code(answer)}"] += 1
        if claimed is None or claimed.done():
            return
        if won > 1:
            claimed.set_exception(Violation(f"{won} agents won the claim of one user"))
        elif won:
            self._recorder.counts["claimed"] += 1
            claimed.set_result(request)
        # Else the user is shown again when the queue has the user back.

    async def _pace(self) -> None:
        if not self._claim_seconds:
            return
        now = time.monotonic()
        self._next_claim = max(self._next_claim + self._claim_seconds, now)
        await asyncio.sleep(self._next_claim - now)


def error_code(error: BaseException) -> str:
    """By which name errors are counted: the server's, where it gave one."""
    return error.code if isinstance(error, Refused) else type(error).__name__
