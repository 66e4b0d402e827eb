"""The console script `live-support`. Services are named by import string: `live_support` imports none of them."""

import argparse
import os
import pkgutil
import re
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import version
from typing import NoReturn

from live_support.cli.lifeline import end_with_stdin
from live_support.cli.process import complain, exit_on, handle_signals, ignore, open_standard_streams, say
from live_support.cli.settings_table import settings_table
from live_support.cli.up import up
from live_support.environment import PREFIX, did_you_mean
from live_support.service.spec import SERVICES
from live_support.settings import Settings, SettingsError

MAX_WORKERS = 64
MAX_MINUTES = 525_600
"""A year, for a token."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the result is the process's exit code, 2 for a wrong setting."""
    open_standard_streams()
    try:
        return _run(_parser(), arguments)
    finally:
        # Output that is no longer read, as behind `| head`, is not an error.
        with suppress(BrokenPipeError):
            sys.stdout.flush()


def _run(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> int:
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["talk"]:
        return _talk(given[1:])
    options = parser.parse_args(given)
    if options.command == "settings":
        say(settings_table())
        return 0
    if _shares_a_port(options) and sys.platform != "linux":
        parser.error("several processes on one port need Linux: other systems do not spread connections over them")
    try:
        settings = Settings.from_env(os.environ)
        if options.command == "token":
            say(_token(options, settings))
            return 0
        if options.command != "up" and settings.redis_url is None:
            raise SettingsError(f"{PREFIX}REDIS_URL: needed to run one service alone")
    except SettingsError as error:
        complain(str(error))
        return 2
    if options.command == "up":
        return up(settings, options.workers)
    if options.end_with_stdin:
        end_with_stdin()
    return _serve(options, settings)


def _talk(arguments: Sequence[str]) -> int:
    # The client is a separate distribution, which a server does not need.
    try:
        talk = pkgutil.resolve_name("live_support_client.talk.command:main")
    except ModuleNotFoundError:
        complain("live-support talk: needs the Python client; install live-support-client (clients/python)")
        return 2
    return int(talk(arguments))


def _shares_a_port(options: argparse.Namespace) -> bool:
    return bool(getattr(options, "workers", 1) > 1 or getattr(options, "share_port", False))


def _serve(options: argparse.Namespace, settings: Settings) -> int:
    # Not at the top: loading Litestar takes longer than `up` and `--help` take in all.
    from live_support.service.server import run_service

    handle_signals()
    # uvicorn raises the signal again when it has stopped; by default that would look like a crash.
    exit_on(signal.SIGINT, signal.SIGTERM)
    exit_code = run_service(
        SERVICES[options.command],
        settings,
        share_port=options.share_port,
        worker=options.worker,
        on_ready=_say_ready if options.say_when_ready else None,
    )
    ignore(signal.SIGINT, signal.SIGTERM)  # it ends anyway
    return exit_code


def _say_ready() -> None:
    say("ready")


def _token(options: argparse.Namespace, settings: Settings) -> str:
    # Not at the top, as above.
    from live_support.agents.auth import make_token

    return make_token(settings, name=options.name, subject=options.sub or options.name, minutes=options.minutes)


def _workers(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= MAX_WORKERS):
        raise argparse.ArgumentTypeError(f"expected a number from 1 to {MAX_WORKERS}, not {text!r}")
    return int(text)


def _minutes(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= MAX_MINUTES):
        raise argparse.ArgumentTypeError(f"expected a number from 1 to {MAX_MINUTES}, not {text!r}")
    return int(text)


class _Parser(argparse.ArgumentParser):
    """An argument parser that suggests a similar command for an unknown one."""

    def error(self, message: str) -> NoReturn:
        if match := re.search(r"invalid choice: '(.*?)'", message):
            message = f"unknown command {match[1]!r}{did_you_mean(match[1], COMMANDS)}"
        super().error(message)


COMMANDS = {
    "up": f"both services and, without {PREFIX}REDIS_URL, an embedded server; Ctrl-C ends all",
    "chat-server": f"the ChatServer alone: registration and chats ({PREFIX}REDIS_URL needed)",
    "subscriber": f"the Subscriber alone: the agents' queue ({PREFIX}REDIS_URL needed)",
    "talk": "chat in the terminal, as a visitor or as an agent; needs the Python client",
    "settings": "list the settings, each with its default and meaning",
    "token": f"make an agent's token for a first try, with {PREFIX}AGENT_JWT_SECRET",
}


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="live-support",
        description="Live support chat over WebSockets and Redis.",
        epilog=f"Settings are environment variables that begin with {PREFIX}; `live-support settings` lists them.",
    )
    parser.add_argument("--version", action="version", version=f"live-support {version('live-support')}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, text in COMMANDS.items():
        described = f"Run {text}." if name in ("up", *SERVICES) else f"{text[0].upper()}{text[1:]}."
        add = commands.add_parser(name, help=text, description=described).add_argument
        if name == "up":
            add("--workers", type=_workers, default=1, metavar="N", help="processes of the ChatServer, on one port")
        elif name == "token":
            add("--name", required=True, help="what users see")
            add("--sub", help="who the agent is, for the server; the same each time (default: the name)")
            add("--minutes", type=_minutes, default=60, metavar="N", help="how long it is valid (default: 60)")
        elif name in SERVICES:
            add("--share-port", action="store_true", help="others may listen on the port that give this option, too")
            add("--worker", type=_workers, metavar="N", help="the number of this process, for its log lines")
            # For `up`, which starts the services as its children.
            add("--say-when-ready", action="store_true", help=argparse.SUPPRESS)
            add("--end-with-stdin", action="store_true", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
