"""MySQL and MariaDB cut texts at 64 KB and compare them loosely by default: this source's tables keep texts exactly.

dlt declares a text as TEXT, which ends at 64 KB, in the server's collation, for which `T3s70` and `t3S70` usually are
the same identifier.
"""

from typing import Any

from dlt.destinations.impl.sqlalchemy.dialect import MysqlDialectCapabilities, register_dialect_capabilities
from dlt.destinations.impl.sqlalchemy.type_mapper import MysqlVariantTypeMapper
from sqlalchemy.dialects.mysql import LONGTEXT

from ...exceptions import SupermetricsConfigurationError
from ...specs import COMPARED_TABLES
from ..target import Target
from .databases import EXACT_TEXT

_CHARSET, _COLLATION = "utf8mb4", "utf8mb4_bin"


class _TypeMapper(MysqlVariantTypeMapper):
    """dlt's types, except for the texts of tables with the hint `EXACT_TEXT`."""

    def db_type_from_text_type(self, column: Any, table: Any) -> Any:
        """See `SqlalchemyTypeMapper`."""
        if table and table.get(EXACT_TEXT):
            return LONGTEXT(charset=_CHARSET, collation=_COLLATION)
        return super().db_type_from_text_type(column, table)


class _Capabilities(MysqlDialectCapabilities):
    def type_mapper_class(self) -> Any:
        return _TypeMapper


def register_exact_texts() -> None:
    """Makes dlt's `sqlalchemy` destination create texts of any length that are compared byte by byte."""
    for name in ("mysql", "mariadb"):
        register_dialect_capabilities(name, _Capabilities)


def refuse_inexact_tables(client: Any, target: Target) -> None:
    """Refuses existing tables in which two identifiers may be equal that differ in case.

    Args:
        client: dlt's SQL client of the dataset, connected.
        target: The tables.

    Raises:
        SupermetricsConfigurationError: There is such a table; the message has the statement that converts it.
    """
    if client.dialect_name not in ("mysql", "mariadb"):
        return
    tables = [target.table(spec) for spec in COMPARED_TABLES]
    marks = ", ".join(["%s"] * len(tables))
    found = client.execute_sql(
        "SELECT DISTINCT table_name FROM information_schema.columns WHERE table_schema = %s"  # noqa: S608 - only marks
        f" AND table_name IN ({marks})"
        " AND column_name IN ('connector_identifier', 'version_id') AND collation_name <> %s",
        client.dataset_name,
        *tables,
        _COLLATION,
    )
    names = [client.make_qualified_table_name(table) for table in sorted(table for (table,) in found or ())]
    if names:
        statements = "; ".join(
            f"ALTER TABLE {name} CONVERT TO CHARACTER SET {_CHARSET} COLLATE {_COLLATION}" for name in names
        )
        raise SupermetricsConfigurationError(
            f"{names[0]} has a collation for which identifiers that differ only in case are equal, so that a connector "
            f"would be lost. Convert the tables with: {statements}"
        )
