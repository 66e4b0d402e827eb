"""Interprets Redis's errors: a missing right, a refused write, or another reason that an operator must see."""

import re

from schemas.errors import Unavailable

# Inside a script older servers put words before the code.
_REFUSED_WRITE = re.compile(r"(?:ERR Error .*-)?(OOM|MISCONF|NOREPLICAS|READONLY)\b")
_COMMAND = re.compile(r"the '([a-z|]+)' command")


def error_code(error: object) -> str:
    """Return the first word of an error, its code: the rest may hold names and keys."""
    return str(error).partition(" ")[0]


def refusal_code(error: str) -> str | None:
    """Return the code of an error that means that Redis accepts no writes; None for another error."""
    found = _REFUSED_WRITE.match(error)
    return found[1] if found else None


def lacks_right(error: str) -> bool:
    """Whether an error says that the Redis user may not do this."""
    return error.startswith("NOPERM") or "ACL failure in script" in error or "user executing the script" in error


def missing_rights(error: str, pattern: str = "") -> set[str]:
    """Return the right that an error reports as missing, as `ACL SETUSER` writes it; none for another error.

    Args:
        error: an error of Redis. Its words differ between versions.
        pattern: matches all our keys and channels.
    """
    if not lacks_right(error):
        return set()
    if command := _COMMAND.search(error):
        return {f"+{command[1]}"}
    if "channel" in error:
        return {f"&{pattern}"}
    if "key" in error:
        return {f"~{pattern}"}
    return {"+time"}  # the only command in the probe's script; Redis 7.0 does not name it


def explain(error: str) -> str:
    """Describe an error for an operator, without names, keys and addresses."""
    if rights := missing_rights(error):
        return explain_rights(rights)
    code = error_code(error)
    if code == "WRONGPASS" or "AUTH <password>" in error:
        return "Redis does not accept the user name or password."
    if code == "NOAUTH":
        return "Redis requires a password."
    if "DB index" in error or "SELECT is not allowed" in error:
        return "Redis has no database of this number."
    if code in ("MOVED", "CROSSSLOT"):
        return "Redis is one node of a cluster, and holds only a part of the keys."
    if code == "NOPROTO" or "unknown command" in error:
        return "Redis is too old: 7.0 or newer is needed."
    return f"Redis answers: {code}."


def explain_rights(missing: set[str]) -> str:
    """Return a sentence that names the rights that the Redis user lacks."""
    return f"The Redis user lacks rights: {' '.join(sorted(missing))}."


def unavailable() -> Unavailable:
    """Make the error of a command without a definite answer."""
    return Unavailable("The server cannot store anything now, try again later.")
