"""`supermetrics-connectors sandbox`."""

import click

from ..run.exit_codes import Exit
from .options import SANDBOX_DATASET, debug_option


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
    """Run a local sandbox of the API until Ctrl-C, and print commands that load from it and change its connectors."""
    import threading

    from ..sandbox import Sandbox

    running = Sandbox(port=port)
    try:
        running.start()
    except OSError as error:
        raise click.UsageError(
            f"Port {port}: {error.strerror}. Choose another with --port; 0 picks a free one."
        ) from None
    with running:
        click.echo(_usage(running.url, running.token, ",".join(map(str, running.team_ids))))
        threading.Event().wait()
    return Exit.OK


def _usage(url: str, token: str, team_ids: str) -> str:
    """Shell commands for a sandbox with the shipped teams: a load, and another one after each change."""
    connectors = f"{url}/sandbox/teams/936506/connectors"
    load = f"supermetrics-connectors load --include-configs --dataset {SANDBOX_DATASET}"
    added = '{"connector_identifier": "NEW01", "name": "Support desk"}'
    configured, reconfigured = (
        f'{{"configuration_json": {{"authentication": {{"type": "{kind}"}}}}}}' for kind in ("user_input", "oauth2")
    )
    return f"""\
Sandbox of the API: {url}, token {token}, teams {team_ids}. Ctrl-C ends it.
Paste all of this into another shell:

export SOURCES__SUPERMETRICS__BASE_URL={url}
export SOURCES__SUPERMETRICS__API_KEY={token}
export SOURCES__SUPERMETRICS__TEAM_IDS={team_ids}
{load}

# Add a connector.
curl -fsS -o /dev/null -X POST {connectors} -d '{added}'
{load}

# Rename it: its updated_at moves to now.
curl -fsS -o /dev/null -X PATCH {connectors}/NEW01 -d '{{"name": "Service desk"}}'
{load}

# Give it a configuration: only the configuration's own updated_at moves.
curl -fsS -o /dev/null -X PUT {connectors}/NEW01/configuration -d '{configured}'
{load}

# Change the configuration.
curl -fsS -o /dev/null -X PUT {connectors}/NEW01/configuration -d '{reconfigured}'
{load}

# Delete the new connector.
curl -fsS -o /dev/null -X DELETE {connectors}/NEW01
{load}

# List all changes, and compare the two versions of the configuration.
supermetrics-connectors changes --dataset {SANDBOX_DATASET}
supermetrics-connectors diff 936506 NEW01 --dataset {SANDBOX_DATASET}"""
