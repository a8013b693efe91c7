"""What a run repairs or leaves alone in the tables that dlt and earlier runs have written."""

import dlt
import pytest

from tests.helpers.expectations import TEAM, Load, Query, configuration, make_source
from tests.helpers.sandbox import Sandbox


def test_duplicates_of_a_sync_are_replaced_by_the_next_run(customer: Sandbox, load: Load, query: Query) -> None:
    """Syncs are appended: dlt loads a file again when it was killed before it could note that the file was loaded."""
    load()
    (first,) = query(f"select * from team_syncs where team_id = {TEAM}")
    query("insert into team_syncs select * from team_syncs")
    customer.edit_connector(TEAM, "A", name="other")
    load()
    load()
    assert query("select count(*), count(distinct (team_id, started_at)) from team_syncs") == [(6, 6)]
    kept = query(f"select * exclude _dlt_load_id from team_syncs where team_id = {TEAM} order by started_at limit 1")
    assert kept == [tuple(value for value in first[:-1])]


def test_changes_store_no_further_schema(customer: Sandbox, load: Load, query: Query) -> None:
    """Some queries of dlt read every stored schema, so each further one would make later runs slower."""
    load()
    stored = []
    for name in ("first", "second", "third"):
        customer.edit_connector(TEAM, "A", name=name)
        load()
        stored += query("select count(*) from _dlt_version")
    assert len({*stored}) == 1, stored


def test_boundary_after_a_stored_future_time_is_not_used_by_later_runs(
    customer: Sandbox, load: Load, query: Query
) -> None:
    """A version begins when its run began, unless a stored time is later; dlt keeps hints from run to run."""
    load()
    query(f"update connector_versions set _dlt_valid_from = '2100-01-01' where team_id = {TEAM}")
    customer.edit_connector(TEAM, "A", name="in the future")
    load()
    newest = f"select left(max(_dlt_valid_from)::varchar, 4) from connector_versions where team_id = {TEAM}"
    assert query(f"{newest} and connector_identifier = 'A'") == [("2100",)]
    query(
        "update connector_versions set _dlt_valid_from = '2020-01-01',"
        " _dlt_valid_to = case when _dlt_valid_to is not null then timestamptz '2020-01-01' end"
    )
    customer.edit_connector(TEAM, "A", name="now")
    load()
    ((year,),) = query(f"{newest} and _dlt_valid_to is null and connector_identifier = 'A'")
    assert "2020" < year < "2100"


@pytest.mark.filterwarnings("default")  # dlt's own use of the driver warns
def test_interrupted_load_with_redacted_secrets_is_corrected_on_postgresql(sandbox: Sandbox, postgres_url: str) -> None:
    """The driver parses JSON, so a sync that is written again must be read as text."""
    sandbox.add_connector(TEAM, "A", configuration=configuration(password="correct-horse"))
    pipeline = dlt.pipeline("repairs", destination=dlt.destinations.postgres(postgres_url), dataset_name="repairs")
    for _ in range(2):
        pipeline.run(make_source(sandbox))
    with pipeline.sql_client() as client:
        client.execute_sql("delete from _dlt_loads where load_id = (select max(load_id) from _dlt_loads)")
        pipeline.run(make_source(sandbox))
        syncs = client.execute_sql("select status, redacted_paths from team_syncs order by started_at")
        client.execute_sql("drop schema repairs cascade")
    paths = {"A": ["$.password"]}
    assert syncs == [("ok", paths), ("failed", paths), ("ok", paths)]
