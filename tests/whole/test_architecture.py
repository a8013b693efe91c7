"""The layers of the source, and its boundary towards applications."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "sources" / "supermetrics_connectors"
LAYERS = (
    ("documents", "exceptions"),
    ("records",),
    ("specs",),
    ("diff", "credentials"),
    ("parsers",),
    ("settings",),
    ("api",),
    ("tables",),
    ("interface", "__init__"),
)
"""Modules and packages of the source. Each imports only earlier layers, or its own package."""
APPLICATION = [*(ROOT / "pipelines").rglob("*.py"), *(ROOT / "notebooks").glob("*.py")]


def imports(path: Path, package: tuple[str, ...]) -> Iterator[str]:
    """Dotted names of the imported modules, those in functions too."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level:
            base = ".".join(package[: len(package) - node.level + 1])
            yield from ([f"{base}.{node.module}"] if node.module else [f"{base}.{alias.name}" for alias in node.names])
        elif isinstance(node, ast.ImportFrom):
            yield str(node.module)


def layer_of(name: str) -> int:
    """The number of the layer of a module of the source."""
    return next(number for number, names in enumerate(LAYERS) if name in names)


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_the_source_imports_downwards(path: Path) -> None:
    """A module is read after those it imports, and before those that import it."""
    parts = path.relative_to(SOURCE).with_suffix("").parts
    for name in imports(path, (SOURCE.name, *parts[:-1])):
        root, *inner = name.split(".")
        assert root != "supermetrics_loader", "the source depends on no application"
        if root == SOURCE.name and inner and inner[0] != parts[0]:
            assert layer_of(inner[0]) < layer_of(parts[0]), f"{path.name} imports {name}"


@pytest.mark.parametrize("path", APPLICATION, ids=lambda path: str(path.relative_to(ROOT)))
def test_applications_import_public_names(path: Path) -> None:
    """What the application needs of the source is in its interface, so the rest can change."""
    package = path.relative_to(ROOT / "pipelines").parent.parts if "pipelines" in path.parts else ()
    found = {name for name in imports(path, package) if name.split(".")[0] == SOURCE.name}
    assert found <= {SOURCE.name, f"{SOURCE.name}.interface"}
