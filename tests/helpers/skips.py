"""In CI nothing is skipped but what is listed here: a missing tool must not take a whole area out of sight."""

import os

import pytest

LISTED = ("no CPU quota by cgroups of version 1",)
"""How the reasons begin: what a machine of CI cannot be given."""


def unlisted(config: pytest.Config) -> list[str]:
    """The reasons of this run's skips that are in no list; none outside of CI."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if not os.environ.get("CI") or reporter is None:
        return []
    reasons = {str(report.longrepr[2]).removeprefix("Skipped: ") for report in reporter.stats.get("skipped", ())}
    return sorted(reason for reason in reasons if not reason.startswith(LISTED))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run whose tests have all passed, but for those that were not to be skipped."""
    if unlisted(session.config) and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what was skipped."""
    if reasons := unlisted(config):
        terminalreporter.section("skipped, which CI does not allow")
        terminalreporter.write_line(
            "\n".join([*reasons, "", "Install it in .ci/run, or list it in tests/helpers/skips.py."])
        )
