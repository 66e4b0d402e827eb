"""Server: `live-support up` in a temporary folder, with settings that let a load test in; and the CPU it uses."""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

START_SECONDS = 60
STOP_SECONDS = 30
SETTINGS = {
    "LIVE_SUPPORT_HOST": "127.0.0.1",
    "LIVE_SUPPORT_CHAT_PORT": "0",
    "LIVE_SUPPORT_SUBSCRIBER_PORT": "0",
    "LIVE_SUPPORT_JOIN_RATE": "100000/second",
    "LIVE_SUPPORT_CHAT_JOIN_RATE": "100000/second",
    "LIVE_SUPPORT_MESSAGE_RATE": "10000/second",
    "LIVE_SUPPORT_MAX_CONNECTIONS": "1000000",
}
NAMES = {"chat-server": "ChatServer", "subscriber": "Subscriber", "valkey-server": "Redis", "redis-server": "Redis"}


class ServerError(Exception):
    """Raised when the server cannot be started; the text is the one line that is shown."""


class Server:
    """A running `live-support up`."""

    def __init__(self, process: subprocess.Popen[bytes], urls: dict[str, str]) -> None:
        self.url = urls["chat-server"]
        self.joins_url = urls["subscriber"]
        self._process = process

    def cpu_seconds(self) -> dict[str, float]:
        """How much each part has used so far; nothing where the system has no `/proc`."""
        used: dict[str, float] = {}
        for pid in _descendants(self._process.pid):
            try:
                words = re.split(r"[\0 ]", Path(f"/proc/{pid}/cmdline").read_text("utf-8"))
                # The name in parentheses may hold spaces.
                times = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
            except OSError:
                continue
            for name in {NAMES[base] for word in words if (base := Path(word).name) in NAMES}:
                seconds = (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK")
                used[name] = used.get(name, 0) + seconds  # of several workers
        return used


@contextmanager
def running_server(workers: int) -> Iterator[Server]:
    """Run the server, with so many ChatServers, until the block ends.

    Raises:
        ServerError: it did not start.
    """
    with tempfile.TemporaryDirectory(prefix="live-support-load-") as folder:
        output = Path(folder) / "output"
        with output.open("wb") as file:
            process = subprocess.Popen(  # noqa: S603 - our own command
                [Path(sys.executable).with_name("live-support"), "up", "--workers", str(workers)],
                cwd=folder,
                env={**os.environ, **SETTINGS},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                # Ctrl-C in the terminal is for us.
                start_new_session=True,
            )
        try:
            yield Server(process, _wait_for_urls(process, output))
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_for_urls(process: subprocess.Popen[bytes], output: Path) -> dict[str, str]:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        text = output.read_text("utf-8", "replace")
        urls = dict(re.findall(r"^ +(chat-server|subscriber) +(http://\S+)$", text, re.MULTILINE))
        if len(urls) == 2:
            return urls
        if process.poll() is not None:
            raise ServerError(f"live-support up ended: {' '.join(text.split()[-40:])}")
        time.sleep(0.05)
    raise ServerError(f"live-support up was not ready within {START_SECONDS} s")


def _descendants(pid: int) -> Iterator[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text("utf-8").split()
    except OSError:
        return
    for child in map(int, children):
        yield child
        yield from _descendants(child)
