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

MOST_WORKERS = 64

SERVICES = {
    "chat-server": ("ChatServer", "api.app:create_app"),
    "subscriber": ("Subscriber", "subscriber.app:create_app"),
}
"""What each command runs: the name of the service, and where it is made."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the result is the process's exit code, 2 for a wrong setting."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if _shares_a_port(options) and sys.platform != "linux":
        parser.error("several processes on one port need Linux: other systems do not spread connections over them")
    try:
        settings = Settings.from_env(os.environ)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    if options.command == "up":
        return up(settings, options.workers)
    if settings.redis_url is None:
        print(f"{PREFIX}REDIS_URL: needed to run one service alone", file=sys.stderr)
        return 2
    if options.end_with_stdin:
        end_with_stdin()
    return _serve(options, settings)


def _shares_a_port(options: argparse.Namespace) -> bool:
    return bool(options.workers > 1 if options.command == "up" else options.share_port)


def _serve(options: argparse.Namespace, settings: Settings) -> int:
    # Not at the top: loading Litestar takes longer than all that `up` and `--help` do.
    from core.service import run_service

    # uvicorn raises the signal again when it has stopped; by default that would look like a crash.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(0))
    name, create_app = SERVICES[options.command]
    return run_service(
        pkgutil.resolve_name(create_app),
        settings,
        service_ports(settings)[options.command],
        name=name,
        share_port=options.share_port,
        worker=options.worker,
        on_ready=_say_ready if options.say_when_ready else None,
    )


def _say_ready() -> None:
    print("ready", flush=True)


def _workers(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= MOST_WORKERS):
        raise argparse.ArgumentTypeError(f"expected a number from 1 to {MOST_WORKERS}, not {text!r}")
    return int(text)


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
        if name == "up":
            command.add_argument(
                "--workers", type=_workers, default=1, metavar="N", help="processes of the ChatServer, on one port"
            )
        else:
            add = command.add_argument
            add("--share-port", action="store_true", help="others may listen on the port that give this option, too")
            add("--worker", type=_workers, metavar="N", help="the number of this process, for its log lines")
            add("--say-when-ready", action="store_true", help="print a line when /health answers 200")
            add("--end-with-stdin", action="store_true", help="stop when standard input closes")
    return parser


if __name__ == "__main__":
    sys.exit(main())
