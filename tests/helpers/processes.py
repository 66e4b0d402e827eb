"""What the tests of the commands speak with: `live-support` as a person runs it, in real processes."""

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from urllib.error import URLError

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from tests.helpers.services import WEBSOCKET, Service, free_port

DEADLINE_SECONDS = 45
"""Generous: it only decides how late a failure shows."""

needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds children by /proc")


class Up:
    """A `live-support up` in a folder, in a process group of its own as a shell would start it."""

    def __init__(self, folder: Path, *arguments: str, **settings: str) -> None:
        self.log = folder / "up.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "live_support.cli.main", "up", *arguments],
                cwd=folder,
                # Not 0: between the choice of a free port and its use another test's connection may take it.
                env=environment(**{"CHAT_PORT": str(free_port()), "SUBSCRIBER_PORT": str(free_port())} | settings),
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def ready(self) -> "Up":
        """Wait for the announcement, which is one write."""
        wait_until(lambda: "Ctrl-C" in self.output or self.process.poll() is not None)
        assert self.process.poll() is None, self.output
        return self

    @property
    def output(self) -> str:
        return self.log.read_text()

    @property
    def complaints(self) -> list[str]:
        return [line for line in self.output.splitlines() if line.startswith("live-support: ")]

    @property
    def health_urls(self) -> list[str]:
        return re.findall(r"health +(http://\S+/health)\n", self.output)

    @property
    def redis_url(self) -> str:
        return str(re.findall(r"embedded Redis (redis://[0-9.:]+)", self.output)[0])

    def interrupt(self) -> int:
        """What Ctrl-C does in a terminal; the result is the exit code."""
        os.killpg(self.process.pid, signal.SIGINT)
        return self.exit_code()

    def exit_code(self) -> int:
        return self.process.wait(DEADLINE_SECONDS)

    def end(self) -> None:
        """End it if it runs."""
        self.process.terminate()
        self.exit_code()

    def nothing_remains(self) -> bool:
        return not any(map(answers, self.health_urls)) and not redis_answers(self.redis_url)


def live_support(command: str, folder: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a command that is expected to end by itself."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "live_support.cli.main", command, *arguments],
        cwd=folder,
        env=environment(**settings),
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )


def environment(**settings: str) -> dict[str, str]:
    """This environment with none but the given settings."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("LIVE_SUPPORT_")}
    return inherited | {f"LIVE_SUPPORT_{name}": value for name, value in {"WEBSOCKET": WEBSOCKET, **settings}.items()}


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def chat_server(system: Up) -> Service:
    return _service(system.health_urls[0])


def subscriber(system: Up) -> Service:
    return _service(system.health_urls[1])


def _service(url: str) -> Service:
    return Service(int(re.findall(r":(\d+)/", url)[0]))


def answers(url: str) -> bool:
    # A proxy that is set in the environment is not for this machine's own addresses.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=5) as response:
            return bool(response.status == 200)
    except (URLError, ConnectionError):
        return False


def redis_answers(url: str) -> bool:
    with closing(Redis.from_url(url)) as redis:
        try:
            return bool(redis.ping())
        except RedisConnectionError:
            return False


def child(parent: int, *arguments: str) -> int:
    """The id of the parent's child that was started with the arguments."""
    for pid, given in children(parent).items():
        if set(arguments) <= set(given):
            return pid
    raise AssertionError(f"{parent} has no child {' '.join(arguments)}")


def children(parent: int) -> dict[int, list[str]]:
    """The ids of a process's children, each with its command line."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            # The parent's id is the second field after the name, which is in parentheses and may hold spaces.
            if int((process / "stat").read_text().rpartition(")")[2].split()[1]) == parent:
                found[int(process.name)] = (process / "cmdline").read_text().split("\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def running() -> list[int]:
    """The ids of all processes."""
    return [int(process.name) for process in Path("/proc").glob("[0-9]*")]


def connections(port: int, processes: Iterable[int]) -> dict[int, int]:
    """Who serves the open connections to a port of 127.0.0.1: the process for each client's port."""
    clients = {inode: client for inode, state, client in _sockets(port) if state == "ESTABLISHED"}
    found = {}
    for process in processes:
        for file in Path(f"/proc/{process}/fd").iterdir():
            try:
                inode = file.readlink().name
            except FileNotFoundError:
                continue
            if inode in clients:
                found[clients[inode]] = process
    return found


def listening(port: int) -> int:
    """How many sockets listen on a port of 127.0.0.1."""
    return [state for _, state, _ in _sockets(port)].count("LISTEN")


def _sockets(port: int) -> Iterator[tuple[str, str, int]]:
    """Of each socket with this local port: the name of its file, its state, and the port of the other end."""
    states = {"01": "ESTABLISHED", "0A": "LISTEN"}
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        local, remote = (int(address.rpartition(":")[2], 16) for address in fields[1:3])
        if local == port:
            yield f"socket:[{fields[9]}]", states.get(fields[3], "other"), remote
