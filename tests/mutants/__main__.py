"""Mutation tests of what must not break: `make mutants`. CONTRIBUTING.md lists the modules."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("sources", "pipelines", "tests", "pyproject.toml")
KILLED_AT_LEAST = 0.9


def main() -> int:
    """Tries every mutant in a copy of the project; 1 if too many survive."""
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name)
        for each in COPIED:
            from_ = ROOT / each
            shutil.copytree(from_, copy / each) if from_.is_dir() else shutil.copy(from_, copy / each)
        results = [result for config in sorted(Path(__file__).parent.glob("*.toml")) for result in tried(config, copy)]
    survivors = [item["mutations"][0] for item, result in results if result["test_outcome"] == "survived"]
    for mutation in sorted(survivors, key=lambda each: (each["module_path"], each["start_pos"])):
        line, operator = mutation["start_pos"][0], mutation["operator_name"].removeprefix("core/")
        sys.stdout.write(f"{mutation['module_path']}:{line} {operator} {mutation['occurrence']}\n")
    killed = 1 - len(survivors) / len(results)
    sys.stdout.write(f"{len(results)} mutants, {len(survivors)} survived: {killed:.1%} killed\n")
    return int(killed < KILLED_AT_LEAST)


def tried(config: Path, copy: Path) -> Iterator[list[dict[str, Any]]]:
    """Yields each mutant of one module with its result."""
    session = f"{config.stem}.sqlite"
    ours = os.pathsep.join(str(copy / each) for each in ("sources", "pipelines", "."))  # before what is installed
    program = Path(sys.executable).parent
    environment = {
        **os.environ,
        "PATH": f"{program}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": ours,
        "PYTHONDONTWRITEBYTECODE": "1",  # or a mutant of the same second and size would be taken for the one before
    }

    def cosmic_ray(*arguments: str) -> str:
        command = [str(program / "cosmic-ray"), *arguments]
        return subprocess.run(command, cwd=copy, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout  # noqa: S603 - our own arguments

    sys.stdout.write(f"{config.stem} …\n")
    sys.stdout.flush()
    cosmic_ray("init", str(config), session)
    cosmic_ray("exec", str(config), session)
    for line in cosmic_ray("dump", session).splitlines():
        yield json.loads(line)


if __name__ == "__main__":
    sys.exit(main())
