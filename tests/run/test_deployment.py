"""The container files: their commands are those of the command line, and no key is an argument."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped] # its stubs are a package of their own, for one call

from supermetrics_loader.cli.load import load

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
CRON_JOB: dict[str, Any] = yaml.safe_load((ROOT / "pipelines/orchestrators/kubernetes_cronjob.yaml").read_text())
POD: dict[str, Any] = CRON_JOB["spec"]["jobTemplate"]["spec"]["template"]["spec"]
[CONTAINER] = POD["containers"]


def instruction(name: str) -> str:
    """The arguments of the last instruction of this name in the Dockerfile."""
    return str(re.findall(rf"^{name} (.*)$", DOCKERFILE, re.MULTILINE)[-1])


@pytest.mark.parametrize("arguments", [json.loads(instruction("CMD")), CONTAINER["args"]], ids=["Docker", "Kubernetes"])
def test_commands_are_those_of_the_command_line(arguments: list[str]) -> None:
    """A renamed option must not break a container unnoticed."""
    name, *options = arguments
    assert name == load.name
    parameters = load.make_context(name, options).params
    assert (parameters["include_configs"], parameters["include_teams"]) == (True, True)
    assert not [option for option in options if "key" in option or "api_" in option]


def test_the_cron_job_runs_the_image_without_privileges() -> None:
    """The image's user, a read-only file system, and no second run beside the first."""
    assert str(POD["securityContext"]["runAsUser"]) == instruction("USER")
    assert CONTAINER["securityContext"]["readOnlyRootFilesystem"] is True
    assert instruction("WORKDIR") in [mount["mountPath"] for mount in CONTAINER["volumeMounts"]]
    assert CRON_JOB["spec"]["concurrencyPolicy"] == "Forbid"


def test_the_image_contains_only_what_the_dockerfile_copies() -> None:
    """Secrets, data and environments of the clone stay outside, because .dockerignore lists what may enter."""
    copied = {name for line in re.findall(r"^COPY (.*)$", DOCKERFILE, re.MULTILINE) for name in line.split()[:-1]}
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert {line[1:] for line in ignored if line.startswith("!")} == copied
    assert "*" in ignored
    assert all((ROOT / name).exists() for name in copied)
