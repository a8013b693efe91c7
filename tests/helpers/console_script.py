"""The command line as a program, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = str(Path(sys.executable).parent / "supermetrics-connectors")


def script(*arguments: str, **environment: str) -> tuple[int, str, str]:
    """Runs the console script: its exit code, output and errors."""
    done = subprocess.run(  # noqa: S603 - the tests make up the commands themselves
        [SCRIPT, *arguments], capture_output=True, encoding="utf-8", env={**os.environ, **environment}, check=False
    )
    return done.returncode, done.stdout, done.stderr
