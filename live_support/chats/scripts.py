"""The Lua scripts, as Redis gets them. Each is made of files in `lua/`, the last of which does the work."""

import re
from importlib.resources import files

from live_support.redis.client import RedisClient, Script

_FOLDER = files("live_support.chats") / "lua"
_CALL = re.compile(r"redis\.p?call\(\s*'([A-Z]+)'")
_WITHOUT_KEY = {"TIME", "PUBLISH", "SPUBLISH"}


def script_text(*names: str, **constants: int) -> str:
    """Put a script together.

    Args:
        names: of the files, without `prelude`, which all begin with.
        constants: what the files know by these names in capitals; fewer arguments to send with each call.
    """
    known = [f"local {name.upper()} = {value}" for name, value in constants.items()]
    parts = [(_FOLDER / f"{name}.lua").read_text("utf-8") for name in ("prelude", *names)]
    return "\n".join([*known, *parts])


def load_script(redis: RedisClient, *names: str, **constants: int) -> Script:
    """Make a script callable. See `script_text` for the arguments."""
    return redis.script(script_text(*names, **constants))


def key_commands() -> frozenset[str]:
    """Return the names of the commands on keys that the scripts use."""
    texts = (path.read_text("utf-8") for path in _FOLDER.iterdir() if path.name.endswith(".lua"))
    return frozenset(command for text in texts for command in _CALL.findall(text)) - _WITHOUT_KEY
