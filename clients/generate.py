"""Generates the Python SDK from the published documents: `python clients/generate.py [--check]`.

It reads `schemas/*.json` and nothing else of ours, so whatever the SDK can do, the documents say. The models come from
datamodel-code-generator; the HTTP calls, the sockets and the close codes from the templates beside this file.
docs/decisions/0006-sdk-generator.md says why.
"""

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from datamodel_code_generator import InputFileType, LiteralType, generate
from datamodel_code_generator.enums import DataModelType
from datamodel_code_generator.format import DatetimeClassType, PythonVersion
from jinja2 import Environment, FileSystemLoader, StrictUndefined

ROOT = Path(__file__).parent.parent
SCHEMAS = ROOT / "schemas"
TARGET = ROOT / "clients" / "python" / "live_support_client"
HEADER = "# Generated from schemas/*.json by `task sdk`; do not edit."

# What the wire calls `from` is a keyword of Python.
NAMES = {"from": "sender"}

Json = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the files or, with `--check`, only name those that are not what would be written."""
    parser = argparse.ArgumentParser(prog="clients/generate.py", description="Generate the Python SDK.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a file has drifted")
    check = parser.parse_args(arguments).check
    drifted = {name: text for name, text in generated(SCHEMAS).items() if _read(TARGET / name) != text}
    for name, text in drifted.items():
        if check:
            print(f"live_support_client/{name} is not what schemas/*.json say: run `task sdk`", file=sys.stderr)
        else:
            (TARGET / name).write_text(text, "utf-8")
            print(f"live_support_client/{name} written")
    return 1 if check and drifted else 0


def generated(schemas: Path) -> dict[str, str]:
    """Make the text of every generated file, by its name."""
    asyncapi = _load(schemas / "asyncapi.json")
    openapis = [_load(path) for path in sorted(schemas.glob("openapi.*.json"))]
    channels = list(_channels(asyncapi))
    definitions = _definitions([asyncapi, *openapis])
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # noqa: S701 - it writes Python, not HTML
    )
    environment.filters["snake"] = _snake
    environment.filters["as_f_string"] = _as_f_string
    context = {
        "header": HEADER,
        "channels": channels,
        "definitions": definitions,
        "services": [_service(document) for document in openapis],
        "close_codes": _load(schemas / "close-codes.json")["closeCodes"],
    }
    texts = {
        name: environment.get_template(f"{name}.jinja").render(context)
        for name in ("__init__.py", "_api.py", "_close_codes.py", "_sockets.py")
    }
    texts["_models.py"] = _models(definitions, channels)
    return {name: _formatted(text) for name, text in texts.items()}


def _load(path: Path) -> Json:
    document: Json = json.loads(path.read_text("utf-8"))
    return document


def _read(path: Path) -> str | None:
    return path.read_text("utf-8") if path.exists() else None


# Models.


def _models(definitions: Mapping[str, Json], channels: Sequence[Json]) -> str:
    unions = {
        part["name"]: {"oneOf": [{"$ref": f"#/components/schemas/{name}"} for name in part["members"]]}
        for channel in channels
        for direction in ("incoming", "outgoing")
        for part in channel[direction]["unions"]
        if len(part["members"]) > 1
    }
    document = {
        "openapi": "3.1.0",
        "info": {"title": "models", "version": "0"},
        "paths": {},
        "components": {"schemas": {**definitions, **unions}},
    }
    text = generate(
        json.dumps(document),
        input_file_type=InputFileType.OpenAPI,
        output_model_type=DataModelType.MsgspecStruct,
        target_python_version=PythonVersion.PY_311,
        aliases=NAMES,
        custom_file_header=f'{HEADER}\n"""What goes over the wire, as typed structs."""\n',
        disable_future_imports=True,
        enum_field_as_literal=LiteralType.All,
        formatters=[],
        keyword_only=True,
        output_datetime_class=DatetimeClassType.Datetime,
        snake_case_field=True,
        use_annotated=True,
        use_msgspec_tagged_unions=True,
        use_schema_description=True,
        use_single_line_docstring=True,
    )
    # One message reaches both `send` and the iteration. The generator can freeze dataclasses, but not structs.
    return str(text).replace("(Struct, ", "(Struct, frozen=True, ")


def _definitions(documents: Sequence[Json]) -> dict[str, Json]:
    """Collect the schemas of all documents, as the client needs them."""
    definitions: dict[str, Json] = {}
    for document in documents:
        for name, schema in document["components"]["schemas"].items():
            relaxed = _relaxed(schema)
            if definitions.setdefault(name, relaxed) != relaxed:
                raise ValueError(f"the documents differ in what they call {name}")
    return dict(sorted(definitions.items()))


def _relaxed(schema: Json) -> Json:
    """Leave out what a receiver need not check.

    A pattern is the one constraint that Python's `re` checks, which makes decoding three times slower. Examples are for
    readers of the documents.
    """
    properties = {
        key: {word: value for word, value in property_.items() if word not in ("pattern", "examples", "title")}
        for key, property_ in schema["properties"].items()
    }
    return {**{key: value for key, value in schema.items() if key != "examples"}, "properties": properties}


# Channels of the AsyncAPI document.


def _channels(asyncapi: Json) -> Iterator[Json]:
    """Describe each WebSocket: its address, and what goes either way."""
    for key, channel in sorted(asyncapi["channels"].items()):
        servers = [_resolved(asyncapi, reference) for reference in channel["servers"]]
        if any(server["protocol"] not in ("ws", "wss") for server in servers):
            continue  # between the services
        operations = [
            operation
            for operation in asyncapi["operations"].values()
            if operation["channel"]["$ref"] == f"#/channels/{key}"
        ]
        name = _pascal(key)
        yield {
            "name": name,
            "address": channel["address"],
            "parameters": channel.get("parameters", {}),
            "service": servers[0]["title"],
            # The document speaks for the server: what it receives is what a client sends.
            "outgoing": _direction(asyncapi, f"{name}ClientMessage", operations, "receive"),
            "incoming": _direction(asyncapi, f"{name}ServerMessage", operations, "send"),
        }


def _direction(asyncapi: Json, name: str, operations: Sequence[Json], action: str) -> Json:
    chosen = [operation for operation in operations if operation["action"] == action]
    messages = [_resolved(asyncapi, reference) for operation in chosen for reference in operation["messages"]]
    json_messages = [message for message in messages if message["contentType"] == "application/json"]
    if action == "send" and len(json_messages) < len(messages):
        raise ValueError(f"{name}: only a client may send what is no JSON")
    structs = sorted(message["payload"]["$ref"].rpartition("/")[2] for message in json_messages)
    return {
        "name": name,
        "title": " ".join(operation["title"] for operation in chosen),
        "structs": structs,
        "texts": sorted(message["name"] for message in messages if message not in json_messages),
        "unions": list(_unions(asyncapi["components"]["schemas"], name, structs)),
    }


def _unions(schemas: Mapping[str, Json], name: str, structs: Sequence[str]) -> Iterator[Json]:
    """Split messages into unions that one decoder can tell apart: those with the same key that holds a constant.

    A `JoinRequest` comes bare and has no `type`, so /joins needs two decoders.
    """
    by_tag: dict[str, list[str]] = {}
    for struct in structs:
        tag = next((key for key, value in schemas[struct]["properties"].items() if "const" in value), "")
        by_tag.setdefault(tag, []).append(struct)
    for tag, members in sorted(by_tag.items(), reverse=True):
        yield {
            "name": name if len(by_tag) == 1 else f"{name}{_pascal(tag)}",
            "tag": tag,
            "members": members,
            "tags": [schemas[member]["properties"][tag]["const"] for member in members],
        }


# Operations of an OpenAPI document.


def _service(openapi: Json) -> Json:
    operations = [
        _operation(method, path, operation)
        for path, methods in sorted(openapi["paths"].items())
        for method, operation in sorted(methods.items())
    ]
    return {"name": openapi["info"]["title"], "operations": operations}


def _operation(method: str, path: str, operation: Json) -> Json:
    answers = {
        int(status): response["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
        for status, response in operation["responses"].items()
        if "application/json" in response.get("content", {})
    }
    body = operation.get("requestBody", {}).get("content", {}).get("application/json")
    return {
        "name": _snake(operation["operationId"]),
        "method": method.upper(),
        "path": path,
        "summary": operation["summary"],
        "description": operation["description"],
        "parameters": [parameter["name"] for parameter in operation.get("parameters", []) if parameter["in"] == "path"],
        "body": body["schema"]["$ref"].rpartition("/")[2] if body else None,
        "answers": answers,
    }


# Text.


def _resolved(document: Json, reference: Json) -> Json:
    for part in reference["$ref"].removeprefix("#/").split("/"):
        document = document[part]
    return document if "$ref" not in document else _resolved(document, document)


def _pascal(name: str) -> str:
    return name[:1].upper() + name[1:]


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _as_f_string(path: str) -> str:
    """`/chat/{chatId}` as the body of an f-string that escapes what it puts in."""
    return re.sub(r"\{(\w+)\}", lambda match: f"{{segment({_snake(match[1])})}}", path)


def _formatted(text: str) -> str:
    """Sort the imports, drop those that a template did not need after all, and format."""
    # The name is for ruff to find its settings; nothing is read from there.
    ruff = [sys.executable, "-m", "ruff"]
    name = ["--stdin-filename", str(TARGET / "_generated.py"), "-"]
    for command in (["check", "--fix", "--quiet", "--select", "F401,F541,I,UP"], ["format", "--quiet"]):
        done = subprocess.run([*ruff, *command, *name], input=text, capture_output=True, encoding="utf-8", check=True)  # noqa: S603
        text = done.stdout
    return text


if __name__ == "__main__":
    sys.exit(main())
