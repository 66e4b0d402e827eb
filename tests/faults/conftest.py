"""The scenarios' options, the system they share, and the table at the end."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.faults.report import Row, table
from tests.faults.scenario import Plan
from tests.faults.system import System
from tests.helpers.services import UNIT

GRACE = 30 * UNIT
"""Shorter than in production, so that a test can wait for its end."""

SETTINGS = {
    "JOIN_RATE": "100000/second",
    "CHAT_JOIN_RATE": "100000/second",
    "MESSAGE_RATE": "1000/second",
    "CHAT_MAX_MESSAGES": "1000000",
    "CHAT_MAX_BYTES": "1000000000",
    "LEAVE_GRACE": str(GRACE),
}

ROWS = pytest.StashKey[list[Row]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("faults", "fault scenarios")
    group.addoption("--seconds", type=float, help="how long each scenario goes on; short versions without")
    group.addoption("--chats", type=int, help="how many chats there are in each")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[ROWS] = []


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    seconds = config.getoption("--seconds", default=None)
    for item in items:
        if seconds and "faults" in item.path.parts:
            item.add_marker(pytest.mark.timeout(3 * seconds + 300))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if rows := config.stash.get(ROWS, []):
        terminalreporter.section("fault scenarios")
        terminalreporter.write_line(table(rows))


@pytest.fixture(scope="session")
def rows(request: pytest.FixtureRequest) -> list[Row]:
    return request.config.stash.setdefault(ROWS, [])


@pytest.fixture(scope="session")
def plan(request: pytest.FixtureRequest) -> Plan:
    seconds = request.config.getoption("--seconds", default=None)
    default = Plan() if seconds is None else Plan(seconds=seconds, chats=50, agents=5, pause=0.5)
    chats = request.config.getoption("--chats", default=None)
    return Plan(seconds=seconds, chats=chats or default.chats, agents=default.agents, pause=default.pause)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    async with System.running(tmp_path_factory.mktemp("system"), settings=SETTINGS) as system:
        yield system
