"""`live-support up`: both services and, if no Redis is given, an embedded one, each in a child process."""

import asyncio
import errno
import fcntl
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from core.settings import PREFIX, Settings

DATA_DIR = Path(".live-support")
"""Below the current folder; locked while an embedded server writes to it."""

READY_SECONDS = 30
STOP_SECONDS = 12
"""Longer than a service takes to see its clients off."""

REDIS = "embedded Redis"
PAGES = {"OpenAPI": "/schema", "AsyncAPI": "/asyncapi", "health": "/health"}


class UpError(Exception):
    """Raised when the system cannot start or go on; the text is the one line that is shown."""


def service_ports(settings: Settings) -> dict[str, int]:
    """Each service by the name of its command, and the port set for it."""
    return {"chat-server": settings.chat_port, "subscriber": settings.subscriber_port}


def up(settings: Settings) -> int:
    """Run everything until SIGINT or SIGTERM (exit code 0), or until a part fails (1)."""
    code = 0
    try:
        asyncio.run(_run(settings))
    except* UpError as errors:
        print(f"live-support: {errors.exceptions[0]}", file=sys.stderr)
        code = 1
    return code


async def _run(settings: Settings) -> None:
    children: dict[str, Process] = {}
    work = asyncio.create_task(_start_and_watch(settings, children))
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


async def _start_and_watch(settings: Settings, children: dict[str, Process]) -> None:
    lifeline, _held_until_this_process_ends = os.pipe()
    env = dict(os.environ)
    if settings.redis_url is None:
        env[f"{PREFIX}REDIS_URL"] = await _start_redis(lifeline, children)
    ports = await _free_ports(settings)
    for name, port in ports.items():
        env[_port_variable(name)] = str(port)
    for name in ports:
        children[name] = await _start(lifeline, "core.cli", name, "--end-with-stdin", env=env)
    async with asyncio.TaskGroup() as group:
        for name, child in children.items():
            group.create_task(_watch(name, child))
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104
        await asyncio.gather(*(_ready(name, host, port) for name, port in ports.items()))
        _announce(host, ports, env[f"{PREFIX}REDIS_URL"] if REDIS in children else None)


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


async def _free_ports(settings: Settings) -> dict[str, int]:
    """The port of each service; 0 in the settings becomes one that is free now."""
    loop, ports, probes = asyncio.get_running_loop(), {}, []
    for name, port in service_ports(settings).items():
        try:
            probe = await loop.create_server(asyncio.Protocol, settings.host, port)
        except OSError as error:
            reason = "already in use" if error.errno == errno.EADDRINUSE else error.strerror
            raise UpError(f"{_port_variable(name)}: port {port} on {settings.host}: {reason}") from None
        probes.append(probe)
        ports[name] = probe.sockets[0].getsockname()[1]
    for probe in probes:
        probe.close()
    return ports


def _port_variable(service: str) -> str:
    return PREFIX + {"chat-server": "CHAT_PORT", "subscriber": "SUBSCRIBER_PORT"}[service]


async def _watch(name: str, child: Process) -> None:
    code = await child.wait()
    how = f"exit code {code}" if code >= 0 else signal.Signals(-code).name
    raise UpError(f"{name} ended by itself ({how})")


async def _ready(name: str, host: str, port: int) -> None:
    try:
        async with asyncio.timeout(READY_SECONDS):
            while not await _is_healthy(host, port):  # noqa: ASYNC110 - another process gives no event to wait for
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise UpError(f"{name} was not healthy within {READY_SECONDS} s") from None


async def _is_healthy(host: str, port: int) -> bool:
    try:
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(b"GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n")
        status = await reader.readline()
        writer.close()
    except OSError:
        return False
    return status.split()[1:2] == [b"200"]


def _announce(host: str, ports: dict[str, int], redis_url: str | None) -> None:
    lines = ["Live Support is running; Ctrl-C ends it."]
    for name, port in ports.items():
        base = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        lines += [f"  {name:12} {base}", *(f"    {label:10} {base}{path}" for label, path in PAGES.items())]
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
