"""MySQL and MariaDB, where a text may be cut, or taken for another one: this source's tables keep it exactly.

dlt makes a text a TEXT, which ends at 64 KB, in the collation of the server, for which `T3s70` and `t3S70` usually are
one identifier.
"""

from typing import Any

from dlt.destinations.impl.sqlalchemy.dialect import MysqlDialectCapabilities, register_dialect_capabilities
from dlt.destinations.impl.sqlalchemy.type_mapper import MysqlVariantTypeMapper
from sqlalchemy.dialects.mysql import LONGTEXT

from ..exceptions import SupermetricsConfigurationError
from .strategies import EXACT_TEXT

_CHARSET, _COLLATION = "utf8mb4", "utf8mb4_bin"
_INEXACT = (
    "SELECT DISTINCT table_name FROM information_schema.columns WHERE table_schema = %s"
    " AND table_name IN ('connectors', 'connector_versions', 'connector_configurations')"
    " AND column_name IN ('connector_identifier', '_dlt_id') AND collation_name <> %s"
)


class _Types(MysqlVariantTypeMapper):
    """dlt's types, but for the texts of tables with the hint `EXACT_TEXT`."""

    def db_type_from_text_type(self, column: Any, table: Any) -> Any:
        """See `SqlalchemyTypeMapper`."""
        if table and table.get(EXACT_TEXT):
            return LONGTEXT(charset=_CHARSET, collation=_COLLATION)
        return super().db_type_from_text_type(column, table)


class _Capabilities(MysqlDialectCapabilities):
    def type_mapper_class(self) -> Any:
        return _Types


def keep_texts_exact() -> None:
    """Has dlt's `sqlalchemy` destination make this source's tables with texts of any length, compared byte by byte."""
    for name in ("mysql", "mariadb"):
        register_dialect_capabilities(name, _Capabilities)


def refuse_inexact_tables(client: Any) -> None:
    """Makes sure that tables of a dataset that are there already tell every two connectors apart.

    Args:
        client: dlt's SQL client of the dataset, connected.

    Raises:
        SupermetricsConfigurationError: One does not; it is named, with the statement that mends it.
    """
    if client.dialect_name not in ("mysql", "mariadb"):
        return
    found = client.execute_sql(_INEXACT, client.dataset_name, _COLLATION)
    names = [client.make_qualified_table_name(table) for table in sorted(table for (table,) in found or ())]
    if names:
        mend = "; ".join(
            f"ALTER TABLE {name} CONVERT TO CHARACTER SET {_CHARSET} COLLATE {_COLLATION}" for name in names
        )
        raise SupermetricsConfigurationError(
            f"{names[0]} was made with a collation that takes identifiers for one which differ only in case, so that a "
            f"connector would be lost. Mend it with: {mend}"
        )
