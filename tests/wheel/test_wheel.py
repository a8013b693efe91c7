"""The wheel has two packages and complete metadata, and its program runs without the clone."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import duckdb
import pytest

from supermetrics_loader.sandbox.data import shipped_teams
from tests.helpers.sandbox import Sandbox

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "pipelines" / "orchestrators"


def run(command: list[str], folder: Path, **variables: str) -> str:
    """Runs a command to its successful end, without this project's settings, and returns its standard output."""
    kept = {name: value for name, value in os.environ.items() if "__" not in name and not name.startswith("PYTHON")}
    own = {"DLT_DATA_DIR": str(folder / "dlt"), "RUNTIME__DLTHUB_TELEMETRY": "false"}
    done = subprocess.run(  # noqa: S603 - the tests make up the commands themselves
        command, cwd=folder, env={**kept, **own, **variables}, capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the sdist, and the wheel built of it."""
    folder = tmp_path_factory.mktemp("dist")
    run([sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)], folder)
    return folder


@pytest.fixture(scope="session")
def wheel(built: Path) -> Path:
    """The wheel."""
    [wheel] = built.glob("*.whl")
    return wheel


@pytest.fixture(scope="session")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment with the wheel and its requirements, in the tested versions."""
    folder = tmp_path_factory.mktemp("venv")
    run([sys.executable, "-m", "venv", str(folder)], folder)
    install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run([str(folder / "bin" / "python"), *install, "--constraint", str(ROOT / "constraints.txt"), str(wheel)], folder)
    return folder / "bin"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A user's dlt project, which has packages `sources` and `pipelines` of its own."""
    for name in ("sources", "pipelines"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise RuntimeError('mine')\n")
    return tmp_path


def test_the_wheel_installs_two_packages(wheel: Path) -> None:
    """Another name in site-packages could hide a user's package, or be hidden by one."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        [metadata] = [archive.read(name).decode() for name in names if name.endswith(".dist-info/METADATA")]
    first = {name.partition("/")[0] for name in names}
    assert {name for name in first if not name.endswith(".dist-info")} == {
        "supermetrics_connectors",
        "supermetrics_loader",
    }
    assert {"supermetrics_connectors/py.typed", "supermetrics_loader/py.typed"} <= set(names)
    assert {f"supermetrics_loader/report/page.{kind}" for kind in ("css", "html", "js")} <= set(names)
    for version in range(10, 14):
        assert f"Classifier: Programming Language :: Python :: 3.{version}\n" in metadata
    assert "\nProject-URL: " in metadata


def test_a_package_index_accepts_the_files_and_renders_the_readme(built: Path) -> None:
    """The checks that a package index makes on upload."""
    run([sys.executable, "-m", "twine", "check", "--strict", *map(str, built.iterdir())], built)


def test_links_of_the_readme_lead_to_the_configured_repository(tmp_path: Path) -> None:
    """A package index cannot follow relative links. Without a configured repository, links stay relative."""
    for name in ("pyproject.toml", "README.md", "LICENSE", "hatch_build.py"):
        shutil.copy(ROOT / name, tmp_path)
    code = (
        "import sys; from hatchling.metadata.core import ProjectMetadata; from hatchling.plugin.manager import "
        "PluginManager; sys.stdout.write(ProjectMetadata('.', PluginManager()).core.readme)"
    )
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert run([sys.executable, "-c", code], tmp_path) == readme
    settings = tmp_path / "pyproject.toml"
    text = settings.read_text(encoding="utf-8")
    settings.write_text(text.replace('repository = ""', 'repository = "https://host.example/us/ours/"'), "utf-8")
    shown = run([sys.executable, "-c", code], tmp_path)
    assert "](https://host.example/us/ours/blob/v0.1.0/docs/destinations.md)" in shown
    assert "changes by day](https://host.example/us/ours/raw/v0.1.0/docs/" in shown
    assert re.findall(r"\]\((?!https://)", shown) == []
    assert re.sub(r"https://host.example/us/ours/(blob|raw)/v0.1.0/", "", shown) == readme


def test_the_installed_program_loads(environment: Path, project: Path) -> None:
    """From a folder with other packages; dlt reads the loaded tables."""
    program = str(environment / "supermetrics-connectors")
    assert "load" in run([program, "--help"], project)
    run([program, "load", "--sandbox", "--include-configs"], project)

    database = project / "supermetrics_connectors.duckdb"
    with duckdb.connect(str(database), read_only=True) as connection:
        counted = connection.execute("select count(*) from supermetrics_sandbox.connectors").fetchall()
    assert counted == [(sum(map(len, shipped_teams().values())),)]
    assert "supermetrics" in run([str(environment / "dlt"), "pipeline", "supermetrics", "info"], project)
    code = "import dlt; print(dlt.attach('supermetrics').dataset().connectors['team_id'].fetchall().__len__())"
    assert run([str(environment / "python"), "-W", "ignore", "-c", code], project) == f"{counted[0][0]}\n"


def test_uvx_runs_the_program(wheel: Path, project: Path) -> None:
    """As pipx does, in an environment for the one program."""
    uvx = [sys.executable, "-m", "uv", "tool", "run", "--quiet", "--constraints", str(ROOT / "constraints.txt")]
    program = [*uvx, "--from", str(wheel), "supermetrics-connectors"]
    assert "load" in run([*program, "--help"], project)
    run([*program, "load", "--sandbox"], project)
    assert (project / "supermetrics_connectors.duckdb").exists()


@pytest.mark.parametrize("example", ["airflow_dag.py", "airflow_shards_dag.py", "dagster_assets.py", "prefect_flow.py"])
def test_the_imports_of_the_examples_exist(environment: Path, project: Path, example: str) -> None:
    """In a project with other packages; tests/orchestrators runs the examples."""
    imports = [
        line
        for line in (EXAMPLES / example).read_text(encoding="utf-8").splitlines()
        if line.startswith(("from supermetrics", "import supermetrics"))
    ]
    assert len(imports) >= 4
    (project / "copied.py").write_text("\n".join(imports))
    run([str(environment / "python"), "copied.py"], project)


def test_the_cron_script_uses_the_installed_program(environment: Path, project: Path) -> None:
    """The other examples are Python modules."""
    with Sandbox() as sandbox:
        run(
            ["bash", str(EXAMPLES / "cron.sh")],
            project,
            PATH=f"{environment}{os.pathsep}{os.environ['PATH']}",
            SUPERMETRICS_LOG=str(project / "log"),
            SUPERMETRICS_API_KEY=sandbox.token,
            SOURCES__SUPERMETRICS__BASE_URL=sandbox.url,
            SOURCES__SUPERMETRICS__TEAM_IDS=str(sandbox.team_ids),
            DESTINATION__DUCKDB__CREDENTIALS=str(project / "cron.duckdb"),
        )
    assert (project / "cron.duckdb").exists()
