"""The private names of libraries that the product relies on. A new version of one may rename them: look here first.

`pyproject.toml` has an upper bound for each of these libraries. To raise one: install the version, run this test and
the hostile ones, read the library's changes of the classes below, then widen the bound.
"""

import re
import tomllib
from pathlib import Path
from pkgutil import resolve_name

import pytest
from packaging.requirements import Requirement

from live_support.http.bounded_protocol import BoundedProtocol
from live_support.http.protocol import HttpProtocol
from live_support.websocket.picows_protocol import PicowsProtocol
from live_support.websocket.uvicorn_protocol import WebSocketProtocol

ROOT = Path(__file__).parent.parent.parent

MODULES = {
    "picows.picows": {"WSProtocol"},
    "uvicorn._types": {"ASGIReceiveEvent", "ASGISendEvent"},
    "uvicorn.config": {"STARTUP_FAILURE"},
    "uvicorn.protocols.http.httptools_impl": {"HttpToolsProtocol", "RequestResponseCycle"},
    "uvicorn.protocols.utils": {"ClientDisconnected"},
    "uvicorn.protocols.websockets.websockets_sansio_impl": {"WebSocketsSansIOProtocol"},
    "uvicorn.middleware.proxy_headers": {"ProxyHeadersMiddleware"},
    "uvicorn.server": {"ServerState"},
    "websockets.http11": {"Request"},
}
"""What is imported of modules that make no promise."""

OVERRIDDEN = {
    HttpProtocol: {
        "data_received",
        "on_body",
        "on_header",
        "on_headers_complete",
        "on_message_begin",
        "on_message_complete",
    },
    BoundedProtocol: {
        "connection_lost",
        "connection_made",
        "on_response_complete",
        "pause_writing",
        "resume_writing",
        "shutdown",
        "_start_asgi_task",
    },
    WebSocketProtocol: {
        "connection_made",
        "data_received",
        "handle_connect",
        "handle_cont",
        "handle_ping",
        "handle_parser_exception",
        "handle_pong",
        "receive",
        "send",
        "send_500_response",
    },
    PicowsProtocol: {"handle_connect"},
}
"""The methods of a library's class that ours replaces: each must still be called when it is called today."""


def imports() -> dict[str, set[str]]:
    """What the product imports of the three libraries, by module; only what is not the top of one."""
    found: dict[str, set[str]] = {}
    for folder in ("api", "live_support", "subscriber"):
        for path in (ROOT / folder).rglob("*.py"):
            pattern = r"^ *from ((?:picows|uvicorn|websockets)[\w.]*) import (.+?)(?: *#.*)?$"
            for module, names in re.findall(pattern, path.read_text("utf-8"), re.MULTILINE):
                found.setdefault(module, set()).update(name.strip() for name in names.strip("()").split(","))
    public = {"picows", "uvicorn", "websockets", "websockets.exceptions", "websockets.frames"}
    return {module: names for module, names in found.items() if module not in public}


def test_every_import_of_a_private_module_is_listed() -> None:
    assert imports() == MODULES


@pytest.mark.parametrize(("module", "name"), [(module, name) for module in MODULES for name in sorted(MODULES[module])])
def test_an_imported_name_is_there(module: str, name: str) -> None:
    assert resolve_name(f"{module}:{name}") is not None


@pytest.mark.parametrize("ours", OVERRIDDEN, ids=lambda ours: ours.__name__)
def test_every_replaced_method_is_listed(ours: type) -> None:
    theirs = {
        name for base in ours.__mro__[1:] if not base.__module__.startswith("live_support.") for name in vars(base)
    }
    own = {name for name, value in vars(ours).items() if callable(value) and not name.startswith("__")}
    assert own & theirs - set(vars(object)) == OVERRIDDEN[ours]


def test_each_of_these_libraries_has_an_upper_bound() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    bounded = {
        requirement.name
        for requirement in map(Requirement, listed)
        if any(specifier.operator == "<" for specifier in requirement.specifier)
    }
    assert {module.partition(".")[0] for module in MODULES} <= bounded
