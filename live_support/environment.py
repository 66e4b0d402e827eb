"""The environment: which variables are settings, how their values are read, and how a wrong one is explained."""

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from msgspec import inspect

PREFIX = "LIVE_SUPPORT_"
TEST_PREFIX = "LIVE_SUPPORT_TEST_"

Kinds = Mapping[str, inspect.Type]
"""The type of each setting, by its name without the prefix."""

# Variables that Kubernetes sets in every container for a Service whose name begins with `live-support`. Their values
# distinguish them from a mistyped setting.
_LINK_URL = r"(tcp|udp|sctp)://[0-9a-fA-F.:\[\]]+"
_SERVICE_LINKS = [
    (re.compile(name), re.compile(value, re.IGNORECASE))
    for name, value in {
        r"(.+_)?SERVICE_HOST": r"[0-9a-f.:]+",
        r"(.+_)?SERVICE_PORT(_[A-Z0-9_]+)?": r"[0-9]+",
        r"(.+_)?PORT(_[0-9]+_(TCP|UDP|SCTP))?": _LINK_URL,
        r"(.+_)?PORT_[0-9]+_(TCP|UDP|SCTP)_PROTO": r"tcp|udp|sctp",
        r"(.+_)?PORT_[0-9]+_(TCP|UDP|SCTP)_PORT": r"[0-9]+",
        r"(.+_)?PORT_[0-9]+_(TCP|UDP|SCTP)_ADDR": r"[0-9a-f.:]+",
    }.items()
]


def _is_service_link(name: str, value: str) -> bool:
    return any(names.fullmatch(name) and values.fullmatch(value) for names, values in _SERVICE_LINKS)


def given_settings(env: Mapping[str, str]) -> dict[str, str]:
    """Return the settings among the variables, by their names without the prefix. Empty ones count as unset."""
    given = {
        name.removeprefix(PREFIX).upper(): value.strip()
        for name, value in env.items()
        if name.startswith(PREFIX) and not name.startswith(TEST_PREFIX) and value.strip()
    }
    return {name: value for name, value in given.items() if not _is_service_link(name, value)}


_LISTS = frozenset({"ALLOWED_ORIGINS", "TRUSTED_PROXIES"})
_FRACTION = re.compile(r"\+?([0-9]+\.?[0-9]*|\.[0-9]+)")


def read_values(given: Mapping[str, str], kinds: Kinds) -> dict[str, Any]:
    """Split lists, and read numbers as people write them: msgspec accepts only those of JSON."""

    def read(name: str, text: str) -> object:
        if name in _LISTS:
            return split_list(text)
        if _FRACTION.fullmatch(text) and name in kinds and isinstance(_plain(kinds[name]), inspect.FloatType):
            return float(text)
        return text

    return {name: read(name, text) for name, text in given.items()}


def split_list(text: str) -> list[str]:
    """Split a value at its commas."""
    # People copy a page's address, which ends with a slash; its origin does not.
    return [part.strip().rstrip("/") for part in text.split(",") if part.strip()]


def explain(error: str, given: Mapping[str, str], kinds: Kinds) -> str:
    """Make the line that explains a wrong value or an unknown name to an operator.

    Args:
        error: the message of msgspec.
        given: the settings that were read.
        kinds: of all settings.
    """
    reason, _, path = error.partition(" - at `$.")
    if path:
        name = path.rstrip("`").partition("[")[0]
        expected = _expected(kinds[name])
        return f"{PREFIX}{name}: " + (f"expected {expected}, not {shown(given[name])}" if expected else reason)
    unknown = re.search(r"unknown field `(.*)`", reason)
    if not unknown:
        return reason
    return f"{PREFIX}{unknown[1]}: unknown setting{did_you_mean(unknown[1], kinds, PREFIX)}"


def did_you_mean(name: str, names: Iterable[str], prefix: str = "") -> str:
    """Ask whether a similar name was meant; empty if there is none."""
    similar = get_close_matches(name, [each for each in names if each != "limits"], 1)
    return f"; did you mean {prefix}{similar[0]}?" if similar else ""


def _plain(kind: inspect.Type) -> inspect.Type:
    """Return the type itself of a setting that may be absent, is a list, or is described."""
    match kind:
        case inspect.UnionType(types=types):
            return _plain(next(each for each in types if not isinstance(each, inspect.NoneType)))
        case inspect.VarTupleType(item_type=item):
            return _plain(item)
        case inspect.Metadata(type=described):
            return _plain(described)
    return kind


def _expected(kind: inspect.Type) -> str | None:
    """Describe for an operator what a value should be; None where the message of msgspec is enough."""
    match kind:
        case inspect.UnionType(types=types):
            return _expected(next(each for each in types if not isinstance(each, inspect.NoneType)))
        case inspect.VarTupleType(item_type=item):
            return _expected(item)
        case inspect.Metadata(extra_json_schema={"description": str(description)}):
            return description
        case inspect.LiteralType(values=values):
            return f"one of {', '.join(map(str, values))}"
        case inspect.BoolType():
            return "true or false"
    return None


def shown(text: str) -> str:
    """Quote a value, or its beginning if it is long."""
    return repr(text if len(text) <= 40 else f"{text[:37]}...")
