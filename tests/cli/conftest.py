"""A sandbox of the API to which the environment of a command points."""

from __future__ import annotations

import pytest

from tests.helpers.commands import cli, shipped  # noqa: F401 - a fixture
from tests.helpers.sandbox import Sandbox


@pytest.fixture
def api(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """The sandbox with the shipped teams."""
    return shipped(sandbox, monkeypatch)
