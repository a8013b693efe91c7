"""Options that are settings of the source."""

from __future__ import annotations

import inspect

import click
import pytest

from supermetrics_connectors import supermetrics_source
from supermetrics_loader.cli.check import check
from supermetrics_loader.cli.load import load


@pytest.mark.parametrize(("command", "some"), [(load, {"redact_secrets", "on_team_error"}), (check, {"team_ids"})])
def test_an_option_that_is_a_setting_is_called_as_the_source_calls_it(command: click.Command, some: set[str]) -> None:
    """What a command does not take for itself is passed on to the source, by name."""
    own = inspect.signature(command.callback or print).parameters
    passed_on = {str(option.name) for option in command.params if option.expose_value} - own.keys()
    assert some <= passed_on <= inspect.signature(supermetrics_source).parameters.keys()
