"""README and docs do what they say: queries and commands run as written, tables are those of a real load."""

from __future__ import annotations

import inspect
import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import duckdb
import pytest
import tomlkit

from supermetrics_connectors import supermetrics_source
from supermetrics_connectors.specs import TABLES, TableSpec
from supermetrics_loader.cli.main import cli, run
from supermetrics_loader.run.exit_codes import Exit
from supermetrics_loader.sandbox.data import shipped_teams
from tests.helpers.commands import script
from tests.helpers.sandbox import Sandbox

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
README_TEAMS = [712043, 823519]
"""The reader's own teams in the README. The sandbox has others, whose rows a load of these teams never removes."""
PAGES = {
    path.relative_to(ROOT): path.read_text(encoding="utf-8")
    for path in (
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
        *sorted((ROOT / "docs").glob("*.md")),
    )
}


def blocks(language: str, text: str = README) -> list[str]:
    """The contents of a page's code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def commands(program: str, text: str = README) -> list[list[str]]:
    """Every command line of a program in a page's shell blocks and crontab, and in its text between backticks."""
    lines = [
        line for language in ("sh", "bash", "text") for each in blocks(language, text) for line in each.splitlines()
    ]
    lines = [re.sub(r"\s+#.*$", "", line) for line in lines]
    lines += re.findall(rf"`({program} [^`]+)`", text)
    calls = (re.search(rf"(?:^|/){program} (.*?)(?: *>.*)?$", re.split(r"\s&&\s|^\$ ", line)[-1]) for line in lines)
    return [shlex.split(call[1]) for call in calls if call]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of the README's first command, in the dataset of the documents and with all optional tables."""
    folder = tmp_path_factory.mktemp("readme")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("DLT_DATA_DIR", str(folder / "dlt"))
        patch.setenv("RUNTIME__DLTHUB_TELEMETRY", "false")
        more = ["--include-teams", "--include-logs", "--include-secrets"]
        for _ in range(2):  # the sandbox is edited between them
            assert run(["load", "--sandbox", "--include-configs", "--dataset", "supermetrics", *more]) == Exit.OK
    return folder / "supermetrics_connectors.duckdb"


@pytest.fixture
def connection(loaded: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """That file, opened as the README says."""
    with duckdb.connect(str(loaded), read_only=True) as connection:
        yield connection


@pytest.mark.parametrize("page", [page for page, text in PAGES.items() if blocks("sql", text)], ids=str)
def test_queries_run_as_written(connection: duckdb.DuckDBPyConnection, page: Path) -> None:
    """With names in two parts, as every other tool writes them."""
    for query in blocks("sql", PAGES[page]):
        connection.execute(query).fetchall()


@pytest.mark.parametrize("table", [*TABLES, "connector_changes"])
def test_tables_have_the_documented_columns_and_types(connection: duckdb.DuckDBPyConnection, table: str) -> None:
    """All of them and no other, dlt's own included."""
    documented = {column: kind for column, kind, _ in documented_columns(table)}
    described = connection.execute(f"describe supermetrics.{table}").fetchall()
    assert documented == {column: kind for column, kind, *_ in described}


def documented_columns(table: str) -> list[tuple[str, str, str]]:
    """Name, type and meaning of each column, as docs/tables.md has them."""
    section = re.search(rf"^## `{table}`\n(.*?)^## ", PAGES[Path("docs/tables.md")], re.MULTILINE | re.DOTALL)
    assert section
    found = re.findall(r"^\| `(\w+)` \| ([A-Z ]+) \| (.*?) ?\|$", section[1], re.MULTILINE)
    if "\nAll columns of `connectors` except `_deleted`, and:\n" in section[1]:
        found += [each for each in documented_columns("connectors") if each[0] != "_deleted"]
    return found


@pytest.mark.parametrize("spec", TABLES.values(), ids=lambda spec: spec.name)
def test_columns_are_described_as_in_the_specification(spec: TableSpec) -> None:
    """One text for the document, dlt's schema and destinations that keep comments."""
    described = {column: about for column, _, about in documented_columns(spec.name)}
    assert {each.name: described[each.name] for each in spec.columns} == {
        each.name: each.description for each in spec.columns
    }
    page = re.sub(r"\s+", " ", PAGES[Path("docs/tables.md")])
    assert spec.description.replace("_dlt_valid_to", "`_dlt_valid_to`") in page


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_commands_are_those_of_the_command_line(page: Path) -> None:
    """An option renamed in the program must be renamed here."""
    found = commands("supermetrics-connectors", PAGES[page])
    if page == Path("README.md"):
        assert {name for name, *_ in found} == {"check", "diff", "load", "report", "sql"}
    for name, *arguments in found:
        if name in ("--version", "COMMAND"):  # click's own, and any command
            continue
        command = cli.commands[name]
        if "--help" not in arguments:
            command.make_context(name, arguments, parent=click.Context(cli))


def test_git_ignores_what_the_documented_commands_leave_in_a_clone() -> None:
    """`dlt init` calls a clone dirty otherwise, and a log or report is soon committed."""
    left = ["supermetrics_connectors.duckdb", "report.html", "supermetrics.log", ".dlt/secrets.toml"]
    patterns = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert [name for name in left if not {f"/{name}", f"*{Path(name).suffix}"} & set(patterns)] == []


@pytest.fixture
def folder(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the settings that the repository ships, and a sandbox with the README's teams and its key."""
    for team_id, connectors in zip(README_TEAMS, shipped_teams().values(), strict=False):
        sandbox.add_team(team_id, connectors)
    shutil.copytree(ROOT / ".dlt", tmp_path / ".dlt", ignore=shutil.ignore_patterns("secrets.toml"))
    monkeypatch.setenv("SOURCES__SUPERMETRICS__BASE_URL", sandbox.url)
    return tmp_path


def test_settings_can_be_pasted_into_the_shipped_files(folder: Path, sandbox: Sandbox) -> None:
    """The block into config.toml, wherever there is room; the example copied, and the key put in its place."""
    [block] = [block for block in blocks("toml") if "config.toml" in block]
    config = folder / ".dlt" / "config.toml"
    shipped = config.read_text(encoding="utf-8")
    pasted = [f"{shipped}\n{block}", f"{block}\n{shipped}", shipped.replace("\n[load]", f"\n{block}\n[load]")]
    after, before, between = (tomlkit.parse(text).unwrap() for text in pasted)
    assert after == before == between != tomlkit.parse(shipped).unwrap()
    config.write_text(pasted[0], encoding="utf-8")
    [copy] = [line for block in blocks("sh") for line in block.splitlines() if "secrets.toml" in line]
    subprocess.run(shlex.split(copy), check=True)  # noqa: S603 - the README's own line
    secrets = folder / ".dlt" / "secrets.toml"
    secrets.write_text(secrets.read_text(encoding="utf-8").replace("api_...", sandbox.token), encoding="utf-8")
    done = script("load", "--json")
    assert (done.code, done.err) == (0, "")
    assert [team["team_id"] for team in json.loads(done.out)["teams"]] == README_TEAMS
    assert {request.include_configs for request in sandbox.requests} == {True}


def test_the_shipped_settings_are_the_defaults(folder: Path) -> None:
    """With their # taken away they can be read, and change nothing."""
    lines = (folder / ".dlt" / "config.toml").read_text(encoding="utf-8").splitlines()
    shown = [line.removeprefix("# ") for line in lines if re.match(r"# (\[sources|\w+ = )", line)]
    settings: dict[str, Any] = tomlkit.parse("\n".join(shown)).unwrap()["sources"]["supermetrics"]
    assert settings.pop("team_ids") == [936506, 941277]
    arguments = inspect.signature(supermetrics_source).parameters
    assert {name: arguments[name].default for name in settings} == settings
    assert len(settings) == 6


def test_the_example_of_diff_works_after_the_first_load(loaded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second load of a sandbox sees an edited configuration."""
    monkeypatch.chdir(loaded.parent)
    [example] = [command for command in commands("supermetrics-connectors") if command[0] == "diff"]
    assert run([*example, "--dataset", "supermetrics"]) == Exit.OK


def test_no_document_installs_a_package_of_the_project_from_an_index() -> None:
    """The project is not on the package index: what is installed comes from the clone."""
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, encoding="utf-8", check=True).stdout  # noqa: S607 - whichever git there is
    texts = [ROOT / name for name in names.splitlines() if Path(name).suffix in (".md", ".py", ".yml", ".sh", ".html")]
    assert len(texts) > 50
    assert [path for path in texts if re.search(r"supermetrics-connectors\[", path.read_text(encoding="utf-8"))] == []


def test_the_readers_own_teams_are_not_those_of_the_sandbox() -> None:
    """Pasted from top to bottom, the README loads both: an own team must not replace a team of the sandbox."""
    _, own = README.split("## Your own teams")
    assert {int(team_id) for team_id in re.findall(r"\b\d{6}\b", own)} == set(README_TEAMS)
    assert not set(README_TEAMS) & shipped_teams().keys()
    assert "SUPERMETRICS_DATASET" not in README


def test_make_targets_exist() -> None:
    """The pages name no target of make that is not there."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    named = {target for text in PAGES.values() for [target, *_] in commands("make", text)}
    assert {"load", "test", "check", "bench"} <= named <= targets


def test_exit_codes_are_the_documented_ones() -> None:
    """Schedulers are set up by this table."""
    table = re.search(r"^\| exit code .*?\n\n", PAGES[Path("docs/reliability.md")], re.MULTILINE | re.DOTALL)
    assert table
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", table[0], re.MULTILINE)} == set(Exit)


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_into_the_repository_lead_somewhere(page: Path) -> None:
    """A moved file takes its link along."""
    links = re.findall(r"\]\((?!https?:)([^)#]+)(#[^)]+)?\)", PAGES[page])
    assert [path for path, _ in links if not (ROOT / page.parent / path).exists()] == []


def test_files_that_the_contributor_guide_names_exist() -> None:
    """The tests of each invariant, and the files of each guide."""
    named = re.findall(r"`((?:tests|dbt|docs|pipelines|sources)/[\w./-]+)`", PAGES[Path("CONTRIBUTING.md")])
    assert len(named) > 20
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_first_page_is_short() -> None:
    """The README says what the project is and how to try it; other pages have the details."""
    assert len(README.splitlines()) <= 120
    assert len(PAGES[Path("CONTRIBUTING.md")].splitlines()) <= 125
