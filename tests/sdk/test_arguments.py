"""Whatever is passed in: it is sent and answered, or refused before anything is sent. Nothing hangs afterwards."""

import asyncio
import unicodedata
from typing import Any

import pytest
from hypothesis import strategies as st

from live_support_client import (
    Chat,
    ChatClient,
    InvalidInput,
    JoinRequest,
    JoinsClient,
    NotWaiting,
    RegisteredUser,
    TooLarge,
)
from tests.helpers.sdk import request_of, user_chat
from tests.helpers.services import DEADLINE
from tests.sdk.conftest import for_all

ID = "0" * 32
WRONG_TYPES: list[Any] = [None, 5, 1.5, True, b"Hey", bytearray(b"Hey"), ["Hey"], {"a"}, str, RegisteredUser]

texts = st.text(st.characters(), max_size=50)  # with halves of surrogate pairs
anything = (
    texts
    | st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.binary(max_size=40)
    | st.lists(texts, max_size=3)
    | st.dictionaries(texts, texts, max_size=2)
)
hex_digits = st.text('0123456789abcdefABCDEF-{}" \n', min_size=0, max_size=40)


async def still_works(chat: Chat) -> None:
    assert (await chat.send("still here")).content == "still here"


async def test_half_a_surrogate_pair_is_refused_and_nothing_else(client: ChatClient) -> None:
    async with user_chat(client) as chat, asyncio.timeout(DEADLINE):
        for text in ("broken emoji \ud83d", "\ude00", "\ud83d \ude00", "a\udfffb", "\udc80"):
            with pytest.raises(InvalidInput, match="surrogate"):
                await chat.send(text)
            await still_works(chat)


async def test_what_is_no_text_is_a_type_error(client: ChatClient) -> None:
    async with user_chat(client) as chat, asyncio.timeout(DEADLINE):
        for value in WRONG_TYPES:
            with pytest.raises(TypeError):
                await chat.send(value)
            await still_works(chat)


async def test_what_is_too_long_is_refused_and_the_chat_goes_on(client: ChatClient) -> None:
    longs = ["a" * 4001, "a" * 16_001, "a" * 70_000, "\U0001f600" * 20_000, "\x01" * 15_000, "e\u0301" * 4001]
    async with user_chat(client) as chat, asyncio.timeout(DEADLINE):
        for text in longs:
            with pytest.raises((TooLarge, InvalidInput)):
                await chat.send(text)
            await still_works(chat)


async def test_what_is_just_not_too_long_is_stored(client: ChatClient) -> None:
    async with user_chat(client) as chat, asyncio.timeout(DEADLINE):
        for text in ("\U0001f600" * 4000, "e\u0301" * 4000, "\u1112\u1161\u11ab" * 4000, '"\\' * 2000):
            assert (await chat.send(text)).content == unicodedata.normalize("NFC", text)


@pytest.mark.hypothesis
async def test_any_content_is_answered(client: ChatClient) -> None:
    async def check(value: Any) -> None:
        async with asyncio.timeout(DEADLINE):
            try:
                stored = await chat.send(value)
            except TypeError:
                assert not isinstance(value, str)
            except InvalidInput:
                assert isinstance(value, str)
            else:
                assert stored.content == unicodedata.normalize("NFC", value.replace("\r\n", "\n").replace("\r", "\n"))
            await still_works(chat)

    async with user_chat(client) as chat:
        await for_all(check, anything)


NO_IDS = [
    "rubbish",
    "",
    "-",
    " ",
    "A" * 32,
    "0" * 31,
    "0" * 33,
    "0" * 100_000,
    f'"{ID}"',
    f"{ID}\n",
    "0" * 31 + "\u0660",
    "00000000-0000-0000-0000-000000000000",
    "\ud83d" * 32,
]


async def test_a_claim_of_what_is_no_id_is_refused_before_it_is_sent(client: ChatClient, joins: JoinsClient) -> None:
    async with user_chat(client) as chat, asyncio.timeout(DEADLINE):
        for value in NO_IDS:
            for claim in (value, JoinRequest(participant="User", user_id=value, chat_id=ID)):
                with pytest.raises(InvalidInput):
                    await joins.claim(claim)
            with pytest.raises(NotWaiting):
                await joins.claim(ID)
        await joins.claim(request_of(chat))


async def test_a_claim_of_another_type_is_a_type_error(joins: JoinsClient) -> None:
    values: list[Any] = [*WRONG_TYPES, ID.encode(), RegisteredUser(user_id=ID, username="", chat_id=ID)]
    async with asyncio.timeout(DEADLINE):
        for value in values:
            with pytest.raises(TypeError):
                await joins.claim(value)
            with pytest.raises(NotWaiting):
                await joins.claim(ID)


@pytest.mark.hypothesis
async def test_any_claim_is_settled_by_its_own_answer(client: ChatClient, joins: JoinsClient) -> None:
    async def check(values: list[Any]) -> None:
        async with asyncio.timeout(DEADLINE):
            answers = await asyncio.gather(*map(joins.claim, values), return_exceptions=True)
            for answer in answers:
                assert isinstance(answer, TypeError | InvalidInput | NotWaiting)
            async with user_chat(client) as chat:
                await joins.claim(request_of(chat))

    await for_all(check, st.lists(anything | hex_digits | st.just(ID), max_size=4), examples=40)


NAMES = ["", "a" * 65, "a" * 10_000, "a" * 1_000_000, "\ud83d", "\x07", "\u202e"]


async def test_a_name_that_is_none_is_invalid_input(client: ChatClient) -> None:
    for name in NAMES:
        for attempt in (client.register, client.create_user):
            with pytest.raises(InvalidInput):
                await attempt(name)


@pytest.mark.hypothesis
async def test_any_name_is_registered_or_refused(client: ChatClient) -> None:
    async def check(name: Any) -> None:
        for attempt in (client.register, client.create_user):
            try:
                user = await attempt(name)
            except TypeError:
                assert not isinstance(name, str)
            except InvalidInput:
                assert isinstance(name, str)
            else:
                assert user.username == unicodedata.normalize("NFC", name).strip()

    await for_all(check, anything, examples=50)


@pytest.mark.parametrize("value", [*WRONG_TYPES, "nonsense", "", "A" * 32, "\ud83d"], ids=ascii)
def test_a_chat_of_what_is_no_id_is_refused_at_once(value: Any) -> None:
    client = ChatClient("http://localhost:9000")
    request = JoinRequest(participant="User", user_id=ID, chat_id=ID)
    wrong = (TypeError, InvalidInput)
    with pytest.raises(wrong):
        client.chat(RegisteredUser(user_id=ID, username="Nika", chat_id=value))
    with pytest.raises(wrong):
        client.chat(RegisteredUser(user_id=value, username="Nika", chat_id=ID))
    with pytest.raises(wrong):
        client.support_chat(JoinRequest(participant="User", user_id=ID, chat_id=value), name="Vika")
    with pytest.raises(wrong):
        client.support_chat(JoinRequest(participant="User", user_id=value, chat_id=ID), name="Vika")
    if value is not None:
        with pytest.raises(wrong):
            client.support_chat(request, name="Vika", support_id=value)
    with pytest.raises(TypeError):
        client.chat(value)
    with pytest.raises(TypeError):
        client.support_chat(value, name="Vika")


@pytest.mark.parametrize("name", [*WRONG_TYPES, "", "a" * 1000, "\ud83d"], ids=lambda name: ascii(name)[:20])
def test_an_agents_name_that_is_none_is_refused_at_once(name: Any) -> None:
    request = JoinRequest(participant="User", user_id=ID, chat_id=ID)
    with pytest.raises((TypeError, InvalidInput)):
        ChatClient("http://localhost:9000").support_chat(request, name=name)


@pytest.mark.parametrize(
    "url", ["", "localhost:9000", "ftp://localhost", "http://", "http://:9000", "http://a:b", "http://a?b"]
)
def test_what_is_no_address_is_a_value_error(url: str) -> None:
    for kind in (ChatClient, JoinsClient):
        with pytest.raises(ValueError, match=r"URL|[Pp]ort"):
            kind(url)
