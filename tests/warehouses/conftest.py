"""What of the warehouses cannot be tried on this machine is told at the end: it must not look as if it had been."""

from __future__ import annotations

import pytest

from tests.helpers.servers import LEFT_OUT, WAREHOUSES

collect_ignore = [] if "mariadb" in WAREHOUSES else ["test_mariadb.py"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Names each that was left out, with what to install."""
    for name, reason in LEFT_OUT.items():
        if reason:
            terminalreporter.write_line(f"LEFT OUT: {name}: {reason}", yellow=True)
