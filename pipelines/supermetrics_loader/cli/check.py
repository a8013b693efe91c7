"""`supermetrics-connectors check`."""

import click

from ..run.exit_codes import Exit
from .options import settings_of, source_options


@click.command()
@source_options
@click.option(
    "--secrets",
    is_flag=True,
    help="Ask for the configurations too and list where somebody typed secrets into them. Values are never shown.",
)
def check(
    team_ids: tuple[str, ...],
    base_url: str | None,
    sandbox: bool,
    as_json: bool,
    secrets: bool,
) -> int:
    """Ask for each team once and load nothing: is the key good, which teams does it see, what is left of the limit?"""
    from ..run.checks import check_teams
    from . import console

    with settings_of(team_ids, base_url, sandbox) as settings:
        teams = check_teams(**settings, **({"include_configs": True} if secrets else {}))
    if as_json:
        console.show_json({"teams": teams})
    else:
        columns = ("team_id", "status", "http_status", "connectors", "rate_limit_remaining", "request_id")
        console.show_table(teams, {name: name.replace("_", " ") for name in columns})
        console.show_secrets(teams)
        for team in teams:
            if team["error_message"]:
                console.show_error(team["error_message"])
    return max((team["exit_code"] for team in teams), default=Exit.OK)
