"""The examples of the SDK's README run."""

import ast
import asyncio
import inspect
import re
from pathlib import Path
from types import CodeType

import pytest

from tests.support import DEADLINE, Service

README = Path(__file__).parent.parent.parent / "clients" / "python" / "README.md"
USER, AGENT, MESSAGES, OPTIONS, ERRORS = re.findall(r"^```python\n(.*?)^```$", README.read_text("utf-8"), re.M | re.S)


@pytest.fixture
def addresses(
    chat_server: Service, subscriber_service: Service, monkeypatch: pytest.MonkeyPatch
) -> list[tuple[str, str]]:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return [("http://localhost:9000", chat_server.http), ("http://localhost:9001", subscriber_service.http)]


async def run(example: str, addresses: list[tuple[str, str]]) -> None:
    for documented, actual in addresses:
        example = example.replace(documented, actual)
    code: CodeType = compile(example, str(README), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    result = eval(code, {})  # noqa: S307
    if inspect.isawaitable(result):
        async with asyncio.timeout(DEADLINE):
            await result


async def test_a_user_and_an_agent_talk(addresses: list[tuple[str, str]], capsys: pytest.CaptureFixture[str]) -> None:
    await asyncio.gather(run(USER, addresses), run(AGENT, addresses))
    assert "Support: Hello, please navigate to Transfer :)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("example", "output"),
    [(MESSAGES, "User: Hey"), (OPTIONS, "ok"), (ERRORS, "too_large A message has at most 4000 characters.")],
    ids=["messages", "options", "errors"],
)
async def test_an_example_runs(
    example: str, output: str, addresses: list[tuple[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    await run(example, addresses)
    assert output in capsys.readouterr().out.splitlines()
