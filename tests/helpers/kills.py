"""Loads by the command line in processes of their own, to be killed: at some moment, or between two commits."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any
from unittest import mock

from dlt.common.configuration.container import Container
from dlt.common.configuration.specs.pluggable_run_context import PluggableRunContext
from dlt.common.destination.client import RunnableLoadJob

from supermetrics_loader.cli.main import run

_context = multiprocessing.get_context("forkserver")


@dataclass(frozen=True)
class Moment:
    """Between two commits of a load, by the names of dlt's jobs.

    Attributes:
        held: Jobs that never begin.
        done: Jobs after the last of which the process is killed.
    """

    held: frozenset[str]
    done: frozenset[str]


@contextmanager
def started(arguments: list[str], moment: Moment | None = None) -> Iterator[ForkServerProcess]:
    """The command line at work, in this folder and environment; it does not outlive its use."""
    _prepare()
    child = _context.Process(target=_load, args=(arguments, moment, str(Path.cwd()), dict(os.environ)))
    child.start()
    try:
        yield child
    finally:
        child.kill()
        child.join()


def killed_between(arguments: list[str], moment: Moment) -> None:
    """Loads and is killed at a moment; fails if that never comes."""
    with started(arguments, moment) as child:
        child.join(300)  # which takes a second or two
        assert child.exitcode == -signal.SIGKILL, f"{moment} never came"


def _prepare() -> None:
    """Has all modules imported once, by a process from which the others are forked: that is half of their time."""
    path = str(Path(__file__).parents[2])
    with mock.patch.dict(os.environ, PYTHONPATH=path):
        _context.set_forkserver_preload([__name__])
        forkserver.ensure_running()


def _load(arguments: list[str], moment: Moment | None, folder: str, environment: Mapping[str, str]) -> None:
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    Container()[PluggableRunContext].reload_providers()
    if moment:
        _kill_at(moment)
    sys.exit(run(arguments))


def _kill_at(moment: Moment) -> None:
    run_managed = RunnableLoadJob.run_managed
    rest, lock = set(moment.done), threading.Lock()

    def run_until_the_last(job: RunnableLoadJob, *given: Any) -> None:
        name = f"{'merge' if job.file_name().endswith('.sql') else 'rows'} of {job.job_file_info().table_name}"
        if name in moment.held:
            threading.Event().wait()
        run_managed(job, *given)
        with lock:
            rest.discard(name)
            if not rest:
                os.kill(os.getpid(), signal.SIGKILL)

    RunnableLoadJob.run_managed = run_until_the_last  # type: ignore[method-assign]
