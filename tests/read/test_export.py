"""`supermetrics-connectors export`: a folder that a git repository can follow, and no file outside."""

from __future__ import annotations

import json
import re
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from supermetrics_loader.cli.main import run
from supermetrics_loader.read.export import MANIFEST
from supermetrics_loader.read.file_names import FILE, file_names
from tests.read.conftest import FAILING, TEAM

FILES = [f"{TEAM}/CRM.json", f"{TEAM}/bare.json", f"{FAILING}/OTHER.json"]


def files(folder: Path = Path("out")) -> list[str]:
    """The files below a folder, without the manifest."""
    found = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())
    return sorted(path for path in found if path != MANIFEST)


def identifier_of(file: PurePosixPath) -> str:
    """The identifier of a connector's file."""
    encoded = "/".join(file.parts[1:]).removesuffix(".json").replace("%/%", "")
    data = re.sub(rb"%([0-9A-F]{2})", lambda found: bytes.fromhex(found[1].decode()), encoded.encode())
    return data.decode(errors="surrogatepass") if encoded != "%" else ""


@given(st.lists(st.text(min_size=0, max_size=150) | st.sampled_from(["a", "A", "aA", "con", "CON"]), unique=True))
@example(["..", "a/b", "nul", "COM1", ".", "", "é" * 100, "x" * 500, "%41", "T3S70", "call-tracking_EU"])
def test_every_name_becomes_a_file_of_its_own_and_back(identifiers: list[str]) -> None:
    """On every file system: no dot, slash or reserved name, no two names that differ in capitals only."""
    names = file_names((TEAM, identifier) for identifier in identifiers)
    assert [(TEAM, identifier_of(file)) for file in names.values()] == [*names]
    assert len({str(file).lower() for file in names.values()}) == len(identifiers)
    for file in names.values():
        assert FILE.fullmatch(str(file))
        assert max(map(len, file.parts)) < 255
        assert not {part.removesuffix(".json").lower() for part in file.parts} & {"con", "nul", "com1"}


def test_names_that_the_api_documents_stay_as_they_are() -> None:
    """Capitals are encoded only if two connectors of a team differ in nothing else."""
    keys = [(1, "ab"), (1, "AB"), (1, "call-tracking_EU"), (2, "AB")]
    files = ["1/ab.json", "1/%41%42.json", "1/call-tracking_EU.json", "2/AB.json"]
    assert [str(file) for file in file_names(keys).values()] == files


def test_an_export_is_stable_and_follows_the_dataset(destination: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The same data is the same bytes; a connector that is gone has no file; other files stay."""
    to = ["--destination", destination]
    Path("out").mkdir()
    Path("out/README.md").write_text("ours")
    assert run(["export", "out", *to]) == 0
    assert files() == sorted([*FILES, "README.md"])
    first = {path: Path("out", path).read_bytes() for path in files()}
    document = json.loads(first[FILES[0]])
    assert (document["team_id"], document["name"]) == (TEAM, "Internal CRM")
    assert (document["published_at"], document["owner"]) == (1732500000, {"teams": [7]})
    assert document["configuration"]["version"] == "1.1.0"
    assert document["configuration"]["configuration_json"]["reporting"]["schedule"] == "daily"
    assert json.loads(first[FILES[2]])["configuration"] is None
    capsys.readouterr()
    assert run(["export", "out", "--json", *to]) == 0
    counts = json.loads(capsys.readouterr().out)
    assert (counts["written"], counts["unchanged"], counts["removed"]) == (0, 3, 0)
    assert {path: Path("out", path).read_bytes() for path in files()} == first


def test_an_export_of_the_past_has_the_connectors_of_then(destination: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Between the two loads the deleted connector was there; before them nothing is known."""
    to = ["--destination", destination]
    assert run(["changes", "--json", *to]) == 0
    at = json.loads(capsys.readouterr().out)["changes"][0]["detected_at"]
    query = f"select max(_dlt_valid_from) as at from connector_versions where _dlt_valid_from < '{at}'"
    assert run(["sql", query, "--json", *to]) == 0
    first_load = json.loads(capsys.readouterr().out)["rows"][0]["at"]
    assert run(["export", "out", "--at", first_load, *to]) == 0
    assert files() == sorted([*FILES, f"{TEAM}/GONE.json"])
    assert json.loads(Path("out", FILES[0]).read_text())["configuration"]["version"] == "1.0.0"
    assert run(["export", "out", *to]) == 0
    assert files() == sorted(FILES)
    assert run(["export", "out", "--at", "2020-01-01", *to]) == 64
    assert files() == sorted(FILES)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder that the export must not touch."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "CRM.json").write_text("untouched")
    return tmp_path / "elsewhere"


@pytest.mark.parametrize("destination", ["duckdb"], indirect=True)
@pytest.mark.usefixtures("destination")
def test_nothing_outside_the_folder_is_touched(outside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither through a link to a folder, a link to a file, nor an edited manifest."""
    Path("out").mkdir()
    Path("out", str(TEAM)).symlink_to(outside)
    assert run(["export", "out"]) == 64
    assert "symbolic link" in capsys.readouterr().err
    Path("out", str(TEAM)).unlink()
    assert run(["export", "out"]) == 0
    manifest = Path("out", MANIFEST)
    listed = json.loads(manifest.read_text())
    listed["files"] += ["../elsewhere/CRM.json", "/etc/hostname", f"{TEAM}/../../elsewhere/CRM.json", 3]
    manifest.write_text(json.dumps(listed))
    Path("out", FILES[0]).unlink()
    Path("out", FILES[0]).symlink_to(outside / "CRM.json")
    assert run(["export", "out"]) == 0
    assert not Path("out", FILES[0]).is_symlink()
    assert files(outside) == ["CRM.json"]
    assert (outside / "CRM.json").read_text() == "untouched"


@pytest.mark.parametrize("destination", ["duckdb"], indirect=True)
@pytest.mark.usefixtures("destination")
@pytest.mark.parametrize("name", [f"out/{FILES[0]}", f"out/{MANIFEST}", "out"])
def test_a_file_of_somebody_else_is_a_usage_error(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The message names the file, which stays."""
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text("ours")
    assert run(["export", "out"]) == 64
    assert name.rpartition("/")[2] in capsys.readouterr().err
    assert Path(name).read_text() == "ours"


@pytest.mark.parametrize("destination", ["duckdb"], indirect=True)
@pytest.mark.usefixtures("destination")
def test_a_folder_that_takes_no_files_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    """The message names the folder: one below a file, a manifest and a file that are folders, a pseudo file system."""
    Path("file").touch()
    Path("out", MANIFEST).mkdir(parents=True)
    Path("taken", FILES[0]).mkdir(parents=True)
    Path("taken", MANIFEST).write_text(json.dumps({"files": FILES}))
    for folder in ("file/sub", "out", "taken", "/proc/none"):
        assert run(["export", folder]) == 64
        assert f"The folder {folder} cannot take the export: " in capsys.readouterr().err


@pytest.mark.parametrize("destination", ["duckdb"], indirect=True)
@pytest.mark.usefixtures("destination")
def test_a_broken_off_export_is_completed_by_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """The manifest names files before they are written, so the next export knows them."""

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", lambda _: fail() if any(file.endswith(".json") for file in files()) else None)
        assert run(["export", "out"]) == 64
    assert len(files()) == 1
    assert run(["export", "out"]) == 0
    assert files() == sorted(FILES)
