"""docs/operations.md names every right that the services need in Redis, and none besides."""

import re
from pathlib import Path

from live_support.chats.probe import PLAIN_COMMANDS
from live_support.chats.scripts import key_commands

ROOT = Path(__file__).parents[2]
WITHOUT_KEYS = {
    *("ping", "time", "script|load", "evalsha"),
    *("publish", "spublish", "subscribe", "ssubscribe", "unsubscribe", "sunsubscribe"),
}
OPTIONAL = {"info"}
"""For the warning of an eviction policy."""


def test_the_documented_rule_has_all_commands_of_the_scripts_and_of_the_code() -> None:
    text = (ROOT / "docs" / "operations.md").read_text("utf-8")
    (rule,) = re.findall(r"^ACL SETUSER live-support (.*?)^```", text, re.MULTILINE | re.DOTALL)
    documented = set(re.findall(r"\+(\S+)", rule))
    used = {command.lower() for command in key_commands() | PLAIN_COMMANDS}
    assert documented == used | WITHOUT_KEYS | OPTIONAL


def test_what_an_earlier_release_needs_besides_is_documented() -> None:
    text = (ROOT / "docs" / "operations.md").read_text("utf-8")
    (besides,) = re.findall(r"processes of an earlier release .*?`(.+?)`", text, re.DOTALL)
    scripts = "".join(path.read_text("utf-8") for path in (ROOT / "tests/redis/older_release").glob("*.lua"))
    used = {command.lower() for command in re.findall(r"""\bcall\(['"]([A-Z]+)""", scripts)}
    now = WITHOUT_KEYS | {command.lower() for command in key_commands() | PLAIN_COMMANDS}
    assert set(re.findall(r"\+(\S+)", besides)) == used - now


def test_no_module_sends_a_command_that_the_probe_does_not_know() -> None:
    """Commands on keys that are sent without a script: `run("XRANGE", ...)`, and tuples of `run_all`."""
    sent: set[str] = set()
    for folder in ("live_support", "api", "subscriber"):
        for path in (ROOT / folder).rglob("*.py"):
            sent |= set(re.findall(r"""(?:\.run\(|submit\(\(|run_all\(\[\()"([A-Z]+)\"""", path.read_text("utf-8")))
    assert sent
    assert sent <= PLAIN_COMMANDS
