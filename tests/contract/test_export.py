"""The exported files are what the code says, and say so themselves."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from live_support.service.spec import SERVICES
from live_support.settings import Settings
from schemas import export
from schemas.errors import OTHER_CLOSES, CloseCode
from schemas.registry import Channel, Direction, select

FILES = sorted(path.name for path in export.FOLDER.glob("*.json"))


def document(name: str) -> Any:
    return json.loads((export.FOLDER / name).read_text("utf-8"))


def test_the_committed_files_are_what_the_code_says(capsys: pytest.CaptureFixture[str]) -> None:
    assert export.main(["--check"]) == 0, capsys.readouterr().err
    assert set(FILES) == set(export.exported())


ROOT = export.FOLDER.parent
PUBLISHED = [
    *(export.FOLDER / name for name in FILES),
    *(ROOT / "clients" / "python" / "live_support_client").glob("*.py"),
    *(ROOT / "clients" / "web" / "types").glob("*.ts"),
]


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.name)
def test_what_is_published_speaks_to_strangers(path: Path) -> None:
    """They do not know the request that all this began with, and would take its misspelling for ours."""
    assert re.search(r"\bseeds?\b|tranasfer", path.read_text("utf-8"), re.IGNORECASE) is None


@pytest.mark.parametrize("name", FILES)
def test_a_file_says_first_that_it_is_generated(name: str) -> None:
    first, note = next(iter(document(name).items()))
    assert first in ("$comment", "x-generated")
    assert "by `task schemas`; do not edit" in note


def test_the_check_names_what_drifted_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(export, "FOLDER", tmp_path)
    assert export.main(["--check"]) == 1
    assert not list(tmp_path.iterdir())
    assert export.main([]) == 0
    assert export.main(["--check"]) == 0
    drifted = tmp_path / "joins.schema.json"
    drifted.write_text("{}")
    capsys.readouterr()
    assert export.main(["--check"]) == 1
    assert [line.split()[0] for line in capsys.readouterr().err.splitlines()] == ["schemas/joins.schema.json"]
    assert drifted.read_text() == "{}"


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".schema.json")])
def test_a_schema_is_a_schema(name: str) -> None:
    Draft202012Validator.check_schema(document(name))


def test_every_close_code_is_listed_with_what_to_do() -> None:
    codes = document("close-codes.json")
    listed, others = codes["closeCodes"], codes["otherCodes"]
    assert [entry["code"] for entry in listed] == list(CloseCode)
    assert [entry["code"] for entry in others] == list(OTHER_CLOSES)
    assert all(entry["reason"] and entry["advice"] for entry in listed + others)
    assert {entry["code"]: entry["reconnect"] for entry in others}[1006]
    for entry in listed:
        if entry["code"] >= 4000:
            assert entry["reconnect"] == (entry["code"] < 4500)


# The AsyncAPI document.

ASYNCAPIS = [name for name in FILES if name.startswith("asyncapi.")]


@pytest.mark.parametrize("name", ASYNCAPIS)
def test_generators_can_read_it_and_find_a_name_for_everything(name: str) -> None:
    """Those of the AsyncAPI project make nothing of 3.1, and `AnonymousSchema_26` of an enum without a title."""
    assert document(name)["asyncapi"] == "3.0.0"

    def nameless(schema: Any, path: str) -> Iterator[str]:
        if isinstance(schema, dict):
            if ({"enum", "oneOf", "anyOf"} & set(schema)) and "title" not in schema:
                yield path
            for key, value in schema.items():
                yield from nameless(value, f"{path}/{key}")

    assert list(nameless(document(name)["components"]["schemas"], "")) == []
    for channel in document(name)["channels"].values():
        for message in channel["messages"].values():
            assert {"$ref", "title"} & set(message["payload"])


@pytest.mark.parametrize("name", ASYNCAPIS)
def test_no_address_is_said_that_is_not_there(name: str) -> None:
    """Only an installation knows where it is, and where its Redis."""
    for server in document(name)["servers"].values():
        assert server["host"] == "{host}"
    assert document(name)["servers"]["redis"]["variables"]["host"].keys() == {"description"}


@pytest.mark.parametrize("name", ASYNCAPIS)
def test_what_clients_use_comes_first(name: str) -> None:
    operations = document(name)["operations"].values()
    inner = ["joinRequests" in operation["channel"]["$ref"] for operation in operations]
    assert inner == sorted(inner)
    assert not inner[0]
    assert inner[-1]
    assert next(reversed(document(name)["servers"])) == "redis"


def test_join_comes_before_what_needs_it() -> None:
    first, second, *_ = document("asyncapi.json")["operations"]["receiveFromParticipant"]["messages"]
    assert first["$ref"].endswith("/Join")
    assert second["$ref"].endswith("/NewChatMessage")
    messages = document("asyncapi.json")["channels"]["chat"]["messages"]
    assert messages["NewChatMessage"]["title"] == "ChatMessage, as a client sends it"


def test_every_websocket_route_is_described_and_nothing_else() -> None:
    channels = document("asyncapi.json")["channels"].values()
    described = {channel["address"]: channel["servers"] for channel in channels}
    redis = [{"$ref": "#/servers/redis"}]
    routes = {
        route.path_format: [{"$ref": f"#/servers/{key}"}]
        for key, spec in SERVICES.items()
        for route in spec.create(Settings()).app.routes
        if type(route).__name__ == "WebSocketRoute"
    }
    assert described == {**routes, "Join": redis}


def names(channel: Channel, direction: Direction) -> set[str]:
    return {row.name for row in select(channel, direction)}


def test_a_client_sends_what_a_service_receives() -> None:
    operations = document("asyncapi.json")["operations"]
    told = {
        name: (operation["action"], {reference["$ref"].rpartition("/")[2] for reference in operation["messages"]})
        for name, operation in operations.items()
    }
    assert told == {
        "receiveFromParticipant": ("receive", names("chat", "in")),
        "sendToParticipant": ("send", names("chat", "out")),
        "receiveClaim": ("receive", names("joins", "in")),
        "sendToAgent": ("send", names("joins", "out")),
        "publishJoinRequest": ("send", names("redis", "out")),
        "receiveJoinRequest": ("receive", names("redis", "out")),
    }
    assert all(operation["title"] and operation["description"] for operation in operations.values())


def test_a_message_is_described_as_in_the_json_schema() -> None:
    schemas = document("asyncapi.json")["components"]["schemas"]
    exported = {**document("chat.client.schema.json")["$defs"], **document("chat.server.schema.json")["$defs"]}
    for name, schema in exported.items():
        schema.pop("examples", None)  # the document has them at the messages
        assert json.loads(json.dumps(schemas[name]).replace("#/components/schemas/", "#/$defs/")) == schema


def test_the_examples_of_a_message_validate() -> None:
    asyncapi = document("asyncapi.json")
    count = 0
    for channel in asyncapi["channels"].values():
        for message in channel["messages"].values():
            validator = Draft202012Validator({**message["payload"], "components": asyncapi["components"]})
            for example in message["examples"]:
                validator.validate(example["payload"])
                count += 1
    assert count >= 13  # as many as the seed has


def test_every_close_code_is_in_the_description_of_the_chat() -> None:
    description = document("asyncapi.json")["operations"]["sendToParticipant"]["description"]
    for code in CloseCode:
        assert f"| {code.value} | {code.reason} | {code.advice} |" in description
