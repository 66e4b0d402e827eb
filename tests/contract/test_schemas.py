"""What goes over the wire is what the exported schemas say; the seed's examples first of all."""

import inspect
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from jsonschema import Draft202012Validator, FormatChecker
from msgspec import Struct

from schemas import codec, examples, export, messages, registry
from schemas.errors import ErrorCode, InvalidFrame, UnknownType
from schemas.wire_v1 import V1

SEED = Path(__file__).parent.parent / "seed"
USER, SUPPORT, CHAT = "f" * 32, "5" * 32, "c" * 32
NOW = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)

formats = FormatChecker()


@formats.checks("date-time", raises=ValueError)
def is_date_time(value: Any) -> bool:
    """The seed's form of it: UTC with `Z`. The library itself knows the format only with another package."""
    if isinstance(value, str):
        datetime.strptime(value, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    return True


def document(name: str) -> Any:
    return json.loads((export.FOLDER / name).read_text("utf-8"))


def errors(name: str, value: Any) -> list[str]:
    """What an exported schema says against a value."""
    validator = Draft202012Validator(document(f"{name}.schema.json"), format_checker=formats)
    return [error.message for error in validator.iter_errors(value)]


def component_errors(name: str, value: Any) -> list[str]:
    """The same for a struct of the HTTP routes."""
    schemas = document("openapi.chat-server.json")["components"]["schemas"]
    return [error.message for error in Draft202012Validator(schemas[name]).iter_errors(value)]


CLIENT, SERVER = (registry.union(registry.select("chat", direction, version=1)) for direction in ("in", "out"))

# The seed's examples.

SEED_EXAMPLES = {
    "1-registered-user": (examples.REGISTERED_USER, messages.RegisteredUser, None),
    "2-user-join": (examples.USER_JOIN, CLIENT, "chat.client"),
    "2-user-joined": (examples.USER_JOINED, SERVER, "chat.server"),
    "3-join-request": (examples.JOIN_REQUEST, messages.JoinRequest, "joins"),
    "4-support-join": (examples.SUPPORT_JOIN, CLIENT, "chat.client"),
    "4-support-joined": (examples.SUPPORT_JOINED, SERVER, "chat.server"),
    "5-user-message": (examples.USER_MESSAGE, CLIENT, "chat.client"),
    "5-user-echo": (examples.USER_ECHO, SERVER, "chat.server"),
    "6-support-message": (examples.SUPPORT_MESSAGE, CLIENT, "chat.client"),
    "6-support-echo": (examples.SUPPORT_ECHO, SERVER, "chat.server"),
    "7-user-rejoin": (examples.USER_REJOIN, CLIENT, "chat.client"),
    "7-chat-history": (examples.CHAT_HISTORY, SERVER, "chat.server"),
    "8-support-rejoin": (examples.SUPPORT_REJOIN, CLIENT, "chat.client"),
}


def test_every_example_of_the_seed_is_here() -> None:
    assert {path.stem for path in SEED.iterdir()} == set(SEED_EXAMPLES)


@pytest.mark.parametrize("name", SEED_EXAMPLES)
def test_an_example_of_the_seed_decodes_validates_and_comes_back_the_same(name: str) -> None:
    example, type_, schema = SEED_EXAMPLES[name]
    text = (SEED / f"{name}.json").read_text("utf-8")
    if name == "3-join-request":
        # The seed writes dots where ids are.
        text = text.replace('"userId": "..."', f'"userId": "{example["userId"]}"')
        text = text.replace('"chatId": "..."', f'"chatId": "{example["chatId"]}"')
    text = text.replace("tranasfer", "transfer")  # nobody should copy the misspelling from us
    assert json.loads(text) == example
    if schema == "chat.client":
        decoded: Any = V1.decode(text.encode())
    else:
        decoded = msgspec.json.decode(text, type=type_)
    assert json.loads(codec.encode(decoded)) == example
    assert (errors(schema, example) if schema else component_errors("RegisteredUser", example)) == []


@pytest.mark.parametrize(
    ("struct", "example"),
    [
        (struct, example)
        for struct, named in (examples.HTTP_EXAMPLES | examples.MESSAGE_EXAMPLES).items()
        for example in named.values()
    ],
)
def test_a_published_example_is_one(struct: type, example: Any) -> None:
    assert json.loads(codec.encode(msgspec.convert(example, struct))) == example


# What the services write.

JOINED_SUPPORT = messages.SupportJoined(user_id=USER, support_id=SUPPORT, support_user_name="Vika")
STORED = messages.StoredMessage(user_id=USER, content="ü" * 4000, timestamp=NOW, sender="User")
STORED_WITH_AGENT = msgspec.structs.replace(STORED, support_id=SUPPORT, content=" ", sender="Support")
REGISTERED = {"user_id": USER, "username": "N", "chat_id": CHAT}

WRITTEN: list[tuple[str | None, Struct]] = [
    ("chat.client", messages.Join(messages.UserJoin(user_id=USER))),
    ("chat.client", messages.Join(messages.UserJoin(USER, "Nika", SUPPORT, "token"))),
    ("chat.client", messages.Join(messages.SupportJoin(user_id=USER))),
    ("chat.client", messages.Join(messages.SupportJoin(USER, "Nika", "Vika", SUPPORT))),
    ("chat.client", messages.NewChatMessage(messages.NewUserMessage(user_id=USER, content="x"))),
    (
        "chat.client",
        messages.NewChatMessage(
            messages.NewSupportMessage(user_id=USER, support_id=SUPPORT, support_user_name="Vika", content="x")
        ),
    ),
    ("chat.server", messages.Joined(messages.UserJoined(user_id=USER))),
    ("chat.server", messages.Joined(JOINED_SUPPORT)),
    ("chat.server", messages.ChatMessage(STORED)),
    ("chat.server", messages.ChatMessage(STORED_WITH_AGENT)),
    ("chat.server", messages.ChatHistory(messages.ChatHistoryArgs(messages=[]))),
    ("chat.server", messages.ChatHistory(messages.ChatHistoryArgs(messages=[STORED, STORED_WITH_AGENT]))),
    ("chat.server", messages.ChatExpired(messages.ChatExpiredArgs(chat_id=CHAT))),
    ("chat.server", messages.Error(messages.ErrorArgs(code="chat_full", message="Full."))),
    ("joins", messages.Error(messages.ErrorArgs(code="rate_limited", message="Slow.", retry_after_ms=0))),
    ("joins", messages.JoinRequest(user_id=USER, chat_id=CHAT)),
    (None, messages.NewUser(username="N")),
    (None, messages.RegisteredUser(**REGISTERED)),
    (None, messages.RegisteredUserWithToken(**REGISTERED, token="t")),  # noqa: S106
    (None, messages.Problem(status=400, title="Bad Request", detail="No.")),
    (None, messages.Health(status="unavailable", reason="Redis is away.")),
    *(
        (schema, msgspec.convert(example, row.payload))
        for schema, rows in (
            ("chat.client", registry.select("chat", "in", version=1)),
            ("chat.server", registry.select("chat", "out", version=1)),
            ("joins", registry.select("joins", "out", version=1)),
        )
        for row in rows
        for example in examples.MESSAGE_EXAMPLES.get(row.payload, {}).values()
    ),
]


@pytest.mark.parametrize(("schema", "message"), WRITTEN)
def test_an_encoded_message_validates(schema: str | None, message: Struct) -> None:
    value = json.loads(codec.encode(message))
    assert (errors(schema, value) if schema else component_errors(type(message).__name__, value)) == []


def test_every_message_is_among_them() -> None:
    nested = (messages.Message, messages.Args)
    public = {
        struct
        for name, struct in inspect.getmembers(messages, inspect.isclass)
        if issubclass(struct, Struct) and struct is not Struct and struct not in nested and name[0] != "_"
    }
    args = {type(getattr(message, "args", None)) for _, message in WRITTEN}
    assert public == {type(message) for _, message in WRITTEN} | args - {type(None)}


# What is refused.


def changed(example: Any, **args: Any) -> Any:
    """An example with args replaced, or left out where the new value is None."""
    new = {**example["args"], **args}
    return {**example, "args": {key: value for key, value in new.items() if value is not None}}


WRONG_IDS = [USER.upper(), USER[1:], f"{USER}0", f"{USER}\n", "", 7]
REFUSED = [
    *(changed(examples.USER_JOIN, userId=wrong) for wrong in [None, *WRONG_IDS]),
    *(changed(examples.USER_REJOIN, supportId=wrong) for wrong in WRONG_IDS if wrong != ""),  # as if absent
    changed(examples.USER_JOIN, **{"from": "Bot"}),
    changed(examples.USER_JOIN, **{"from": None}),
    changed(examples.USER_MESSAGE, content=None),
    changed(examples.USER_MESSAGE, content=7),
    changed(examples.SUPPORT_MESSAGE, supportId=None),
    {"type": "Join"},
    {"type": "Join", "args": []},
    {"args": examples.USER_JOIN["args"]},
]


@pytest.mark.parametrize("frame", REFUSED)
def test_a_malformed_frame_fails_in_the_schema_and_in_the_decoder(frame: Any) -> None:
    assert errors("chat.client", frame)
    with pytest.raises(InvalidFrame):
        V1.decode(json.dumps(frame).encode())


def test_an_unknown_type_fails_in_the_schema_and_in_the_decoder() -> None:
    frame = {"type": "Leave", "args": {}}
    assert errors("chat.client", frame)
    with pytest.raises(UnknownType):
        V1.decode(json.dumps(frame).encode())


@pytest.mark.parametrize("content", ["", "x" * 4001])
def test_the_schema_knows_how_long_a_message_may_be(content: str) -> None:
    assert errors("chat.client", changed(examples.USER_MESSAGE, content=content))


@pytest.mark.parametrize(
    "message",
    [
        changed(examples.USER_ECHO, timestamp="yesterday"),
        changed(examples.USER_ECHO, timestamp=None),
        changed(examples.SUPPORT_JOINED, supportId=None),
        changed(examples.ERROR, retryAfterMs=-1),
        changed(examples.CHAT_EXPIRED, chatId="..."),
    ],
)
def test_the_schema_refuses_what_the_server_never_sends(message: Any) -> None:
    assert errors("chat.server", message)


def test_a_code_of_a_later_version_is_no_mistake() -> None:
    """Clients must pass over what they do not know; one that is generated from the schemas must not fail at it."""
    assert errors("chat.server", changed(examples.ERROR, code="oops")) == []
    assert errors("joins", changed(examples.ERROR, code="oops")) == []
    assert component_errors("Problem", {**examples.PROBLEM, "code": "oops"}) == []


@pytest.mark.parametrize("schema", ["chat.server", "joins"])
def test_every_code_is_published(schema: str) -> None:
    code = document(f"{schema}.schema.json")["$defs"]["ErrorArgs"]["properties"]["code"]
    assert code["examples"] == list(get_args(ErrorCode))
    assert "enum" not in code


def test_a_key_that_is_not_known_is_ignored() -> None:
    frame = {**changed(examples.USER_JOIN, lastSeq=7), "requestId": "1"}
    assert errors("chat.client", frame) == []
    assert V1.decode(json.dumps(frame).encode()) == messages.Join(
        messages.UserJoin(user_id=frame["args"]["userId"], username="Nika")
    )


@pytest.mark.parametrize("claim", WRONG_IDS[:-1])
def test_a_claim_is_a_bare_id(claim: str) -> None:
    assert errors("joins", USER) == []
    assert errors("joins", claim)
