"""What a run refuses before its first request, because the tables could not be kept equal to the API."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import dlt
from dlt.common.configuration import configspec, resolve_configuration
from dlt.common.configuration.container import Container
from dlt.common.configuration.specs import BaseConfiguration
from dlt.common.schema import Schema
from dlt.common.storages.load_package import LoadPackageStateInjectableContext, commit_load_package_state
from dlt.extract import DltResource
from dlt.extract.exceptions import CurrentSourceNotAvailable, DataItemRequiredForDynamicTableHints

from ..exceptions import SupermetricsConfigurationError
from ..specs import CONNECTORS, DELETED_COLUMN, HISTORIES, SNAPSHOT_COLUMN, TABLES, VALID_FROM, VALID_TO
from .destinations.strategy import MODE_HINT
from .items import adds_dlt_id
from .run import Run
from .target import TABLE_HINT, Target

HANDLES_FAILED_JOBS = "x-handles-failed-jobs"
"""Hint of the resource `listings`: the program looks at failed jobs itself."""

_REGISTRY = "supermetrics"
"""Key in the state of a load package: tables and teams of the sources that write into it."""


@configspec
class _LoadSettings(BaseConfiguration):
    """The part of dlt's settings for loading that matters before a load."""

    raise_on_failed_jobs: bool = True


@dataclass(frozen=True)
class DeclaredTables:
    """The tables of the running source, as its resources declare them.

    Attributes:
        resources: The selected resources that write a table, with the table's schema.
        names: Names that differ from the specification, by the specification's name.
        selected: The specifications whose resources are selected. If `listings` is selected, as in a dry run, every
            table is compared and none is written.
        handles_failed_jobs: Whether the program looks at failed jobs itself.
    """

    resources: list[tuple[DltResource, Any]]
    names: dict[str, str]
    selected: frozenset[str]
    handles_failed_jobs: bool = False


def declared_tables() -> DeclaredTables:
    """Finds the tables of the running source.

    Raises:
        SupermetricsConfigurationError: A table has no fixed name, or two resources write the same table.
    """
    tables: dict[str, tuple[DltResource, Any]] = {}
    handles_failed_jobs = is_dry_run = False
    fed_by_listings = _fed_by_listings()
    for resource in _resources():
        try:
            table: Any = resource.compute_table_schema()
        except DataItemRequiredForDynamicTableHints:
            raise SupermetricsConfigurationError(
                f"The table of the resource {resource.name!r} depends on its rows. The source compares every table "
                "with the API before it writes, so its name has to be a text: set table_name to one"
            ) from None
        spec = table.get(TABLE_HINT)
        if resource.name == "listings" and spec is None:
            handles_failed_jobs, is_dry_run = bool(table.get(HANDLES_FAILED_JOBS)), resource.selected
        if spec is None and resource.name in fed_by_listings:
            raise SupermetricsConfigurationError(
                f"The resource {resource.name!r} takes its items from this source and is none of its tables. The items "
                "are differences from the stored tables, and not all rows: load the source, then read its tables. If "
                f"it was one of them, keep its table hint {TABLE_HINT!r}"
            )
        if spec is None or not resource.selected:
            continue
        if spec in tables:
            raise SupermetricsConfigurationError(
                f"Two resources of the source write the table {spec}. Load one of them; another copy of the table "
                "needs a pipeline of its own"
            )
        tables[spec] = resource, table
    resources = list(tables.values())
    if is_dry_run and not handles_failed_jobs:
        raise SupermetricsConfigurationError(
            "The resource 'listings' feeds the tables of the source and has none itself. Leave it deselected"
        )
    if is_dry_run:
        return DeclaredTables(resources, {}, frozenset(TABLES), handles_failed_jobs)
    names = {spec: table["name"] for spec, (_, table) in tables.items() if table["name"] != spec}
    return DeclaredTables(resources, names, frozenset(tables), handles_failed_jobs)


def _resources() -> Iterable[DltResource]:
    try:
        return list(dlt.current.source().resources.values())
    except CurrentSourceNotAvailable:
        return []


def _fed_by_listings() -> set[str]:
    """The names of the resources whose items come from `listings`, directly or through other resources."""
    try:
        parents = {child: parent for parent, child in dlt.current.source().resources.selected_dag}
    except CurrentSourceNotAvailable:
        return set()
    fed = {child for child, parent in parents.items() if parent == "listings"} - {"listings"}
    while more := {child for child, parent in parents.items() if parent in fed} - fed:
        fed |= more
    return fed


def check(run: Run, declared: DeclaredTables) -> None:
    """Refuses a run that would end with wrong tables.

    Raises:
        SupermetricsConfigurationError: With the reason, and what to do.
    """
    if run.target is None:
        return
    _refuse_changed_resources(declared, run.target)
    _refuse_tables_of_one_name(declared, run.target)
    _refuse_renamed_columns(run.target)
    if not declared.handles_failed_jobs:
        _refuse_ignored_failures()
    _refuse_teams_of_another_source(run, run.target)
    with run.reader.connected() as client:
        _refuse_mixture(run)
        if run.is_compared:
            _refuse_lost_keys(run, run.target)
        run.strategy.check_tables(client.sql_client, run.target)
        run.read()
    if run.is_compared:
        _refuse_duplicates(run)
        _refuse_new_row_ids(run)


def _refuse_changed_resources(declared: DeclaredTables, target: Target) -> None:
    """Rows are differences from the stored table: other hints of the merge, or a cursor, would lose some."""
    for resource in _resources():
        if resource.name == "listings":
            _refuse_cursor(resource)
    for resource, table in declared.resources:
        _refuse_cursor(resource)
        given = table.get("write_disposition")
        if given != "merge" and table.get(MODE_HINT) != given:
            raise SupermetricsConfigurationError(
                f"The write_disposition of {resource.name!r} is {given!r}, which the source sets itself: it writes "
                "what differs from the table, so that another one would lose rows or duplicate them. Leave it out; "
                "full_refresh=True writes all rows again, and snapshot=True appends each run's full listing"
            )
        if table.get("parent"):
            raise SupermetricsConfigurationError(
                f"The resource {resource.name!r} has the parent table {table['parent']!r}. Its rows are merged by "
                "a key of their own: remove parent_table_name"
            )
        _refuse_changed_merges(resource, table, target)
        _refuse_lossy_contracts(target.schema, resource, table)


def _refuse_cursor(resource: DltResource) -> None:
    incremental: Any = resource.incremental
    if incremental is not None and getattr(incremental, "incremental", incremental) is not None:
        raise SupermetricsConfigurationError(
            f"The resource {resource.name!r} has an incremental cursor. It is not needed: the source compares "
            "every listing with the table and writes only differences, updated_at included. With a cursor a second "
            "edit on the same date is lost, and so are removals. Remove the incremental hint; team_syncs has "
            "latest_updated_at for downstream models"
        )


def _refuse_changed_merges(resource: DltResource, table: Any, target: Target) -> None:
    """Column hints that make dlt delete or leave out other rows than the source does, also those of stored schemas."""
    spec = TABLES[table[TABLE_HINT]]
    stored: Any = target.schema.tables.get(target.table(spec), {}).get("columns", {})
    for columns in (table.get("columns", {}), stored):
        for name, hints in columns.items():
            steering = [hint for hint in ("merge_key", "hard_delete", "dedup_sort") if hints.get(hint)]
            if steering and name.lower() != DELETED_COLUMN.name:
                raise SupermetricsConfigurationError(
                    f"The column {name!r} of {resource.name!r} has the hint {steering[0]}. The source decides "
                    "which rows are merged and deleted, and dlt would delete others: remove the hint"
                )
    optional = {column.name for column in spec.columns if not column.required} - set(spec.key)
    strict = [name for name, hints in table.get("columns", {}).items() if hints.get("nullable") is False]
    if strict := [name for name in strict if name.lower() in optional]:
        raise SupermetricsConfigurationError(
            f"The column {strict[0]!r} of {resource.name!r} is declared as not nullable, but the API may leave it out: "
            "remove nullable=False"
        )


def _refuse_tables_of_one_name(declared: DeclaredTables, target: Target) -> None:
    writers: dict[str, str] = {}
    for resource, table in declared.resources:
        name = target.table(table["name"])
        if name in writers:
            raise SupermetricsConfigurationError(
                f"The resources {writers[name]!r} and {resource.name!r} write the same table {name}. Each needs a "
                "table of its own: give table_name to single resources, and not to the whole run"
            )
        writers[name] = resource.name


def _refuse_lossy_contracts(schema: Schema, resource: DltResource, table: Any) -> None:
    """A contract that discards rows would, for one, lose the successor of a version that has ended."""
    contract = schema.resolve_contract_settings_for_table(
        schema.naming.normalize_table_identifier(table["name"]), new_table_schema=table
    )
    lossy = {entity for entity, mode in contract.items() if mode == "discard_row"}
    if contract.get("tables") == "discard_value":
        lossy.add("tables")
    if lossy:
        raise SupermetricsConfigurationError(
            f"The schema contract of {resource.name!r} discards rows ({', '.join(sorted(lossy))}). The source writes "
            "differences, so a discarded row would be missing from the table. Use freeze, or discard_value for columns "
            "and data_type"
        )


def _refuse_renamed_columns(target: Target) -> None:
    for spec in TABLES.values():
        for name in (*(column.name for column in spec.columns), VALID_FROM, VALID_TO, "_dlt_load_id"):
            if (renamed := target.column(name)).lower() != name:
                raise SupermetricsConfigurationError(
                    f"The naming convention of the schema writes the column {name} as {renamed}. The source's merge "
                    "conditions and queries need its own names. Use snake_case, sql_cs_v1 or sql_ci_v1 for this source"
                )


def _refuse_ignored_failures() -> None:
    """With a failed job left out, dlt completes the load, and nothing would show that a table lacks its rows."""
    if not resolve_configuration(_LoadSettings(), sections=("load",)).raise_on_failed_jobs:
        raise SupermetricsConfigurationError(
            "dlt's setting [load] raise_on_failed_jobs is false: a load would count as complete although the "
            "destination refused a table. Set it to true for this pipeline, such as with "
            "[NAME.load] raise_on_failed_jobs = true, with the pipeline's name"
        )


def _refuse_mixture(run: Run) -> None:
    columns = run.columns(CONNECTORS)  # of files, those of dlt's schema, which is all that is known of their columns
    is_snapshot = not run.is_compared
    if "team_id" in columns and (SNAPSHOT_COLUMN.name in columns) != is_snapshot:
        stored, wanted = ("snapshots", "a mirror") if SNAPSHOT_COLUMN.name in columns else ("a mirror", "snapshots")
        raise SupermetricsConfigurationError(
            f"The dataset holds {stored} of the connectors and cannot hold {wanted} as well: the same rows would mean "
            "two things. Load into another dataset (--dataset), or keep to what is there"
        )


def _refuse_lost_keys(run: Run, target: Target) -> None:
    """Any other column is added to its table again, and its values are written again."""
    for name in sorted(run.selected):
        spec, stored = TABLES[name], run.columns(TABLES[name])
        needed = [column.name for column in spec.columns if column.required] + ["_dlt_load_id"]
        needed += [VALID_FROM, VALID_TO] if spec.kind == "history" else []
        if missing := [column for column in needed if stored and target.column(column).lower() not in stored]:
            raise SupermetricsConfigurationError(
                f"The table {target.table(spec)} has no column {', '.join(missing)}, without which its rows cannot be "
                "identified or compared with the API. Restore the column, or drop the table and load again. If the "
                "table belongs to another program, load into another dataset or set another table_name"
            )


def _refuse_teams_of_another_source(run: Run, target: Target) -> None:
    """Every source of a run is compared with the tables as the run found them, so a team's rows may come from one."""
    dataset = "" if target.pipeline.config.use_single_dataset else target.schema.name
    tables = {f"{dataset}.{target.table(name)}" for name in run.selected}
    for other in _other_sources_of_the_run():
        teams = sorted({*run.settings.team_ids} & {*other["team_ids"]})
        if teams and (written := sorted(tables & {*other["tables"]})):
            raise SupermetricsConfigurationError(
                f"Team {teams[0]} is in two sources of one run, which would write {written[0].rpartition('.')[2]} "
                "twice. Name the team in one source, or run the sources one after the other"
            )
    registered = dlt.current.destination_state().setdefault(_REGISTRY, [])
    registered.append({"tables": sorted(tables), "team_ids": run.settings.team_ids})
    commit_load_package_state()


def _other_sources_of_the_run() -> Iterator[Any]:
    """Yields tables and teams of the sources that were extracted before in the same run, each schema in its package."""
    packages = Container()[LoadPackageStateInjectableContext].storage
    for load_id in packages.list_packages():
        yield from packages.get_load_package_state(load_id).get("destination_state", {}).get(_REGISTRY, [])


def _refuse_new_row_ids(run: Run) -> None:
    """With `add_dlt_id`, dlt adds a column without nulls to a table whose rows have no value for it."""
    stored = run.reader.columns
    tables = sorted(name for name in run.selected if name in stored and "_dlt_id" not in stored[name])
    if tables and adds_dlt_id():
        raise SupermetricsConfigurationError(
            f"[normalize.parquet_normalizer] add_dlt_id is on, but {tables[0]} was loaded without it. dlt cannot add "
            "its column to existing rows. Switch the setting off, or load into another dataset"
        )


def _refuse_duplicates(run: Run) -> None:
    """An upsert changes every copy of a row, so duplicates would stay."""
    if run.strategy.mode.has_scd2:
        return
    stored = run.stored(CONNECTORS)
    repeated = [spec.name for spec in HISTORIES if spec.name in run.selected and run.stored(spec).has_repeated_versions]
    if CONNECTORS.name in run.selected and stored.has_duplicates:
        keys = stored.duplicated_keys()
        team_id, name = keys[0]
        problem = f"The Delta table connectors has {len(keys)} connectors twice, such as {name!r} of team {team_id}"
    elif repeated:
        problem = f"Two loads have written the same current version to the Delta table {repeated[0]}"
    else:
        return
    raise DuplicateRowsError(
        f"{problem}, and an upsert would change each copy. Delete them with "
        "supermetrics_connectors.deduplicate(pipeline), then load again; the command line does so by itself"
    )


class DuplicateRowsError(SupermetricsConfigurationError):
    """A Delta table has a key twice, which an upsert cannot repair."""
