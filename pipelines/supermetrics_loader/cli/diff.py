"""`supermetrics-connectors diff`."""

import click

from ..run.exit_codes import Exit
from .reading import reading_command


@click.command()
@click.argument("team", type=int)
@click.argument("connector")
@click.option("--from", "before", metavar="VERSION", help="Version to compare with. Default: the one before.")
@click.option("--to", "after", metavar="VERSION", help="Version to compare. Default: the newest.")
@click.option(
    "--with",
    "other",
    type=(int, str),
    metavar="OTHER_TEAM OTHER_CONNECTOR",
    help="Compare with another connector: the newest versions, or --from of the first and --to of the other.",
)
@reading_command
def diff(
    team: int,
    connector: str,
    before: str | None,
    after: str | None,
    other: tuple[int, str] | None,
    destination: str,
    dataset: str,
    as_json: bool,
) -> int:
    """Show how two loaded versions of a configuration differ.

    A VERSION is a name such as 1.4.0, or the number in the history if several versions have one name.

    \b
    supermetrics-connectors diff 936506 T3S70
    supermetrics-connectors diff 936506 T3S70 --from 1.3.0 --to 1.4.0
    supermetrics-connectors diff 936506 T3S70 --with 941277 LYL09
    """  # noqa: D301 - \b is click's mark for lines that it must not wrap
    from ..read.dataset import open_dataset
    from ..read.diff import compare_versions
    from . import console

    with open_dataset(destination, dataset) as data:
        difference = compare_versions(data, team, connector, before, after, other)
    if as_json:
        console.show_json(difference.as_dict())
    else:
        console.out.print(difference.styled(), soft_wrap=True)
    return Exit.OK
