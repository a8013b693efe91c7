"""A sandbox that `load` is led to by its environment."""

from __future__ import annotations

import pytest

from supermetrics_loader.sandbox import Sandbox
from tests.helpers.commands import cli, with_two_teams  # noqa: F401 - a fixture


@pytest.fixture
def api(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """The sandbox with a connector in each of two teams, and the environment that leads to it."""
    return with_two_teams(sandbox, monkeypatch)
