"""The exported files are what the code says, and say so themselves."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

import api.app
import subscriber.app
from core.settings import Settings
from schemas import export
from schemas.errors import CloseCode

FILES = sorted(path.name for path in export.FOLDER.glob("*.json"))


def document(name: str) -> Any:
    return json.loads((export.FOLDER / name).read_text("utf-8"))


def test_the_committed_files_are_what_the_code_says(capsys: pytest.CaptureFixture[str]) -> None:
    assert export.main(["--check"]) == 0, capsys.readouterr().err
    assert set(FILES) == set(export.exported())


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
    listed = document("close-codes.json")["closeCodes"]
    assert [entry["code"] for entry in listed] == list(CloseCode)
    for entry in listed:
        if entry["code"] >= 4000:
            assert entry["reconnect"] == (entry["code"] < 4500)


# The AsyncAPI document.


def test_every_websocket_route_is_described_and_nothing_else() -> None:
    channels = document("asyncapi.json")["channels"].values()
    described = {channel["address"]: channel["servers"] for channel in channels}
    redis = [{"$ref": "#/servers/redis"}]
    routes = {
        route.path_format: [{"$ref": f"#/servers/{key}"}]
        for key, create_app in (("chat-server", api.app.create_app), ("subscriber", subscriber.app.create_app))
        for route in create_app(Settings()).routes
        if type(route).__name__ == "WebSocketRoute"
    }
    assert described == {**routes, "Join": redis}


def test_a_client_sends_what_a_service_receives() -> None:
    operations = document("asyncapi.json")["operations"]
    told = {
        name: (operation["action"], {reference["$ref"].rpartition("/")[2] for reference in operation["messages"]})
        for name, operation in operations.items()
    }
    assert told == {
        "receiveFromParticipant": ("receive", {"Join", "NewChatMessage"}),
        "sendToParticipant": ("send", {"Joined", "ChatMessage", "ChatHistory", "ChatExpired", "Error"}),
        "receiveClaim": ("receive", {"Claim"}),
        "sendToAgent": ("send", {"JoinRequest", "Error"}),
        "publishJoinRequest": ("send", {"JoinRequest"}),
        "receiveJoinRequest": ("receive", {"JoinRequest"}),
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
        assert f"| {code.value} | {code.reason} |" in description
