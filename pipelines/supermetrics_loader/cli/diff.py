"""`supermetrics-connectors diff`."""

import click

from ..run.exit_codes import Exit
from .options import dataset_option, debug_option, destination_option, json_option


@click.command()
@click.argument("team", type=int)
@click.argument("connector")
@click.option("--from", "before", metavar="VERSION", help="Version to compare with. Default: the one before.")
@click.option("--to", "after", metavar="VERSION", help="Version to compare. Default: the newest.")
@destination_option
@dataset_option
@json_option
@debug_option
def diff(
    team: int,
    connector: str,
    before: str | None,
    after: str | None,
    destination: str,
    dataset: str,
    as_json: bool,
) -> int:
    """Show how two loaded versions of a connector's configuration differ.

    A VERSION is a name such as 1.4.0, or the number in the history where several have one name.

    \b
    supermetrics-connectors diff 936506 T3S70
    supermetrics-connectors diff 936506 T3S70 --from 1.3.0 --to 1.4.0
    """  # noqa: D301 - \b is click's mark for lines that it must not wrap
    from ..look.diff import NoVersionError, compare_versions
    from . import console

    try:
        difference = compare_versions(destination, dataset, team, connector, before, after)
    except NoVersionError as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        console.show_json(difference.as_dict())
    else:
        console.out.print(difference.styled(), soft_wrap=True)
    return Exit.OK
