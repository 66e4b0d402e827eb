"""The faults: each is made by a function, takes a while, and leaves the system able to heal."""

import asyncio
import signal
from collections.abc import Awaitable, Callable

from tests.faults.system import ServiceProcess, System

Fault = Callable[[System], Awaitable[None]]


def kill_clients() -> Fault:
    """Let Redis close the services' connections: whoever has subscribed is of this type, commands or not."""

    async def fault(system: System) -> None:
        await system.redis.client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")

    return fault


def pause_redis(seconds: float) -> Fault:
    """Let Redis take commands and answer them only after a while."""

    async def fault(system: System) -> None:
        await system.redis.client.execute_command("CLIENT", "PAUSE", round(seconds * 1000), "ALL")
        await asyncio.sleep(seconds)

    return fault


def sleep_redis(seconds: float) -> Fault:
    """Let Redis hang."""

    async def fault(system: System) -> None:
        system.redis.sleep()
        try:
            await asyncio.sleep(seconds)
        finally:
            system.redis.wake()

    return fault


def kill_redis(down_seconds: float) -> Fault:
    """Kill Redis, and start it again with what is on the disk."""

    async def fault(system: System) -> None:
        await system.redis.kill()
        await asyncio.sleep(down_seconds)
        await system.redis.start()

    return fault


def lose_since(kept: str, down_seconds: float) -> Fault:
    """Kill Redis, and start it again with the data of an earlier moment, as after a failover to a replica that lags."""

    async def fault(system: System) -> None:
        await system.redis.kill()
        system.redis.go_back(kept)
        await asyncio.sleep(down_seconds)
        await system.redis.start()

    return fault


def cut() -> Fault:
    """Cut the connections between services and Redis."""

    async def fault(system: System) -> None:
        for proxy in system.proxies:
            proxy.cut()

    return fault


def fall_silent() -> Fault:
    """Leave the connections between services and Redis half open, until they are given up."""

    async def fault(system: System) -> None:
        before = [proxy.connections for proxy in system.proxies]
        for proxy in system.proxies:
            proxy.fall_silent()
        while any(proxy.connections == count for proxy, count in zip(system.proxies, before, strict=True)):  # noqa: ASYNC110
            await asyncio.sleep(0.05)

    return fault


def black_hole(*, seconds: float) -> Fault:
    """Swallow what goes between services and Redis; the connections stand."""

    async def fault(system: System) -> None:
        for proxy in system.proxies:
            proxy.freeze()
        try:
            await asyncio.sleep(seconds)
        finally:
            for proxy in system.proxies:
                proxy.heal()

    return fault


def lose_replies(*, every: int, seconds: float) -> Fault:
    """Cut the connection instead of passing on the answer to some of the scripts, which have run by then."""

    async def fault(system: System) -> None:
        for proxy in system.proxies:
            proxy.lose_every = every
        try:
            await asyncio.sleep(seconds)
        finally:
            for proxy in system.proxies:
                proxy.heal()

    return fault


def stick(*, seconds: float, then: float) -> Fault:
    """Let requests get stuck while publications still come; what was kept arrives so long after the healing."""

    async def fault(system: System) -> None:
        for proxy in system.proxies:
            proxy.keep_requests()
        await asyncio.sleep(seconds + then)
        for proxy in system.proxies:
            proxy.deliver_requests()

    return fault


def refuse_some(*errors: str, every: int, seconds: float) -> Fault:
    """Answer some of a chat's scripts with these errors, in turn, while those around them run."""

    async def fault(system: System) -> None:
        for proxy in system.proxies:
            proxy.errors, proxy.refuse_every = errors, every
        try:
            await asyncio.sleep(seconds)
        finally:
            for proxy in system.proxies:
                proxy.heal()

    return fault


_BUSY = """
local begun = redis.call('TIME')
repeat
  for number = 1, 1e5 do number = number + 1 end
  local now = redis.call('TIME')
until (now[1] - begun[1]) * 1e6 + now[2] - begun[2] > tonumber(ARGV[1])
"""


def hang_script(seconds: float) -> Fault:
    """Let a script hang, so that Redis answers everything else with BUSY."""

    async def fault(system: System) -> None:
        redis = system.redis.client
        await redis.config_set("busy-reply-threshold", 50)
        await redis.eval(_BUSY, 0, round(seconds * 1e6))

    return fault


async def flush_scripts(system: System) -> None:
    """Let Redis forget the scripts."""
    await system.redis.client.script_flush()


async def flush_all(system: System) -> None:
    """Let Redis forget everything."""
    await system.redis.client.flushall()


def kill(process: ServiceProcess) -> Fault:
    """Kill a service."""

    async def fault(_: System) -> None:
        await process.kill()

    return fault


def stop(process: ServiceProcess, *, within: float) -> Fault:
    """Stop a service as an operator does: it ends with code 0, in time."""

    async def fault(_: System) -> None:
        code, seconds = await process.terminate()
        assert code == 0
        assert seconds < within

    return fault


def hang(process: ServiceProcess, seconds: float) -> Fault:
    """Let a service hang."""

    async def fault(_: System) -> None:
        process.signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            process.signal(signal.SIGCONT)

    return fault


def fill_memory(seconds: float) -> Fault:
    """Let Redis have no room for more."""

    async def fault(system: System) -> None:
        redis = system.redis.client
        await redis.config_set("maxmemory", 1)
        try:
            await asyncio.sleep(seconds)
        finally:
            await redis.config_set("maxmemory", 0)

    return fault
