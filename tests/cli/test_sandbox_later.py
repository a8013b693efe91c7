"""What a newcomer sees with two commands: a load, one after an edit, and what `diff` says of it."""

from __future__ import annotations

import json

import pytest

from supermetrics_loader.cli.main import run


def test_a_second_load_brings_something_to_compare(capsys: pytest.CaptureFixture[str]) -> None:
    """The first says how; the second finds one new version, and the same command once more none."""
    assert run(["load", "--sandbox", "--include-configs"]) == 0
    next_ = capsys.readouterr().out.splitlines()[-1]
    assert "supermetrics-connectors load --sandbox-later --include-configs" in next_
    assert "supermetrics-connectors diff 936506 T3S70" in next_

    for versions in (1, 0):
        assert run(["load", "--sandbox-later", "--include-configs", "--json"]) == 0
        teams = json.loads(capsys.readouterr().out)["teams"]
        assert sum(team["configurations_changed"] for team in teams) == versions
        assert sum(team["connectors_changed"] for team in teams) == 0
    assert run(["diff", "936506", "T3S70"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert '-      "page_size": 500,' in lines
    assert '+      "page_size": 1000,' in lines
