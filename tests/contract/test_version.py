"""One version, in pyproject.toml; the changelog and the published documents have the same."""

import json
import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]


def test_the_changelog_leads_to_this_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    headings = re.findall(r"^## \[?(Unreleased|\d+\.\d+\.\d+)\b", changelog, re.MULTILINE)
    assert headings, "no version in CHANGELOG.md"
    released = [heading for heading in headings if heading != "Unreleased"]
    assert headings in (released, ["Unreleased", *released]), "Unreleased comes first, and once"
    # Before the first release there is only what is to be released.
    assert released[:1] in ([], [VERSION])
    assert released == sorted(released, key=lambda text: [int(part) for part in text.split(".")], reverse=True)


def test_the_installed_project_is_this_version() -> None:
    assert version("live-support") == VERSION, "run `task install`"


@pytest.mark.parametrize("name", ["asyncapi", "openapi.chat-server", "openapi.subscriber"])
def test_a_document_is_of_this_version(name: str) -> None:
    document = json.loads((ROOT / "schemas" / f"{name}.json").read_text("utf-8"))
    assert document["info"]["version"] == VERSION
