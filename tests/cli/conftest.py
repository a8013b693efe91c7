"""A sandbox that commands are led to by their environment, and a way to run them."""

from __future__ import annotations

import pytest

from supermetrics_loader.sandbox import Sandbox
from tests.helpers.commands import cli, shipped  # noqa: F401 - a fixture


@pytest.fixture
def api(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """The sandbox with the shipped teams, and the environment that leads to it."""
    return shipped(sandbox, monkeypatch)
