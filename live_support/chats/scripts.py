"""Loads the Lua scripts. Each is made of files in `lua/`, the last of which is the operation."""

import re
from importlib.resources import files

from live_support.redis.client import RedisClient, Script

_FOLDER = files("live_support.chats") / "lua"
_CALL = re.compile(r"redis\.p?call\(\s*'([A-Z]+)'")
_WITHOUT_KEY = {"TIME", "PUBLISH", "SPUBLISH"}


def script_text(*names: str, **constants: int) -> str:
    """Make the text of a script.

    Args:
        names: of the files after `prelude`, with which all scripts begin.
        constants: values that the files know by these names in capitals, so they need not be sent with each call.
    """
    known = [f"local {name.upper()} = {value}" for name, value in constants.items()]
    parts = [(_FOLDER / f"{name}.lua").read_text("utf-8") for name in ("prelude", *names)]
    return "\n".join([*known, *parts])


def load_script(redis: RedisClient, *names: str, **constants: int) -> Script:
    """Register a script. See `script_text` for the arguments."""
    return redis.script(script_text(*names, **constants))


def key_commands() -> frozenset[str]:
    """Return the names of the commands on keys that the scripts use."""
    texts = (path.read_text("utf-8") for path in _FOLDER.iterdir() if path.name.endswith(".lua"))
    return frozenset(command for text in texts for command in _CALL.findall(text)) - _WITHOUT_KEY
