"""What a run refuses before its first request, because the tables could not be kept equal to the API."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import dlt
from dlt.common.configuration import resolve_configuration
from dlt.common.configuration.container import Container
from dlt.common.storages.load_package import LoadPackageStateInjectableContext, commit_load_package_state
from dlt.extract import DltResource
from dlt.extract.exceptions import CurrentSourceNotAvailable, DataItemRequiredForDynamicTableHints
from dlt.load.configuration import LoaderConfiguration

from ..exceptions import SupermetricsConfigurationError
from ..specs import COMPARED_TABLES, CONNECTORS, DELETED_COLUMN, SNAPSHOT_COLUMN, TABLES, VALID_FROM, VALID_TO
from .destinations.strategy import MODE_HINT
from .items import adds_dlt_id
from .run import Run
from .target import TABLE_HINT, Target

HANDLES_FAILED_JOBS = "x-handles-failed-jobs"
"""Hint of the resource `listings`: the program looks at failed jobs itself."""

_REGISTRY = "supermetrics"
"""Key in the state of a load package: tables and teams of the sources that write into it."""


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
    try:
        resources = dlt.current.source().resources
    except CurrentSourceNotAvailable:  # resources are read without a pipeline
        return DeclaredTables([], {}, frozenset())
    parents = {child: parent for parent, child in resources.selected_dag}
    tables: dict[str, tuple[DltResource, Any]] = {}
    for resource in resources.values():
        table = _declared_table(resource)
        spec = table.get(TABLE_HINT)
        if spec is None and _is_fed_by_listings(resource.name, parents):
            raise SupermetricsConfigurationError(
                f"The resource {resource.name!r} takes its items from this source and is none of its tables. The items "
                "are differences from the stored tables, and not all rows: load the source, then read its tables. If "
                f"it was one of them, keep its table hint {TABLE_HINT!r}"
            )
        if spec is None or not resource.selected:
            continue
        if spec in tables:
            raise SupermetricsConfigurationError(
                f"Two resources of the source write the table {spec}. Select only one of them. To load the table a "
                "second time under another name, use a second pipeline"
            )
        tables[spec] = resource, table
    names = {spec: table["name"] for spec, (_, table) in tables.items() if table["name"] != spec}
    declared = DeclaredTables([*tables.values()], names, frozenset(tables))
    return _with_listings(declared, resources["listings"]) if "listings" in resources else declared


def _with_listings(declared: DeclaredTables, listings: DltResource) -> DeclaredTables:
    handles_failed_jobs = bool(_declared_table(listings).get(HANDLES_FAILED_JOBS))
    if _has_cursor(listings):
        raise _hint_error(listings, _CURSOR)
    if not listings.selected:
        return replace(declared, handles_failed_jobs=handles_failed_jobs)
    if not handles_failed_jobs:
        raise SupermetricsConfigurationError(
            "The resource 'listings' feeds the tables of the source and has none itself. Leave it deselected"
        )
    return DeclaredTables([], {}, frozenset(TABLES), handles_failed_jobs)


def _declared_table(resource: DltResource) -> Any:
    try:
        return resource.compute_table_schema()
    except DataItemRequiredForDynamicTableHints:
        raise SupermetricsConfigurationError(
            f"The table of the resource {resource.name!r} depends on its rows. The source compares every table "
            "with the API before it writes, so its name has to be a text: set table_name to one"
        ) from None


def _is_fed_by_listings(name: str, parents: Mapping[str, str]) -> bool:
    """Whether the items of a resource come from `listings`, directly or through other resources."""
    parent = parents.get(name, name)
    return parent != name and (parent == "listings" or _is_fed_by_listings(parent, parents))


def check(run: Run, declared: DeclaredTables) -> None:
    """Refuses a run that would end with wrong tables.

    Raises:
        SupermetricsConfigurationError: With the reason, and what to do.
    """
    if run.target is None:
        return
    for resource, table in declared.resources:
        for hint in _changed_hints(resource, table, run.target):
            raise _hint_error(resource, hint)
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


_CURSOR = "an incremental cursor"


def _hint_error(resource: DltResource, hint: str) -> SupermetricsConfigurationError:
    return SupermetricsConfigurationError(
        f"The resource {resource.name!r} has {hint}. The source compares every listing with the table and writes only "
        "differences, so rows would be lost or duplicated. Remove the hint: full_refresh=True writes all rows again, "
        "snapshot=True appends each run's full listing, and a schema contract may be freeze, or discard_value for "
        "columns and data_type"
    )


def _has_cursor(resource: DltResource) -> bool:
    incremental: Any = resource.incremental
    return getattr(incremental, "incremental", incremental) is not None


def _changed_hints(resource: DltResource, table: Any, target: Target) -> Iterator[str]:
    """Yields hints by which dlt would write, leave out or delete other rows than the source decides."""
    if _has_cursor(resource):
        yield _CURSOR
    if table["write_disposition"] not in ("merge", table.get(MODE_HINT)):
        yield f"the write_disposition {table['write_disposition']!r}"
    if table.get("parent"):
        yield f"the parent table {table['parent']!r}"
    spec, columns = TABLES[table[TABLE_HINT]], table["columns"]
    stored: Any = target.schema.tables.get(target.table(spec), {}).get("columns", {})
    for name, hints in [*columns.items(), *stored.items()]:
        if name.lower() != DELETED_COLUMN.name:
            yield from (
                f"the hint {hint} of the column {name!r}"
                for hint in ("merge_key", "hard_delete", "dedup_sort")
                if hints.get(hint)
            )
    optional = {column.name for column in spec.columns if not column.required}
    for name, hints in columns.items():
        if name.lower() in optional and hints.get("nullable") is False:
            yield f"nullable=False for the column {name!r}, which the API may leave out"
    contract = target.schema.resolve_contract_settings_for_table(target.table(spec), new_table_schema=table)
    for entity, mode in contract.items():
        if mode == "discard_row" or (entity, mode) == ("tables", "discard_value"):
            yield f"a schema contract that discards rows ({entity})"


def _refuse_tables_of_one_name(declared: DeclaredTables, target: Target) -> None:
    writers: dict[str, str] = {}
    for resource, table in declared.resources:
        name = target.table(table["name"])
        if (other := writers.setdefault(name, resource.name)) != resource.name:
            raise SupermetricsConfigurationError(
                f"The resources {other!r} and {resource.name!r} write the same table {name}. Each needs a table of its "
                "own: give table_name to single resources, and not to the whole run"
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
    if not resolve_configuration(LoaderConfiguration(), sections=("load",), accept_partial=True).raise_on_failed_jobs:
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
            f"The dataset holds {stored} of the connectors and cannot hold {wanted} as well: queries could not tell "
            f"the rows apart. Load {wanted} into another dataset (--dataset), or continue with {stored} here"
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
    packages = Container()[LoadPackageStateInjectableContext].storage
    states = map(packages.get_load_package_state, packages.list_packages())  # a package for each schema of the run
    for other in (source for state in states for source in state.get("destination_state", {}).get(_REGISTRY, [])):
        teams = sorted({*run.settings.team_ids} & {*other["team_ids"]})
        if teams and (written := sorted(tables & {*other["tables"]})):
            raise SupermetricsConfigurationError(
                f"Team {teams[0]} is in two sources of one run, which would write {written[0].rpartition('.')[2]} "
                "twice. Name the team in one source, or run the sources one after the other"
            )
    registered = dlt.current.destination_state().setdefault(_REGISTRY, [])
    registered.append({"tables": sorted(tables), "team_ids": run.settings.team_ids})
    commit_load_package_state()


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
    """An upsert changes every duplicate of a row, so duplicates would stay."""
    for spec in () if run.strategy.mode.has_scd2 else COMPARED_TABLES:
        if spec.name in run.selected and run.stored(spec).has_repeated_rows:
            raise DuplicateRowsError(
                f"The Delta table {spec.name} has duplicate rows, which an upsert cannot replace. Delete them with "
                "supermetrics_connectors.deduplicate(pipeline), then load again; the command line does so by itself"
            )


class DuplicateRowsError(SupermetricsConfigurationError):
    """A Delta table has a key twice, which an upsert cannot repair."""
