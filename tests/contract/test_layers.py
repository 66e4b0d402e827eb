"""Who may import whom. An arrow that is not here is a decision to be made, not a line to be added."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
OURS = {"api", "clients", "live_support", "schemas", "subscriber", "tests"}
MAY_IMPORT = {
    "schemas": set[str](),
    "live_support": {"live_support.agents", "live_support.redis", "schemas"},
    "live_support.agents": {"live_support", "schemas"},
    "live_support.redis": {"live_support", "schemas"},
    "live_support.chats": {"live_support", "live_support.redis", "schemas"},
    "live_support.websocket": {"live_support", "live_support.http", "schemas"},
    "live_support.http": {"live_support", "live_support.docs_pages", "schemas"},
    "live_support.docs_pages": {"live_support", "live_support.chats", "schemas"},
    "live_support.service": {
        "live_support",
        "live_support.docs_pages",
        "live_support.http",
        "live_support.redis",
        "live_support.websocket",
        "schemas",
    },
    "live_support.cli": {"live_support", "live_support.agents", "live_support.service"},
    "api": {"live_support", "live_support.*", "schemas"},
    "subscriber": {"live_support", "live_support.*", "schemas"},
    # What others build on is the exported files, so the clients prove that those are enough.
    "clients": set[str](),
}
"""Each package and what its modules may import besides their own package; `live_support` alone is its root modules."""

PACKAGES = {path.name for path in (ROOT / "live_support").iterdir() if (path / "__init__.py").exists()}
TOPS = ("api", "clients", "live_support", "schemas", "subscriber")
FILES = [path.relative_to(ROOT) for top in TOPS for path in sorted((ROOT / top).rglob("*.py"))]


def package(name: str) -> str:
    """The row that a module's dotted name belongs to."""
    top, _, rest = name.partition(".")
    below = rest.partition(".")[0]
    return f"{top}.{below}" if top == "live_support" and below in PACKAGES else top


def imported(path: Path) -> set[str]:
    """The dotted names of all modules that a file imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            module = node.module or ""
            # `from live_support import redis` is an import of the package.
            names |= {f"{module}.{alias.name}" for alias in node.names} if module == "live_support" else {module}
    return names


def test_each_package_has_its_row() -> None:
    assert {f"live_support.{name}" for name in PACKAGES} <= set(MAY_IMPORT)


@pytest.mark.parametrize("path", FILES, ids=str)
def test_a_file_imports_only_what_its_layer_may(path: Path) -> None:
    own = package(".".join(path.with_suffix("").parts).removesuffix(".__init__"))
    ours = {package(name) for name in imported(path) if name.partition(".")[0] in OURS} - {own}
    allowed = MAY_IMPORT[own]
    if "live_support.*" in allowed:
        allowed = allowed | {f"live_support.{name}" for name in PACKAGES}
    assert ours <= allowed


REDIS = {"live_support.redis", "live_support.chats"}


@pytest.mark.parametrize("path", [path for path in FILES if path.parts[0] == "live_support"], ids=str)
def test_only_two_packages_know_the_library_of_redis(path: Path) -> None:
    own = package(".".join(path.with_suffix("").parts).removesuffix(".__init__"))
    names = {name.partition(".")[0] for name in imported(path)}
    assert own in REDIS or not names & {"redis", "hiredis"}


@pytest.mark.parametrize("path", [path for path in FILES if path.parts[0] == "schemas"], ids=str)
def test_the_contract_depends_on_msgspec_alone(path: Path) -> None:
    tops = {name.partition(".")[0] for name in imported(path)}
    assert tops <= {"schemas", "msgspec"} | sys.stdlib_module_names


@pytest.mark.parametrize("path", FILES, ids=str)
def test_a_file_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(ast.parse((ROOT / path).read_text("utf-8"))), "no module docstring"
