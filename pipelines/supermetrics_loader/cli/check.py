"""`supermetrics-connectors check`."""

from dataclasses import asdict
from typing import Any

import click

from ..run.exit_codes import Exit
from .options import (
    base_url_option,
    debug_option,
    endpoint_options,
    json_option,
    sandbox_option,
    source_settings,
    team_option,
)


@click.command()
@team_option
@base_url_option
@sandbox_option
@click.option(
    "--secrets",
    "include_configs",
    is_flag=True,
    default=None,
    help="Request the configurations too and list where secrets were typed into them. Values are never shown.",
)
@endpoint_options
@json_option
@debug_option
def check(sandbox: bool, as_json: bool, **given: Any) -> int:
    """Check the key and the teams without loading anything: one request per team.

    Prints which teams the key can read, and how many requests are left of the hourly limit. With optional tables, also
    prints how many requests a load makes.
    """
    from ..run.check import check_teams
    from . import console

    with source_settings(sandbox, False, given) as settings:
        teams, plan = check_teams(**settings)
    if as_json:
        console.show_json({"teams": teams, **({"plan": asdict(plan)} if plan else {})})
    else:
        console.show_check(teams)
        console.show_secrets(teams)
        if plan:
            console.show(plan.summary)
        for team in teams:
            if team["error_message"]:
                console.show_error(team["error_message"])
    return max((team["exit_code"] for team in teams), default=Exit.OK)
