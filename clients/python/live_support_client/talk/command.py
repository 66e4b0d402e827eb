"""The command `live-support talk`."""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence

from live_support_client._client import ChatClient
from live_support_client._errors import ConnectionLost, LiveSupportError, NotAuthenticated
from live_support_client._joins import JoinsClient
from live_support_client._options import Options
from live_support_client.talk.roles import AgentDesk, Quit, plain, visit
from live_support_client.talk.terminal import Terminal


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command: 0 is a chat that was ended, 1 one that could not be held, 2 a wrong option."""
    options = _parser(os.environ).parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    # However it is ended, what it has changed of the terminal is put back.
    for name in ("SIGTERM", "SIGHUP"):
        if (number := getattr(signal, name, None)) is not None:
            signal.signal(number, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        return asyncio.run(_talk(options))
    except KeyboardInterrupt:
        return 0
    except BrokenPipeError:
        # Nobody reads any more. Else Python would complain when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except NotAuthenticated:
        print("The server wants an agent's token: --token TOKEN, which `live-support token` makes.", file=sys.stderr)
    except ConnectionLost as error:
        print(f"{plain(error)}\nAre the services running? `task up` starts them.", file=sys.stderr)
    except LiveSupportError as error:
        print(plain(error), file=sys.stderr)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    return 1


async def _talk(given: argparse.Namespace) -> int:
    options = Options(trust_env=False) if _is_local(given.url) else Options()
    async with Terminal() as terminal, ChatClient(given.url, options=options) as client:
        try:
            if given.agent is None:
                await visit(terminal, client, given.name)
            else:
                async with JoinsClient(given.joins_url, token=given.token, options=options) as joins:
                    await AgentDesk(terminal, client, joins, given.agent, given.token).work()
        except Quit:
            pass
    return 0


def _is_local(url: str) -> bool:
    """Whether the proxies of the environment are not for this address."""
    return any(url.startswith(f"http://{host}") for host in ("127.", "localhost", "[::1]"))


def _parser(environment: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="live-support talk",
        description="Chat in the terminal: as a visitor, or with --agent as an agent.",
        epilog="The addresses are those of LIVE_SUPPORT_HOST, _CHAT_PORT and _SUBSCRIBER_PORT, unless they are given.",
    )
    host = _host(environment.get("LIVE_SUPPORT_HOST", ""))
    chat_server = f"http://{host}:{environment.get('LIVE_SUPPORT_CHAT_PORT') or '9000'}"
    subscriber = f"http://{host}:{environment.get('LIVE_SUPPORT_SUBSCRIBER_PORT') or '9001'}"
    role = parser.add_mutually_exclusive_group()
    role.add_argument("--name", help="the visitor's name (it is asked for)")
    role.add_argument("--agent", nargs="?", const="Agent", metavar="NAME", help="be an agent of this name")
    parser.add_argument("--url", default=chat_server, help="of the ChatServer (%(default)s)")
    parser.add_argument("--joins-url", default=subscriber, help="of the Subscriber (%(default)s)")
    parser.add_argument("--token", help="the agent's, where the server asks for one")
    return parser


def _host(setting: str) -> str:
    """Return where to reach a service that listens on the addresses of the setting."""
    host = setting.partition(",")[0].strip().strip("[]")
    if host in ("", "0.0.0.0", "*"):  # noqa: S104 - nothing is bound
        return "127.0.0.1"
    host = "::1" if host == "::" else host
    return f"[{host}]" if ":" in host else host
