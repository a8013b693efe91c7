"""Lists the warehouses that cannot be tested on this machine at the end of the run."""

from __future__ import annotations

import pytest

from tests.helpers.servers import LEFT_OUT, WAREHOUSES

collect_ignore = [] if "mariadb" in WAREHOUSES else ["test_mariadb.py"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Names each warehouse that was left out, and the missing program."""
    for name, reason in LEFT_OUT.items():
        if reason:
            terminalreporter.write_line(f"LEFT OUT: {name}: {reason}", yellow=True)
