"""Folders and commands, as somebody has them who runs the system."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.helpers.processes import Up


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A space in the path must not matter."""
    folder = tmp_path / "my chats"
    folder.mkdir()
    return folder


@pytest.fixture
def up(folder: Path) -> Iterator[Callable[..., Up]]:
    """Starts `live-support up` with arguments and settings; whatever still runs at the end is ended."""
    started: list[Up] = []

    def start(*arguments: str, **settings: str) -> Up:
        started.append(Up(folder, *arguments, **settings))
        return started[-1]

    yield start
    for each in started:
        each.end()
