"""The documentation speaks of everything that a user can meet."""

import ast
import re
from collections.abc import Iterable
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from live_support.cli.settings_table import generated
from live_support.environment import PREFIX
from live_support.settings import Settings
from live_support.websocket.state import State
from schemas.errors import CloseCode, ErrorCode
from schemas.registry import MESSAGES
from tests.contract.test_layers import MAY_IMPORT

ROOT = Path(__file__).parent.parent.parent
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
TEXT = "\n".join(page.read_text("utf-8") for page in PAGES)


def assert_documented(names: Iterable[object]) -> None:
    """Fail unless some page has every name as a word of its own."""
    words = {name: rf"(?<![\w:-]){re.escape(str(name))}(?![\w-]|:\w)" for name in names}
    missing = [str(name) for name, word in words.items() if not re.search(word, TEXT)]
    assert not missing, f"neither in README.md, CONTRIBUTING.md nor docs/: {', '.join(missing)}"


def test_every_setting_is_documented() -> None:
    fields = msgspec.structs.fields(Settings)
    assert_documented(PREFIX + field.encode_name for field in fields if field.encode_name.isupper())


def test_the_settings_of_the_readme_and_the_example_are_those_of_the_struct() -> None:
    assert {path.name for path, text in generated().items() if path.read_text("utf-8") != text} == set()


def test_the_example_of_the_environment_can_be_used_as_it_is() -> None:
    lines = re.findall(rf"^#({PREFIX}\w+)=(.*)$", (ROOT / ".env.example").read_text("utf-8"), re.MULTILINE)
    env = dict(lines)
    assert len(env) == len(lines) > 30
    # The file of keys is not there, and without it there are no tokens.
    Settings.from_env(
        {name: value for name, value in env.items() if "_JWT_KEY" not in name and "_AUDIENCE" not in name}
    )


def test_every_close_code_is_documented() -> None:
    assert_documented(code.value for code in CloseCode)


def test_every_error_code_is_documented() -> None:
    assert_documented(get_args(ErrorCode))


def test_every_message_type_is_documented() -> None:
    assert_documented({row.type for row in MESSAGES if row.type})


def tasks() -> dict[str, str]:
    """The tasks by name, each with its first line."""
    text = (ROOT / "Taskfile.yml").read_text("utf-8").partition("\ntasks:\n")[2]
    return dict(re.findall(r"^  ([a-z][a-z:-]*):\n    (.*)$", text, re.MULTILINE))


def test_every_task_is_documented() -> None:
    assert_documented(f"task {name}" for name in tasks() if name != "default")


def test_every_task_says_what_it_does() -> None:
    assert [name for name, line in tasks().items() if not line.startswith("desc: ")] == []


def test_links_between_pages_lead_somewhere() -> None:
    broken = []
    for page in [*PAGES, ROOT / "CHANGELOG.md"]:
        for target in re.findall(r"\]\((?!https?:|mailto:)([^)]+)", prose(page)):
            name, _, anchor = target.partition("#")
            path = page.parent / name if name else page
            if not path.exists() or (anchor and anchor not in anchors(path)):
                broken.append(f"{page.relative_to(ROOT)}: {target}")
    assert broken == []


def prose(page: Path) -> str:
    """The text of a page without its blocks of code."""
    return re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """What links to the headings of a page end with, as GitHub makes it."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_is_wrapped_as_the_code_is(page: Path) -> None:
    lines = page.read_text("utf-8").splitlines()
    assert [line for line in lines if len(line) > 120 and not line.startswith("|")] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_files_that_a_page_names_are_there(page: Path) -> None:
    named = re.findall(r"`((?:api|clients|docs|live_support|schemas|subscriber|tests)/[\w./-]+)`", prose(page))
    assert [path for path in named if not (ROOT / path).exists()] == []


DECISIONS = sorted((ROOT / "docs" / "decisions").glob("*.md"))


def test_no_two_decisions_have_one_number() -> None:
    assert [int(page.stem[:4]) for page in DECISIONS] == list(range(1, len(DECISIONS) + 1))


@pytest.mark.parametrize("page", DECISIONS, ids=lambda page: page.stem)
def test_a_decision_says_when_it_was_made_and_whether_it_stands(page: Path) -> None:
    number = int(page.stem[:4])
    assert re.match(
        rf"# {number}\. .+\n\n\*(Accepted|Rejected|Superseded), 20\d\d-\d\d-\d\d\.", page.read_text("utf-8")
    )


def test_each_step_of_the_walks_is_a_function_of_its_file() -> None:
    page = ROOT / "docs" / "architecture.md"
    walks = page.read_text("utf-8").partition("\n## A message\n")[2].partition("\n## States\n")[0]
    steps = re.findall(r"`([\w.]+)`\s+\(\[[\w.]+\]\(([^)]+)\)\)", walks)
    assert len(steps) > 30
    assert [step for step, target in steps if step not in functions(page.parent / target)] == []


def functions(path: Path) -> set[str]:
    """The functions of a module, and the methods of its classes with their class before them."""
    found = set()
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{each.name}" for each in node.body if isinstance(each, FUNCTIONS)}
        elif isinstance(node, FUNCTIONS):
            found.add(node.name)
    return found


def test_the_picture_of_a_connection_has_the_states_of_the_code() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8").partition("\nA **connection**:\n")[2]
    picture = text.partition("```mermaid\n")[2].partition("```")[0]
    assert set(re.findall(r"(?:^ +|--> )(\w+)(?= -->|:|$)", picture, re.MULTILINE)) - {"direction"} == {
        state.name.lower() for state in State
    }


ARROW = re.compile(r"^ *(.+?) (?:--> |-- .* --> )(.+)$", re.MULTILINE)


def test_the_picture_of_the_packages_has_the_arrows_of_the_table() -> None:
    """Those to `schemas` and to the root modules are drawn once, for all of the library."""
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8").partition("\n## Packages\n")[2]
    names = {package.removeprefix("live_support."): package for package in MAY_IMPORT} | {"root": "live_support"}
    names["live_support"] = "live_support.*"

    def ends(side: str) -> list[str]:
        return [names[re.sub(r"\[.*\]", "", name).strip()] for name in side.split("&")]

    arrows = ARROW.findall(text.partition("```mermaid\n")[2].partition("```")[0])
    drawn = {(one, other) for left, right in arrows for one in ends(left) for other in ends(right)}
    assert drawn == {
        (package, other) for package, others in MAY_IMPORT.items() for other in others - {"live_support", "schemas"}
    } | {("live_support.*", "schemas")}


def test_every_event_of_the_logs_is_documented() -> None:
    sources = [
        path.read_text("utf-8")
        for folder in ("api", "live_support", "subscriber")
        for path in (ROOT / folder).rglob("*.py")
    ]
    calls = re.findall(r"log\.(?:info|warning|error|exception)\(([^)]*)", "\n".join(sources))
    events = {event for call in calls for event in re.findall(r'"([a-z]+(?:_[a-z]+)+|stopping)"', call)}
    assert "redis_back" in events
    assert_documented(events)


def test_a_scenario_is_run_by_its_name_in_the_results() -> None:
    results = (ROOT / "docs" / "reliability-results.md").read_text("utf-8").partition("\n## ")[0]
    names = re.findall(r"^\| (F\d+[a-z]?) \|", results, re.MULTILINE)
    assert len(names) > 20
    sources = "".join(path.read_text("utf-8") for path in (ROOT / "tests" / "faults").glob("test_*.py"))
    assert [name for name in names if f"def test_{name.lower()}_" not in sources] == []


def test_what_is_to_be_typed_works_for_who_has_only_task() -> None:
    """The README installs `task`, and no `pytest` that a shell would find."""
    assert re.findall(r"(?:^|`)pytest .*", TEXT, re.MULTILINE) == []
