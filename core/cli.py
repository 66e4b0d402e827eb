"""The console script `live-support`. Services are named by import string: `core` imports none of them."""

import argparse
import os
import pkgutil
import signal
import sys
from collections.abc import Sequence

from core.lifeline import end_with_stdin
from core.settings import PREFIX, Settings, SettingsError
from core.up import service_ports, up

SERVICES = {"chat-server": "api.app:create_app", "subscriber": "subscriber.app:create_app"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the result is the process's exit code, 2 for a wrong setting."""
    options = _parser().parse_args(arguments)
    try:
        settings = Settings.from_env(os.environ)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    if options.command == "up":
        return up(settings)
    if settings.redis_url is None:
        print(f"{PREFIX}REDIS_URL: needed to run one service alone", file=sys.stderr)
        return 2
    if options.end_with_stdin:
        end_with_stdin()
    return _serve(options.command, settings)


def _serve(name: str, settings: Settings) -> int:
    # Not at the top: loading Litestar takes longer than all that `up` and `--help` do.
    from core.service import run_service

    # uvicorn raises the signal again when it has stopped; by default that would look like a crash.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(0))
    return run_service(pkgutil.resolve_name(SERVICES[name]), settings, service_ports(settings)[name])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="live-support",
        description="Live support chat over WebSockets and Redis.",
        epilog=f"Settings are environment variables that begin with {PREFIX}; .env.example lists them.",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, text in {
        "up": f"both services and, without {PREFIX}REDIS_URL, an embedded server; Ctrl-C ends all",
        "chat-server": f"the ChatServer alone: registration and chats ({PREFIX}REDIS_URL needed)",
        "subscriber": f"the Subscriber alone: the agents' queue ({PREFIX}REDIS_URL needed)",
    }.items():
        command = commands.add_parser(name, help=text, description=f"Run {text}.")
        if name in SERVICES:
            command.add_argument("--end-with-stdin", action="store_true", help="stop when standard input closes")
    return parser


if __name__ == "__main__":
    sys.exit(main())
