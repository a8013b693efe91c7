"""Isolation of a test: an empty folder, and no settings of the user."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from dlt.common.configuration.container import Container
from dlt.common.configuration.specs.pluggable_run_context import PluggableRunContext


def isolate(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Removes every setting, key and pipeline of the user or of another test."""
    for name in list(os.environ):
        if "__" in name.strip("_") or name.startswith(("SUPERMETRICS_", "DLT_")):  # dlt takes SECTION__KEY
            monkeypatch.delenv(name)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("DLT_DATA_DIR", str(folder / "dlt"))
    monkeypatch.setenv("RUNTIME__DLTHUB_TELEMETRY", "false")
    monkeypatch.chdir(folder)
    Container()[PluggableRunContext].reload_providers()
