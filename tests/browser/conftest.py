"""Fixtures of the tests in a browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.chromium import Chromium


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Chromium]:
    """A browser with an empty profile."""
    with Chromium(tmp_path / "profile") as browser:
        yield browser
