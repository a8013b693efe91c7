"""Sessions of a destination, in which what is read does not depend on how the server is set up."""

from typing import Any

from dlt.common.configuration.container import Container
from dlt.common.pipeline import PipelineContext


def running_pipeline() -> Any:
    """The pipeline that runs; `dlt.current.pipeline()` looks its settings up anew each time, for 4 ms."""
    return Container()[PipelineContext].pipeline()


def in_utc(client: Any) -> Any:
    """Has a SQL client of dlt, before it is opened, read times in UTC.

    In the server's, role's or database's own zone a time of the year 1 or 9999 may be one of a year that Python does
    not have, and then no row can be read.

    Args:
        client: The client.

    Returns:
        The same client.
    """
    credentials: Any = getattr(client, "credentials", None)
    if hasattr(credentials, "session_timezone"):  # a startup option: unlike SET, it outlasts the reset after an error
        credentials.session_timezone = "UTC"
    return client
