"""The documented grants are enough: loads by roles that have only these grants."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.destinations.test_destinations import assert_equal_to_the_api
from tests.helpers.destinations import PIPELINE, Place, destination_at, empty
from tests.helpers.expectations import TEAM, configuration
from tests.helpers.sandbox import Sandbox
from tests.helpers.servers import ROOT, WAREHOUSES

pytestmark = pytest.mark.filterwarnings("default")  # dlt's own use of the drivers warns


@pytest.fixture(params=["postgres", *({"mariadb"} & {*WAREHOUSES})])
def owner(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """A server with the owner's rights, and a role `loader` that may only sign in."""
    uri = request.getfixturevalue(f"{request.param}_url")
    place = Place(request.param, lambda: destination_at(uri), tmp_path, uri=uri)
    made, dropped = {
        "postgres": (["CREATE ROLE loader LOGIN PASSWORD 'x'"], ["DROP OWNED BY loader CASCADE", "DROP ROLE loader"]),
        "mariadb": (["CREATE USER loader@'127.0.0.1' IDENTIFIED BY 'x'"], ["DROP USER loader@'127.0.0.1'"]),
    }[place.name]
    execute(place, made)
    yield place
    empty(place)
    execute(place, dropped)


def as_loader(owner: Place) -> Place:
    """The same server with the rights of the role."""
    uri = owner.uri.replace("postgres:x@", "loader:x@").replace("root@", "loader:x@")
    return Place(owner.name, lambda: destination_at(uri), owner.folder / "loader")


def execute(place: Place, statements: list[str]) -> None:
    """Runs statements as they are."""
    with place.pipeline().sql_client() as client:
        for statement in statements:
            client.execute_sql(statement)


def grants(place: Place, heading: str) -> list[str]:
    """The statements of the documentation."""
    text = (ROOT / "docs/destinations.md").read_text().replace("_staging_connectors", f"_staging_{PIPELINE}")
    block = text.split(f"-- {place.name}: {heading}\n")[1].split("\n\n")[0].split("```")[0]
    return [statement.strip() for statement in block.split(";") if statement.strip()]


def changes(place: Place, sandbox: Sandbox) -> None:
    """Loads a new, an edited and a deleted connector."""
    sandbox.add_connector(TEAM, "new", configuration=configuration(a=1))
    sandbox.edit_connector(TEAM, "A", name="edited")
    sandbox.edit_configuration(TEAM, "A", {"a": 2})
    sandbox.delete_connector(TEAM, "B")
    place.load(sandbox)
    assert_equal_to_the_api(place, sandbox)


@pytest.fixture(autouse=True)
def connectors(sandbox: Sandbox) -> None:
    """Two connectors."""
    for name in "AB":
        sandbox.add_connector(TEAM, name, configuration=configuration(a=1))


def test_a_role_that_may_create_schemas(owner: Place, sandbox: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    """The load creates all tables, the view, and columns for added fields."""
    caplog.set_level(logging.WARNING)
    execute(owner, grants(owner, "creates schemas and tables"))
    loader = as_loader(owner)
    loader.load(sandbox)
    sandbox.edit_connector(TEAM, "A", added=1)
    changes(loader, sandbox)
    assert loader.rows("connector_changes")
    assert "cannot be created" not in caplog.text


def test_a_role_that_may_only_use_existing_tables(owner: Place, sandbox: Sandbox) -> None:
    """The owner has created them; no field is added afterwards."""
    owner.load(sandbox)
    sandbox.edit_configuration(TEAM, "A", {"a": 0})  # the tables for staging and the view
    owner.load(sandbox)
    execute(owner, grants(owner, "uses existing tables"))
    changes(as_loader(owner), sandbox)
