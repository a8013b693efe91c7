"""Warehouses whose engine, or an emulator of it, runs on one machine: started for the tests, each in its own folder."""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
MARIADB = shutil.which("mariadbd", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")


def is_installed(module: str) -> bool:
    """Whether this environment has a module."""
    return importlib.util.find_spec(module) is not None


_EMULATOR_OF_BIGQUERY = ROOT / ".venv-bigquery" / "bin" / "local-bigquery"
_MEANT = {
    "mariadb": is_installed("pymysql"),
    "clickhouse": is_installed("chdb"),
    "bigquery": is_installed("db_dtypes"),
    "snowflake": is_installed("fakesnow"),
}
LEFT_OUT = {
    "mariadb": "" if MARIADB else "its server is not installed, for example: apt-get install mariadb-server",
    "bigquery": ""
    if _EMULATOR_OF_BIGQUERY.exists()
    else "its emulator needs Python 3.13 or 3.14, for example: python3.13-venv",
}
"""Why a warehouse that this environment is for cannot be tried, and what to install; empty if it can."""
WAREHOUSES = [name for name, is_meant in _MEANT.items() if is_meant and not LEFT_OUT.get(name)]
"""Those that this environment is for and that are there; none in the one for all other tests."""


def only_this_machine(event: str, arguments: tuple[Any, ...]) -> None:
    """Audits this process: a driver whose emulator is not in its place must not sign in to the real warehouse."""
    host: Any = None
    if event == "socket.getaddrinfo":
        host = arguments[0]
    elif event == "socket.connect" and isinstance(arguments[1], tuple):
        host = arguments[1][0]
    if host not in _THIS_MACHINE:
        raise AssertionError(f"A test would have reached {host!r}, another host")


_THIS_MACHINE = {None, "", b"", "localhost", "127.0.0.1", "::1", "0.0.0.0"}  # noqa: S104 - nothing listens there


def free_port() -> int:
    """A port of the loopback interface that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def running(command: list[str], log: Path, answers: Callable[[], object]) -> Iterator[None]:
    """A server, until the block is left.

    Args:
        command: Starts it.
        log: For what it prints.
        answers: Raises an `OSError` as long as it does not answer.
    """
    with log.open("w") as output, subprocess.Popen(command, stdout=output, stderr=output) as server:  # noqa: S603 - our own
        try:
            _wait(server, log, answers)
            yield
        finally:
            server.terminate()


def _wait(server: subprocess.Popen[bytes], log: Path, answers: Callable[[], object]) -> None:
    for _ in range(600):
        with contextlib.suppress(OSError):
            answers()
            return
        assert server.poll() is None, log.read_text()
        time.sleep(0.1)
    raise AssertionError(f"No answer in a minute: {log.read_text()}")


@pytest.fixture(scope="session")
def mariadb_url() -> Iterator[str]:
    """A MariaDB server with the defaults of its makers; the address of its root user, who has no password."""
    assert MARIADB
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="mariadb", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        options = ["--no-defaults", "--user=root", f"--datadir={folder / 'data'}"]
        install = ["mariadb-install-db", *options, "--auth-root-authentication-method=normal", "--skip-test-db"]
        subprocess.run(install, check=True, capture_output=True)  # noqa: S603 - our own
        listen = ["--bind-address=127.0.0.1", f"--port={port}", f"--socket={folder / 'socket'}"]
        # not on disk before it goes on: nothing here has to outlast a power cut
        fast = ["--innodb-flush-log-at-trx-commit=0", "--innodb-doublewrite=0"]
        command = [MARIADB, *options, *listen, *fast]
        with running(command, folder / "log", lambda: socket.create_connection(("127.0.0.1", port)).close()):
            yield f"mysql+pymysql://root@127.0.0.1:{port}"


@pytest.fixture(scope="session")
def clickhouse_engine() -> Iterator[Any]:
    """ClickHouse's engine in this process, in the place of any server."""
    from tests.helpers.clickhouse_engine import Engine  # noqa: PLC0415 - installed where it is tested

    with (
        tempfile.TemporaryDirectory(prefix="clickhouse", ignore_cleanup_errors=True) as folder,
        Engine(Path(folder)).instead_of_a_server() as engine,
    ):
        yield engine


@pytest.fixture(scope="session")
def clickhouse_url(clickhouse_engine: Any) -> str:
    """An address that leads to the engine, as any would."""
    assert clickhouse_engine
    return "clickhouse://default:x@127.0.0.1:1/default?secure=0"


@pytest.fixture(scope="session")
def bigquery_url() -> Iterator[str]:
    """An emulator of BigQuery: a server of its REST interface whose SQL runs on DuckDB; the address of its project."""
    from dlt.common.configuration.specs import GcpServiceAccountCredentials  # noqa: PLC0415 - installed where it is tested
    from google.auth.credentials import AnonymousCredentials  # noqa: PLC0415 - it comes with the emulator

    server = _EMULATOR_OF_BIGQUERY
    port, grpc_port = free_port(), free_port()
    with tempfile.TemporaryDirectory(prefix="bigquery", ignore_cleanup_errors=True) as name:
        listen = ["--host=127.0.0.1", f"--port={port}", f"--grpc-port={grpc_port}", f"--data-dir={name}/data"]
        with pytest.MonkeyPatch.context() as patched:
            patched.setenv("HOME", name)  # where DuckDB finds its extensions
            _link_extensions(server.parent / "python", Path(name))
            command = [str(server), *listen, "serve"]
            with running(command, Path(name) / "log", lambda: socket.create_connection(("127.0.0.1", port)).close()):
                patched.setattr(GcpServiceAccountCredentials, "to_native_credentials", lambda _: AnonymousCredentials())
                patched.setenv("BIGQUERY_EMULATOR_HOST", f"http://127.0.0.1:{port}")
                yield "bigquery:project"


@pytest.fixture(scope="session")
def snowflake_url() -> Iterator[str]:
    """An emulator of Snowflake in the place of any account: its statements are translated for DuckDB."""
    from tests.helpers.snowflake_emulator import emulated  # noqa: PLC0415 - installed where it is tested

    with emulated():
        yield "snowflake://loader:x@account/warehouse?warehouse=compute"


def _link_extensions(python: Path, home: Path) -> None:
    """DuckDB's extensions as it would have downloaded them, from the packages that carry them."""
    subprocess.run([python, "-c", _LINK, home], check=True)  # noqa: S603 - our own


_LINK = """
import duckdb, importlib.resources, pathlib, sys
((platform,),) = duckdb.connect().execute("PRAGMA platform").fetchall()
for name in ("ducklake", "icu", "json", "spatial"):
    for version in (importlib.resources.files(f"duckdb_extension_{name}") / "extensions").iterdir():
        file = f"{name}.duckdb_extension"
        folder = pathlib.Path(sys.argv[1]) / ".duckdb" / "extensions" / version.name / platform
        folder.mkdir(parents=True, exist_ok=True)
        (folder / file).symlink_to(version / file)
"""
