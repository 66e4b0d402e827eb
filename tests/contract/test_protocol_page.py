"""docs/protocol.md shows every message as it is, and says of every close code what the contract says."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import OTHER_CLOSES, CloseCode
from schemas.examples import CLAIM, HTTP_EXAMPLES, MESSAGE_EXAMPLES
from schemas.messages import Problem

TEXT = (Path(__file__).parent.parent.parent / "docs" / "protocol.md").read_text("utf-8")
MESSAGES = [example for named in MESSAGE_EXAMPLES.values() for example in named.values()]


def shown() -> Iterator[Any]:
    """What stands in the page's JSON blocks, each of which holds one or more values."""
    for block in re.findall(r"^```json\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL):
        rest = block.strip()
        while rest:
            value, end = json.JSONDecoder().raw_decode(rest)
            yield value
            rest = rest[end:].lstrip()


def test_every_message_is_shown_as_it_is_published() -> None:
    assert [message for message in MESSAGES if message not in list(shown())] == []
    assert f"```text\n{CLAIM}\n```" in TEXT


def test_nothing_else_is_shown() -> None:
    assert [value for value in shown() if value not in [*MESSAGES, *HTTP_EXAMPLES[Problem].values()]] == []


ADVICE = {int(code): code.advice for code in CloseCode} | {code: rest[-1] for code, rest in OTHER_CLOSES.items()}


@pytest.mark.parametrize("code", ADVICE)
def test_every_close_code_has_its_advice(code: int) -> None:
    assert re.search(rf"^\| {code} \| [^|]+ \| {re.escape(ADVICE[code])} \|$", TEXT, re.MULTILINE)
