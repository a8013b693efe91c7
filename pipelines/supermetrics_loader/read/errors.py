"""Errors of the read side.

```
ReadError                 the question has no answer: exit code 64
└── NothingLoadedError    nothing has been loaded there
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


class BrokenVersionError(Exception):
    """The stored document of a version is not JSON; a load never writes one. The message says how to repair it."""
