"""Errors of the read side.

```
ReadError                 the question has no answer: exit code 64
├── NothingLoadedError    nothing has been loaded there
├── NoVersionError        there is no such version, or none at that moment
├── QueryError            the query is not a read-only query, or the database refused it
└── ExportError           the folder cannot take the export
BrokenVersionError        a stored document is no JSON: exit code 1
```
"""


class ReadError(Exception):
    """The question has no answer; the message says why and what to do."""


class NothingLoadedError(ReadError):
    """Nothing has been loaded to the dataset.

    Args:
        dataset: The dataset.
        location: Its destination, without credentials.
    """

    def __init__(self, dataset: str, location: str) -> None:
        super().__init__(
            f"Nothing has been loaded to the dataset {dataset} of {location}.\n"
            "Load it first, with supermetrics-connectors load, or name another dataset with --dataset, "
            "such as the one that the summary of a load names."
        )


class NoVersionError(ReadError):
    """There is no such version; the message lists those that exist."""


class QueryError(ReadError):
    """The query is not a read-only query, or the database refused it."""


class ExportError(ReadError):
    """The folder cannot take the export without touching files that `export` did not write."""


class BrokenVersionError(Exception):
    """The stored document of a version is not JSON; a load never writes one. The message says how to repair it."""
