"""Writes each connector to a JSON file of its own, so that a git repository of the folder shows who changed what."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

from supermetrics_connectors.interface import to_utc

from ..files import write_file_atomically
from ..sanitize import sanitize
from .dataset import Dataset
from .errors import ReadError
from .file_names import FILE, Key, file_names
from .history import Row, is_valid_at, moment_text, parsed_document, pretty_json

MANIFEST = ".supermetrics-connectors.json"
"""The list of the files that `export` wrote into a folder."""
_BATCH_CONNECTORS = 250
"""Connectors whose configurations are in memory together."""


@dataclass
class ExportResult:
    """What an export did to the folder.

    Attributes:
        written: Number of new and changed files.
        unchanged: Number of files that stayed as they were.
        removed: Number of removed files.
    """

    written: int = 0
    unchanged: int = 0
    removed: int = 0


def export(data: Dataset, folder: Path, at: datetime | None = None) -> ExportResult:
    """Writes one file per connector, and removes the files of connectors that are gone.

    Only files that an export wrote are changed or removed; nothing outside the folder is. A failed export leaves whole
    files, and the next one completes it.

    Args:
        data: The open dataset.
        folder: The folder; it is made if it does not exist.
        at: The moment; None for the present.

    Raises:
        NothingLoadedError: Nothing has been loaded there.
        ReadError: No connector is known for that moment, or the folder cannot take the files.
    """
    data.require("connector_versions")
    keys = _valid_ids(data, "connector_versions", at)
    if at and not keys:
        raise ReadError(f"No load has seen a connector that was listed at {moment_text(at)} UTC.")
    with _refusals(folder):
        target = _Folder(folder, keys)
    for key, document in _documents(data, keys, at):
        with _refusals(folder):
            target.write(key, document)
    with _refusals(folder):
        return target.finish()


@contextmanager
def _refusals(folder: Path) -> Iterator[None]:
    """Errors of the file system, with the folder's name."""
    try:
        yield
    except OSError as error:
        file = f" ({sanitize(error.filename)})" if error.filename else ""
        raise ReadError(f"The folder {sanitize(folder)} cannot take the export: {error.strerror}{file}") from None


class _Folder:
    """The folder of an export. Its manifest names every file before the file is written."""

    def __init__(self, folder: Path, keys: Mapping[Key, str]) -> None:
        self._files = file_names(keys)
        self._result = ExportResult()
        folder.mkdir(parents=True, exist_ok=True)
        self._root = folder.resolve()
        listed = self._listed()
        wanted = {str(file) for file in self._files.values()}
        for file in sorted(wanted - listed):
            if self._path(PurePosixPath(file)).exists():
                path = sanitize(self._root / file)
                raise ReadError(f"{path} exists, and no export wrote it. Remove it, or choose another folder.")
        self._write_manifest(wanted | listed)
        for file in sorted(listed - wanted):  # first: on some file systems the names of old and new files are equal
            self._remove(PurePosixPath(file))

    def write(self, key: Key, document: Any) -> None:
        """Writes a connector's file, unless it holds the same text."""
        path = self._path(self._files[key])
        content = f"{pretty_json(document)}\n".encode()
        if not path.is_symlink() and path.is_file() and path.read_bytes() == content:
            self._result.unchanged += 1
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file_atomically(path, content)
        self._result.written += 1

    def finish(self) -> ExportResult:
        """Drops removed files from the manifest."""
        self._write_manifest({str(file) for file in self._files.values()})
        return self._result

    def _listed(self) -> set[str]:
        """The files of the manifest; of a manifest that somebody edited, only names that an export makes."""
        manifest = self._root / MANIFEST
        try:
            files = json.loads(manifest.read_text(encoding="utf-8"))["files"]
        except FileNotFoundError:
            return set()
        except (ValueError, KeyError, TypeError):
            raise ReadError(f"{sanitize(manifest)} is not the manifest of an export. Choose another folder.") from None
        return {file for file in files if isinstance(file, str) and FILE.fullmatch(file)}

    def _write_manifest(self, files: set[str]) -> None:
        about = "Written by supermetrics-connectors export, which changes and removes only these files."
        content = f"{pretty_json({'about': about, 'files': sorted(files)})}\n".encode()
        path = self._root / MANIFEST
        if path.is_symlink() or not path.exists() or path.read_bytes() != content:
            write_file_atomically(path, content)

    def _path(self, file: PurePosixPath) -> Path:
        """The place of a file, of which no folder below the root is a symbolic link."""
        path = self._root / file
        if path.parent.resolve() != path.parent:
            raise ReadError(f"{sanitize(path.parent)} is or lies behind a symbolic link. Remove the link.")
        return path

    def _remove(self, file: PurePosixPath) -> None:
        path = self._path(file)
        with suppress(FileNotFoundError):
            path.unlink()
            self._result.removed += 1
        for parent in path.parents:
            if parent == self._root:
                break
            with suppress(OSError):  # not empty
                parent.rmdir()


def _valid_ids(data: Dataset, table: str, at: datetime | None) -> dict[Key, str]:
    """`version_id` of the version of each connector that is valid at the moment."""
    columns = "team_id, connector_identifier, version_id, _dlt_valid_from, _dlt_valid_to"
    condition = "WHERE _dlt_valid_to IS NULL" if at is None else ""
    rows = data.query(f"SELECT {columns} FROM {data.table(table)} {condition}").rows  # noqa: S608 - our own names
    return {
        (team_id, identifier): id_
        for team_id, identifier, id_, valid_from, valid_to in rows
        if is_valid_at(to_utc(valid_from), to_utc(valid_to), at)
    }


def _documents(data: Dataset, keys: Mapping[Key, str], at: datetime | None) -> Iterator[tuple[Key, Row]]:
    """Yields each connector as its file has it: the API's fields, and the configuration."""
    configured = data.has("connector_configurations")
    configurations = _valid_ids(data, "connector_configurations", at) if configured else {}
    ordered = sorted(keys)
    for start in range(0, len(ordered), _BATCH_CONNECTORS):
        some = ordered[start : start + _BATCH_CONNECTORS]
        contents = _contents(data, "connector_configurations", {key: configurations.get(key) for key in some}, at)
        for key, record in _contents(data, "connector_versions", {key: keys[key] for key in some}, at).items():
            configuration = contents.get(key)
            if configuration:
                configuration["configuration_json"] = parsed_document(configuration["configuration_json"])
            names = {"team_id": key[0], "connector_identifier": key[1]}
            yield key, names | record | {"configuration": configuration}


def _contents(data: Dataset, table: str, ids: Mapping[Key, str | None], at: datetime | None) -> dict[Key, Row]:
    """The API's fields in these versions. A content that came back has one id at several times."""
    values = [id_ for id_ in ids.values() if id_ is not None]
    if not values:
        return {}
    names = data.api_columns(table)
    columns = [data.json_text(name) if name == "configuration_json" else data.column(name) for name in names]
    team_ids = [team_id for team_id, _ in ids]
    sql = (
        f"SELECT team_id, connector_identifier, version_id, _dlt_valid_from, _dlt_valid_to, {', '.join(columns)}"  # noqa: S608 - our own names
        f" FROM {data.table(table)} WHERE team_id BETWEEN {min(team_ids)} AND {max(team_ids)}"
        f" AND version_id IN ({', '.join(['%s'] * len(values))})"
    )
    return {
        (team_id, identifier): data.fields(table, names, row)
        for team_id, identifier, id_, valid_from, valid_to, *row in data.query(sql, *values).rows
        if ids.get((team_id, identifier)) == id_ and is_valid_at(to_utc(valid_from), to_utc(valid_to), at)
    }
