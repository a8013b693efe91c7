"""`dlt init` makes a working project of the source: copied alone, configured by its slots, run by its script."""

from __future__ import annotations

import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import duckdb
import pytest
import tomlkit
from packaging.requirements import Requirement

from supermetrics_connectors import supermetrics_source
from supermetrics_connectors.specs import TABLES
from tests.helpers.sandbox import Sandbox

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "sources" / "supermetrics_connectors"
NAME = SOURCE.name
SCRIPT = f"{NAME}_pipeline.py"

# All that a new user's shell has. HOME and DLT_DATA_DIR are put into the test's folder.
KEPT_VARIABLES = ("PATH", "SYSTEMROOT", "TEMP", "TMP", "LANG")


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with `sources/` as it lies on disk: dlt wants a commit, the tests what is not committed yet."""
    folder = tmp_path_factory.mktemp("repository")
    shutil.copytree(ROOT / "sources", folder / "sources", ignore=shutil.ignore_patterns("__pycache__"))
    _run(["git", "init", "--quiet"], folder)
    _run(["git", "add", "sources"], folder)
    author = ["-c", "user.name=Test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false"]
    _run(["git", *author, "commit", "--quiet", "--message", "The sources"], folder)
    return folder


@pytest.fixture(scope="module")
def initialised(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `dlt init` makes of an empty folder."""
    folder = tmp_path_factory.mktemp("initialised")
    _python(folder, "-m", "dlt", "--non-interactive", "init", NAME, "duckdb", "--location", str(repository))
    return folder


@pytest.fixture
def project(initialised: Path, tmp_path: Path) -> Path:
    """That project, for one test to fill in and run."""
    return shutil.copytree(initialised, tmp_path / "project")


@pytest.fixture
def shipped() -> Sandbox:
    """A sandbox with the shipped teams, not started."""
    return Sandbox()


def _run(command: list[str], folder: Path, **variables: str) -> str:
    """Runs a command to its successful end, in nearly no environment, and returns its standard output."""
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    own = {"HOME": str(folder), "DLT_DATA_DIR": str(folder / "dlt_data"), "RUNTIME__DLTHUB_TELEMETRY": "false"}
    done = subprocess.run(  # noqa: S603 - the tests make up the commands themselves
        command,
        cwd=folder,
        env={**kept, **own, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,  # the assertion shows the output, which CalledProcessError does not
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def _python(folder: Path, *arguments: str, **variables: str) -> str:
    """Runs Python with the installed packages but not this project: `-S` leaves out the link of an editable install."""
    packages = os.pathsep.join(sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}))
    return _run([sys.executable, "-S", *arguments], folder, PYTHONPATH=packages, **variables)


def _connectors_by_team(project: Path) -> dict[int, int]:
    with duckdb.connect(str(project / f"{NAME}_pipeline.duckdb")) as connection:
        counted = connection.execute("select team_id, count(*) from supermetrics.connectors group by 1").fetchall()
    return dict(counted)


def _listed_by_team(sandbox: Sandbox) -> dict[int, int]:
    return {team_id: len(sandbox.connectors(team_id)) for team_id in sandbox.team_ids}


def test_list_sources_shows_the_first_sentence_of_the_source(repository: Path, tmp_path: Path) -> None:
    """It is what a user chooses by; a requirements.txt that dlt cannot read would leave the source out of the list."""
    listed = _python(tmp_path, "-m", "dlt", "init", "--list-sources", "--location", str(repository))
    sentence = (SOURCE / "__init__.py").read_text(encoding="utf-8").splitlines()[0].strip('"')
    assert sentence.endswith(".")
    assert f"{NAME}: {sentence}\n" in listed


def test_init_copies_the_source_and_leaves_slots_for_the_key_and_the_teams(initialised: Path) -> None:
    """All files but requirements.txt, which becomes the project's own; and nothing else to fill in."""
    copied = {path.relative_to(initialised / NAME) for path in (initialised / NAME).rglob("*.*")}
    left_out = ("*.pyc", "py.typed", "requirements.txt")
    expected = {path.relative_to(SOURCE) for path in SOURCE.rglob("*.*") if not any(map(path.match, left_out))}
    assert copied == expected
    slots = {"secrets.toml": {"api_key": "<configure me>"}, "config.toml": {"team_ids": "team_ids"}}
    for file, expected_slots in slots.items():
        content = tomlkit.parse((initialised / ".dlt" / file).read_text(encoding="utf-8")).unwrap()
        assert content["sources"] == {NAME: expected_slots}


def test_init_writes_requirements_with_the_destination(initialised: Path) -> None:
    """`pip install -r requirements.txt` brings what the source imports and the destination needs."""
    lines = (initialised / "requirements.txt").read_text(encoding="utf-8").splitlines()
    requirements = {requirement.name: requirement for requirement in map(Requirement, lines)}
    assert requirements["dlt"].extras == {"duckdb", "parquet"}
    code = "\n".join(path.read_text(encoding="utf-8") for path in SOURCE.rglob("*.py"))
    imported = set(re.findall(r"^(?:import|from) (\w+)", code, re.MULTILINE)) - sys.stdlib_module_names
    with_destinations = {"deltalake", "sqlalchemy"}  # as a database's driver does
    assert imported - with_destinations <= requirements.keys()
    # the tests run with the project's versions, so a bound in both files is the same in both
    project = tomlkit.parse((ROOT / "pyproject.toml").read_text(encoding="utf-8")).unwrap()["project"]
    declared = {requirement.name: requirement.specifier for requirement in map(Requirement, project["dependencies"])}
    for line in (SOURCE / "requirements.txt").read_text(encoding="utf-8").splitlines():
        requirement = Requirement(line)
        assert requirement.specifier == declared.get(requirement.name, requirement.specifier), requirement.name


def test_the_example_script_loads_once_the_slots_are_filled_in(project: Path, shipped: Sandbox) -> None:
    """A source that does not look where `dlt init` wrote its slots would call the settings missing."""
    for file, slot, value in (
        ("secrets.toml", '"<configure me>"', f'"{shipped.token}"'),
        ("config.toml", '"team_ids"', str(shipped.team_ids)),
    ):
        path = project / ".dlt" / file
        path.write_text(path.read_text(encoding="utf-8").replace(slot, value), encoding="utf-8")
    with shipped:
        printed = _python(project, SCRIPT, SOURCES__SUPERMETRICS__BASE_URL=shipped.url)
    listed = _listed_by_team(shipped)
    assert _connectors_by_team(project) == listed
    assert "LOADED and contains no failed jobs" in printed
    assert f"('connectors', {sum(listed.values())})" in printed


DESCRIBED = f"""
import dlt, json
import {SCRIPT[:-3]} as example
from {NAME} import supermetrics_source
example.load_connectors_with_configurations()
example.show_connectors()
pipeline = dlt.pipeline("described", destination="duckdb", dataset_name="supermetrics")
everything = dict(include_configs=True, include_teams=True, include_logs=True, include_secrets=True)
pipeline.run(supermetrics_source(**everything))
print(json.dumps({{table["name"]: table for table in pipeline.default_schema.data_tables()}}))
"""


def test_examples_run_with_the_settings_of_the_environment_and_every_column_is_described(
    project: Path, shipped: Sandbox
) -> None:
    """The environment wins over slots that nobody filled in. Destinations that keep comments show the descriptions."""
    settings = {"API_KEY": shipped.token, "TEAM_IDS": ",".join(map(str, shipped.team_ids))}
    with shipped:
        settings["BASE_URL"] = shipped.url
        variables = {f"SOURCES__SUPERMETRICS__{name}": value for name, value in settings.items()}
        printed = _python(project, "-c", DESCRIBED, **variables)
    assert _connectors_by_team(project) == _listed_by_team(shipped)
    configured = [
        each for team_id in shipped.team_ids for each in shipped.connectors(team_id) if each.get("configuration")
    ]
    assert f"('connector_configurations', {len(configured)})" in printed
    tables = json.loads(printed.splitlines()[-1])
    for name, spec in TABLES.items():
        assert tables[name]["description"] == spec.description
        for column in spec.columns:
            if column.name not in ("_dlt_valid_from", "_dlt_valid_to", "version_id"):  # the columns of SCD2
                assert tables[name]["columns"][column.name]["description"] == column.description


def test_readme_of_the_source_names_every_setting_and_its_default() -> None:
    """The table is written by hand; a setting that changes must change there as well."""
    readme = (SOURCE / "README.md").read_text(encoding="utf-8")
    documented = dict(re.findall(r"^\| `(\w+)` \| (\S+) \|", readme, re.MULTILINE))
    settings = inspect.signature(supermetrics_source).parameters.values()
    expected = {
        setting.name: "required" if setting.name in ("team_ids", "api_key") else f"`{setting.default!r}`"
        for setting in settings
    }
    assert {name: default.replace('"', "'") for name, default in documented.items()} == expected
