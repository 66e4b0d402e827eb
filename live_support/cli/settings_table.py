"""The settings for people: each with its variable, its default and what it means, as `live_support.settings` says."""

import ast
import inspect
import itertools
import textwrap
from collections.abc import Iterator

import msgspec

from live_support.settings import PREFIX, Settings


def settings_table() -> str:
    """Make the text that `live-support settings` prints."""
    lines = []
    for name, default, meaning in settings():
        # Where it depends on something, the meaning says so.
        lines.append(PREFIX + name if "default: " in meaning else f"{PREFIX}{name}  (default: {default})")
        lines += [*textwrap.wrap(meaning, 96, initial_indent="    ", subsequent_indent="    "), ""]
    lines.append(
        "An empty variable counts as not set. Seconds may have fractions; rates are n/second, n/minute or n/hour."
    )
    return "\n".join(lines)


def settings() -> Iterator[tuple[str, str, str]]:
    """Each setting: its name without the prefix, its default, and its meaning."""
    meanings = _meanings()
    for each in msgspec.structs.fields(Settings):
        if each.encode_name.isupper():
            yield each.encode_name, _shown(each.default), meanings[each.name]


def _shown(default: object) -> str:
    if isinstance(default, bool):
        return str(default).lower()
    return "none" if default in (None, ()) else str(default)


def _meanings() -> dict[str, str]:
    """The text below each field."""
    body = ast.parse(inspect.getsource(Settings)).body[0].body  # type: ignore[attr-defined]
    found = {}
    for field, text in itertools.pairwise(body):
        match field, text:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(meaning))):
                found[name] = " ".join(meaning.replace("`", "").split())
    return found
