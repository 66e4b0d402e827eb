"""`live-support up`: both services and, if no Redis is given, an embedded one, each in a child process.

Several ChatServers (`--workers`) share one port: the kernel gives each a part of the connections.
"""

import asyncio
import errno
import fcntl
import os
import signal
import socket
import sys
from asyncio import Server
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from core.settings import PREFIX, Settings

DATA_DIR = Path(".live-support")
"""Below the current folder; locked while an embedded server writes to it."""

READY_SECONDS = 30
START_SECONDS = 2
"""Added for each process: on a single core they start one after the other."""
STOP_SECONDS = 12
"""Longer than a service takes to see its clients off."""

REDIS = "embedded Redis"
PAGES = {"OpenAPI": "/schema", "AsyncAPI": "/asyncapi", "health": "/health"}


class UpError(Exception):
    """Raised when the system cannot start or go on; the text is the one line that is shown."""


def service_ports(settings: Settings) -> dict[str, int]:
    """Each service by the name of its command, and the port set for it."""
    return {"chat-server": settings.chat_port, "subscriber": settings.subscriber_port}


def up(settings: Settings, workers: int) -> int:
    """Run everything, with so many ChatServers, until SIGINT or SIGTERM (exit code 0), or until a part fails (1)."""
    code = 0
    try:
        asyncio.run(_run(settings, workers))
    except* UpError as errors:
        print(f"live-support: {errors.exceptions[0]}", file=sys.stderr)
        code = 1
    return code


async def _run(settings: Settings, workers: int) -> None:
    children: dict[str, Process] = {}
    work = asyncio.create_task(_start_and_watch(settings, workers, children))
    _on_signal(work.cancel)
    try:
        with suppress(asyncio.CancelledError):
            await work
    finally:
        # The services still write to Redis while they see their clients off.
        redis = children.pop(REDIS, None)
        services = list(children.values())
        # A service that is asked twice hastens. Redis is asked once: it saves what it has.
        _on_signal(lambda: _terminate(services))
        await _end(services)
        await _end([redis] if redis else [])


def _on_signal(act: Callable[[], object]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, act)


async def _start_and_watch(settings: Settings, workers: int, children: dict[str, Process]) -> None:
    lifeline, _held_until_this_process_ends = os.pipe()
    env = dict(os.environ)
    if settings.redis_url is None:
        env[f"{PREFIX}REDIS_URL"] = await _start_redis(lifeline, children)
    ports = await _free_ports(settings, workers)
    for name, port in ports.items():
        env[_port_variable(name)] = str(port)
    services = {}
    for name, command in _commands(workers).items():
        arguments = [*command, "--end-with-stdin", "--say-when-ready"]
        children[name] = services[name] = await _start(lifeline, "core.cli", *arguments, stdout=PIPE, env=env)
    async with asyncio.TaskGroup() as group:
        for name, child in children.items():
            group.create_task(_watch(name, child))
        seconds = READY_SECONDS + START_SECONDS * len(services)
        await asyncio.gather(*(_ready(name, child, seconds) for name, child in services.items()))
        _announce(settings.host, ports, workers, env[f"{PREFIX}REDIS_URL"] if REDIS in children else None)


def _commands(workers: int) -> dict[str, list[str]]:
    """What each process of a service is called, and its command."""
    if workers == 1:
        chat_servers = {"chat-server": ["chat-server"]}
    else:
        chat_servers = {
            f"chat-server worker {number}": ["chat-server", "--share-port", "--worker", str(number)]
            for number in range(1, workers + 1)
        }
    return {**chat_servers, "subscriber": ["subscriber"]}


async def _start_redis(lifeline: int, children: dict[str, Process]) -> str:
    folder, lock = _data_folder()
    # The child inherits the lock, so the folder stays closed to others until the server has gone, too.
    child = await _start(lifeline, "core.embedded", str(folder), stdout=PIPE, pass_fds=[lock])
    children[REDIS] = child
    answer = (await child.stdout.readline()).decode().strip() if child.stdout else ""
    if not answer.startswith("redis://"):
        raise UpError(f"{REDIS} did not start: {answer or f'exit code {await child.wait()}'}")
    return answer


def _data_folder() -> tuple[Path, int]:
    DATA_DIR.mkdir(exist_ok=True, mode=0o700)
    folder = DATA_DIR / "valkey"
    folder.mkdir(exist_ok=True)
    lock = os.open(DATA_DIR / "lock", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UpError(f"{DATA_DIR.absolute()} is in use by another `live-support up`") from None
    return folder, lock


async def _start(lifeline: int, module: str, *arguments: str, **options: Any) -> Process:
    # A session of its own keeps a terminal's Ctrl-C from the child: here it is decided who ends when.
    # -P: a folder `core` where the user happens to be is not ours.
    return await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", module, *arguments, stdin=lifeline, start_new_session=True, **options
    )


async def _free_ports(settings: Settings, workers: int) -> dict[str, int]:
    """The port of each service; 0 in the settings becomes one that is free now. One that is to be shared is held."""
    loop, ports, probes = asyncio.get_running_loop(), {}, []
    for name, port in service_ports(settings).items():
        try:
            # Not shared, and listening: so it fails if anybody has the port, be it a shared one.
            probe = await loop.create_server(asyncio.Protocol, settings.host, port)
            probes.append(probe)
            ports[name] = probe.sockets[0].getsockname()[1]
            if name == "chat-server" and workers > 1:
                await _hold(probe, settings.host, ports[name])
        except OSError as error:
            reason = "already in use" if error.errno == errno.EADDRINUSE else error.strerror
            raise UpError(f"{_port_variable(name)}: port {port} on {settings.host}: {reason}") from None
    for probe in probes:
        probe.close()
    return ports


async def _hold(probe: Server, host: str, port: int) -> None:
    """Bind the port of a probe that still listens, for workers to join, so that no other `up` ever finds it free.

    What is bound does not listen: a socket that does, and accepts nothing, would swallow its part of the connections.
    """
    for each in probe.sockets:
        each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    held = await asyncio.get_running_loop().create_server(
        asyncio.Protocol, host, port, reuse_port=True, start_serving=False
    )
    for each in held.sockets:
        # Needed to bind beside what is left of connections that have ended (TIME_WAIT). But two sockets with it may
        # bind one port as long as none listens, and the probe of another `up` is to fail on this one.
        each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        _held_until_this_process_ends = os.dup(each.fileno())
    held.close()


def _port_variable(service: str) -> str:
    return PREFIX + {"chat-server": "CHAT_PORT", "subscriber": "SUBSCRIBER_PORT"}[service]


async def _watch(name: str, child: Process) -> None:
    code = await child.wait()
    how = f"exit code {code}" if code >= 0 else signal.Signals(-code).name
    raise UpError(f"{name} ended by itself ({how})")


async def _ready(name: str, child: Process, seconds: float) -> None:
    # Each says it for itself: to ask over a port that is shared would be to ask any of them.
    assert child.stdout is not None  # noqa: S101 - for the type checker
    try:
        async with asyncio.timeout(seconds):
            said = await child.stdout.readline()
    except TimeoutError:
        raise UpError(f"{name} was not healthy within {seconds:g} s") from None
    if not said:
        await _watch(name, child)


def _announce(host: str, ports: dict[str, int], workers: int, redis_url: str | None) -> None:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    lines = ["Live Support is running; Ctrl-C ends it."]
    for name, port in ports.items():
        base = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        lines += [f"  {name:12} {base}", *(f"    {label:10} {base}{path}" for label, path in PAGES.items())]
        if name == "chat-server" and workers > 1:
            lines.append(f"    {'workers':10} {workers}")
    if redis_url:
        lines.append(f"  {REDIS} {redis_url}, data in {DATA_DIR}")
    print("\n".join(lines), flush=True)


def _terminate(children: Iterable[Process]) -> None:
    for child in children:
        with suppress(ProcessLookupError):
            child.terminate()


async def _end(children: Iterable[Process]) -> None:
    running = [child for child in children if child.returncode is None]
    _terminate(running)
    try:
        async with asyncio.timeout(STOP_SECONDS):
            for child in running:
                await child.wait()
    except TimeoutError:
        for child in running:
            with suppress(ProcessLookupError):
                child.kill()
            await child.wait()
