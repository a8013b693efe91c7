"""`supermetrics-connectors check`."""

from dataclasses import asdict
from typing import Any

import click

from ..run.exit_codes import Exit
from .options import more_options, settings_of, source_options


@click.command()
@source_options
@more_options
@click.option(
    "--secrets",
    "include_configs",
    is_flag=True,
    default=None,
    help="Ask for the configurations too and list where somebody typed secrets into them. Values are never shown.",
)
def check(sandbox: str | None, as_json: bool, **given: Any) -> int:
    """Ask for each team once and load nothing: is the key good, which teams does it see, what is left of the limit?

    With what a load would include besides, also: how many requests will it take?
    """
    from ..run.checks import check_teams
    from . import console

    with settings_of(sandbox, given) as settings:
        teams, plan = check_teams(**settings)
    if as_json:
        console.show_json({"teams": teams, **({"plan": asdict(plan)} if plan else {})})
    else:
        columns = ("team_id", "status", "http_status", "connectors", "rate_limit_remaining", "request_id")
        named = ("name", *columns) if any(team.get("name") for team in teams) else columns
        console.show_table(teams, {name: name.replace("_", " ") for name in named})
        console.show_secrets(teams)
        if plan:
            console.show(plan.told)
        for team in teams:
            if team["error_message"]:
                console.show_error(team["error_message"])
    return max((team["exit_code"] for team in teams), default=Exit.OK)
