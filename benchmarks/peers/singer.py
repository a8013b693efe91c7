"""A tap of the Singer SDK, piped into target-duckdb."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

from singer_sdk import RESTStream, Tap
from singer_sdk import typing as th


class Connectors(RESTStream):
    """The listing of each team."""

    name = "connectors"
    path = "/v1/teams/{team_id}/connector_builder/connectors"
    primary_keys = ("team_id", "connector_identifier")
    records_jsonpath = "$.connectors[*]"
    schema: ClassVar[dict[str, Any]] = th.PropertiesList(
        th.Property("team_id", th.IntegerType),
        *(th.Property(name, th.StringType) for name in ("connector_identifier", "name", "description", "logo_url")),
        *(th.Property(name, th.DateTimeType) for name in ("created_at", "updated_at")),
        th.Property("configuration", th.ObjectType(additional_properties=True)),
    ).to_dict()

    @property
    def url_base(self) -> str:
        """Where the API is."""
        return str(self.config["url"])

    @property
    def http_headers(self) -> dict[str, str]:
        """The key."""
        return {"Authorization": "Bearer api_benchmark"}

    @property
    def partitions(self) -> list[dict[str, Any]]:
        """The teams."""
        return [{"team_id": team_id} for team_id in range(1, self.config["teams"] + 1)]

    def get_url_params(self, *_: object) -> dict[str, str]:
        """The query."""
        return {"include_configs": str(self.config["with_configs"]).lower()}


class Connecting(Tap):
    """The tap."""

    name = "tap-connectors"
    config_jsonschema: ClassVar[dict[str, Any]] = th.PropertiesList(
        th.Property("url", th.StringType),
        th.Property("teams", th.IntegerType),
        th.Property("with_configs", th.BooleanType),
    ).to_dict()

    def discover_streams(self) -> Iterable[Connectors]:
        """The one stream."""
        return [Connectors(self)]


def main(url: str, teams: int, with_configs: bool, path: str) -> None:
    """Loads teams 1 … `teams` into the DuckDB file at `path`."""
    with tempfile.TemporaryDirectory() as folder:
        configurations = {
            "tap": {"url": url, "teams": teams, "with_configs": with_configs},
            "target": {"filepath": path, "default_target_schema": "peer"},
        }
        for name, configuration in configurations.items():
            (Path(folder) / name).write_text(json.dumps(configuration))
        command = [str(Path(sys.executable).with_name("target-duckdb")), "--config", f"{folder}/target"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as target:  # noqa: S603 - by us
            tap = [sys.executable, "-m", __spec__.name, "--config", f"{folder}/tap"]
            subprocess.run(tap, stdout=target.stdin, check=True)  # noqa: S603 - this module
            target.communicate()
        if target.returncode:
            sys.exit(f"target-duckdb ended with {target.returncode}")


if __name__ == "__main__":
    if sys.argv[1] == "--config":
        Connecting.cli()
    else:
        main(sys.argv[1], int(sys.argv[2]), sys.argv[3] == "true", sys.argv[4])
