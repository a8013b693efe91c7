"""`supermetrics-connectors sandbox`."""

import click

from ..run.exit_codes import Exit
from .options import debug_option


@click.command()
@click.option(
    "--port",
    default=8042,
    type=click.IntRange(0, 65535),
    show_default=True,
    help="Port on 127.0.0.1; 0 picks a free one.",
)
@debug_option
def sandbox(port: int) -> int:
    """Run a local sandbox of the API until Ctrl-C, and print how to load from it and how to change what it holds."""
    import threading

    from ..sandbox import Sandbox, usage

    running = Sandbox(port=port)
    try:
        running.start()
    except OSError as error:
        raise click.UsageError(
            f"Port {port}: {error.strerror}. Give another with --port; 0 picks a free one."
        ) from None
    with running:
        click.echo(_SANDBOX_INTRODUCTION.format(sandbox=running, teams=",".join(map(str, running.team_ids))))
        click.echo(usage(running.url, running.token))
        click.echo(_SANDBOX_END)
        threading.Event().wait()
    return Exit.OK


_SANDBOX_INTRODUCTION = """\
Sandbox of the API: {sandbox.url}, token {sandbox.token}, teams {teams}. Ctrl-C ends it.
Paste into another shell:

# where the sandbox is, for the commands of that shell
export SOURCES__SUPERMETRICS__BASE_URL={sandbox.url}
export SOURCES__SUPERMETRICS__API_KEY={sandbox.token}
export SOURCES__SUPERMETRICS__TEAM_IDS={teams}
# load from it, and again after each change below
supermetrics-connectors load --include-configs"""

_SANDBOX_END = """\
# load what has changed, and look at it
supermetrics-connectors load --include-configs
supermetrics-connectors changes
supermetrics-connectors diff 936506 T3S70"""
