"""The SDK is what the documents say, and its public face is what it means to show."""

import functools
import json
import shutil
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

import live_support_client
from clients import generate
from live_support_client import _errors

ROOT = Path(__file__).parent.parent.parent
PACKAGE = ROOT / "clients" / "python" / "live_support_client"
CACHED = functools.cache(generate.generated)
GENERATED = ["__init__.py", "_api.py", "_close_codes.py", "_models.py", "_sockets.py"]


@pytest.fixture(autouse=True)
def generated_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """To generate the same files again and again takes seconds each time."""
    monkeypatch.setattr(generate, "generated", CACHED)


def test_the_committed_files_are_what_the_documents_say(capsys: pytest.CaptureFixture[str]) -> None:
    assert generate.main(["--check"]) == 0, capsys.readouterr().err


def test_generating_twice_makes_the_same_files() -> None:
    texts = generate.generated(generate.SCHEMAS)
    assert sorted(texts) == GENERATED
    # In another process, with another order of sets and another locale.
    script = "import json; from clients import generate; print(json.dumps(generate.generated(generate.SCHEMAS)))"
    environment = {"PYTHONHASHSEED": "7", "LC_ALL": "C"}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == texts


@pytest.mark.parametrize("name", GENERATED)
def test_a_generated_file_says_so_first(name: str) -> None:
    assert (PACKAGE / name).read_text("utf-8").partition("\n")[0] == generate.HEADER


def test_the_check_names_what_drifted_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(generate, "TARGET", tmp_path)
    assert generate.main(["--check"]) == 1
    assert not list(tmp_path.iterdir())
    for name in GENERATED:
        shutil.copy(PACKAGE / name, tmp_path)
    (tmp_path / "_models.py").write_text("drifted")
    capsys.readouterr()
    assert generate.main(["--check"]) == 1
    assert "_models.py" in capsys.readouterr().err
    assert (tmp_path / "_models.py").read_text() == "drifted"


def test_a_new_message_type_needs_no_new_template(tmp_path: Path) -> None:
    for path in generate.SCHEMAS.glob("*.json"):
        shutil.copy(path, tmp_path)
    asyncapi = json.loads((tmp_path / "asyncapi.json").read_text("utf-8"))
    for name, operation in (("Typing", "receiveFromParticipant"), ("Seen", "sendToParticipant")):
        asyncapi["components"]["schemas"][name] = {
            "title": name,
            "type": "object",
            "properties": {"type": {"const": name, "type": "string"}, "upToSeq": {"type": "integer"}},
            "required": ["type", "upToSeq"],
        }
        payload = {"$ref": f"#/components/schemas/{name}"}
        asyncapi["channels"]["chat"]["messages"][name] = {
            "name": name,
            "payload": payload,
            "contentType": "application/json",
        }
        asyncapi["operations"][operation]["messages"].append({"$ref": f"#/channels/chat/messages/{name}"})
    (tmp_path / "asyncapi.json").write_text(json.dumps(asyncapi), "utf-8")
    texts = generate.generated(tmp_path)
    assert 'class Typing(Struct, frozen=True, kw_only=True, tag_field="type", tag="Typing"):' in texts["_models.py"]
    assert "up_to_seq: int" in texts["_models.py"]
    for name in ("Seen", "Typing"):
        assert f'"{name}"' in texts["__init__.py"]
    outgoing, _, incoming = texts["_sockets.py"].partition("ChatServerMessage: TypeAlias")
    assert "models.Typing" in outgoing
    assert "models.Seen" in incoming.partition("class ChatSocket")[0]
    assert '"Seen"' in incoming


def test_everything_public_is_exported_and_sorted() -> None:
    assert list(live_support_client.__all__) == sorted(live_support_client.__all__)
    for name in live_support_client.__all__:
        assert hasattr(live_support_client, name)
    private = {"Decoder", "Delays", "Http", "Socket", "Stream"}  # what public things are made of
    for module in ("_chat", "_client", "_errors", "_joins", "_models", "_options"):
        own = import_module(f"live_support_client.{module}")
        public = {
            name
            for name, value in vars(own).items()
            if isinstance(value, type) and value.__module__ == own.__name__ and not name.startswith("_")
        }
        assert public - private <= set(live_support_client.__all__), module


def test_the_tree_of_exceptions_is_what_the_docstring_says() -> None:
    errors = {
        name
        for name, value in vars(_errors).items()
        if isinstance(value, type) and issubclass(value, Exception) and value.__module__ == _errors.__name__
    }
    drawn = {line.replace("│", "").strip("├└─ ").split()[0] for line in str(_errors.__doc__).splitlines()[2:] if line}
    assert drawn == errors


def test_the_distribution_needs_only_three_others() -> None:
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text("utf-8"))["project"]
    assert [need.partition(">")[0] for need in project["dependencies"]] == ["httpx", "msgspec", "websockets"]
    ours = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert (project["version"], project["requires-python"]) == (ours["version"], ours["requires-python"])
