"""What a command imports before it answers."""

import subprocess
import sys

import pytest

SLOW = {"dlt", "duckdb", "pyarrow", "requests", "rich"}


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--help"], 0),
        (["--version"], 0),
        (["load", "--help"], 0),
        (["report", "--help"], 0),
        (["load", "--nope"], 64),
        (["check", "--nope"], 64),
        (["load", "--dataset", ""], 64),
        (["nope"], 64),
    ],
)
def test_who_asks_for_help_or_types_something_wrong_is_answered_without_dlt(arguments: list[str], code: int) -> None:
    """It alone takes half a second to import."""
    done = _python(
        "import sys; from supermetrics_loader.cli.main import run; code = run(sys.argv[1:]); "
        f"print(*sorted({SLOW} & sys.modules.keys()), sep=','); sys.exit(code)",
        *arguments,
    )
    assert (done.returncode, done.stdout.splitlines()[-1]) == (code, "")


def _python(code: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, encoding="utf-8", timeout=120, check=False)  # noqa: S603 - ours
