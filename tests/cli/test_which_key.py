"""Which key was used, and what is said of one that is none."""

from __future__ import annotations

from pathlib import Path

import pytest
from dlt.common.configuration.container import Container
from dlt.common.configuration.specs.pluggable_run_context import PluggableRunContext

from supermetrics_loader.run.load import LoadFailedError, run_load
from supermetrics_loader.run.targets import make_pipeline
from supermetrics_loader.sandbox import Sandbox
from tests.helpers.commands import CRM, Command

PLACEHOLDERS = [
    "api_...",
    "otok_...",
    "...",
    "Bearer api_...",
    "api_\N{HORIZONTAL ELLIPSIS}",
    "<configure me>",
    "<token>",
]


def put_secrets(text: str) -> None:
    """Writes `.dlt/secrets.toml`, and has dlt read it."""
    Path(".dlt").mkdir(exist_ok=True)
    Path(".dlt/secrets.toml").write_text(text, encoding="utf-8")
    Container()[PluggableRunContext].reload_providers()


@pytest.mark.parametrize("command", ["load", "check"])
@pytest.mark.parametrize("placeholder", PLACEHOLDERS)
def test_placeholder_of_a_file_gives_way_to_the_real_key(
    api: Sandbox, cli: Command, monkeypatch: pytest.MonkeyPatch, placeholder: str, command: str
) -> None:
    """The example is copied and forgotten, the key is in the environment: that it was meant is beyond doubt."""
    monkeypatch.delenv("SOURCES__SUPERMETRICS__API_KEY")
    monkeypatch.setenv("SUPERMETRICS_API_KEY", api.token)
    put_secrets(f'[sources.supermetrics]\napi_key = "{placeholder}"\n')
    assert cli(command).code == 0


@pytest.mark.parametrize("command", ["load", "check"])
@pytest.mark.parametrize("placeholder", PLACEHOLDERS)
def test_placeholder_alone_is_refused_by_name(
    api: Sandbox, cli: Command, monkeypatch: pytest.MonkeyPatch, placeholder: str, command: str
) -> None:
    """Before any request, which would only be told that its key is wrong."""
    monkeypatch.delenv("SOURCES__SUPERMETRICS__API_KEY")
    put_secrets(f'[sources.supermetrics]\napi_key = "{placeholder}"\n')
    outcome = cli(command)
    assert (outcome.code, outcome.out) == (64, "")
    bare = placeholder.removeprefix("Bearer ")
    assert outcome.err.splitlines()[-1] == (
        f"Error The api_key is the placeholder {bare!r}, from api_key under [sources.supermetrics] in secrets.toml. "
        "Put a key from the Supermetrics Hub in its place, or set SUPERMETRICS_API_KEY in the environment."
    )
    assert api.requests == []


WRONG = "api_is_revoked_by_now"


@pytest.mark.parametrize(
    ("environment", "secrets", "where"),
    [
        ({"SUPERMETRICS_API_KEY": WRONG}, "", "SUPERMETRICS_API_KEY in the environment"),
        ({"SUPERMETRICS_API_KEY": f"Bearer {WRONG}"}, 'api_key = "api_..."', "SUPERMETRICS_API_KEY in the environment"),
        (
            {"SOURCES__SUPERMETRICS__API_KEY": WRONG, "SUPERMETRICS_API_KEY": "api_other"},
            "",
            "SOURCES__SUPERMETRICS__API_KEY in the environment",
        ),
        ({"SOURCES__API_KEY": WRONG}, "", "SOURCES__API_KEY in the environment"),
        (
            {"SUPERMETRICS_API_KEY": "api_other"},
            f'[sources.supermetrics]\napi_key = "{WRONG}"',
            "api_key under [sources.supermetrics] in secrets.toml",
        ),
        ({}, f'api_key = "{WRONG}"', "api_key in secrets.toml"),
    ],
)
@pytest.mark.parametrize("command", ["load", "check"])
def test_401_says_where_the_key_came_from_and_not_the_key(
    api: Sandbox,
    cli: Command,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    secrets: str,
    where: str,
    command: str,
) -> None:
    """Of several places in which one may be set, the wrong one is the hard one to find."""
    monkeypatch.delenv("SOURCES__SUPERMETRICS__API_KEY")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    put_secrets(secrets)
    outcome = cli(command)
    assert outcome.code == 65
    assert f" The key came from {where}. Check the API key: it may be mistyped, expired or revoked." in outcome.err
    assert WRONG not in outcome.err
    assert {request.headers["authorization"] for request in api.requests} == {f"Bearer {WRONG}"}


def test_key_given_by_a_script_is_called_an_argument(api: Sandbox) -> None:
    """It is in no place that dlt knows."""
    with pytest.raises(LoadFailedError, match="The key came from the argument api_key"):
        run_load(make_pipeline("by_script"), api_key=WRONG, team_ids=[CRM], base_url=api.url)
