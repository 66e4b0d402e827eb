"""Who may import whom. An arrow that is not here is a decision to be made, not a line to be added."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
OURS = {"api", "clients", "core", "schemas", "subscriber", "tests"}
MAY_IMPORT = {
    "schemas": {"schemas"},
    "core": {"core", "schemas"},
    "api": {"api", "core", "schemas"},
    "subscriber": {"subscriber", "core", "schemas"},
    # What others build on is the exported files, so the clients prove that those are enough.
    "clients": set[str](),
}

FILES = [path.relative_to(ROOT) for layer in MAY_IMPORT for path in sorted((ROOT / layer).rglob("*.py"))]


def imported(path: Path) -> set[str]:
    """The top names of all modules that a file imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            names.add(node.module or "")
    return {name.partition(".")[0] for name in names}


@pytest.mark.parametrize("path", FILES, ids=str)
def test_a_file_imports_only_what_its_layer_may(path: Path) -> None:
    layer = path.parts[0]
    assert imported(path) & OURS <= MAY_IMPORT[layer]


@pytest.mark.parametrize("path", [path for path in FILES if path.parts[0] == "schemas"], ids=str)
def test_the_contract_depends_on_msgspec_alone(path: Path) -> None:
    assert imported(path) <= {"schemas", "msgspec"} | sys.stdlib_module_names


@pytest.mark.parametrize("path", FILES, ids=str)
def test_a_file_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(ast.parse((ROOT / path).read_text("utf-8"))), "no module docstring"
