"""Usage and configuration: exit code 64 before any request, with a message that names what to set."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import click
import pytest
from dlt.common.configuration.container import Container
from dlt.common.configuration.specs.pluggable_run_context import PluggableRunContext

from supermetrics_connectors import supermetrics_source
from supermetrics_connectors.interface import ENDPOINTS
from supermetrics_loader.cli.check import check
from supermetrics_loader.cli.load import load
from supermetrics_loader.cli.options import ENDPOINT_HELP
from tests.helpers.commands import NO_API_KEY, NO_TEAM_IDS, SCRIPT, Command, Outcome, script
from tests.helpers.sandbox import Sandbox

# --- keys and teams ---------------------------------------------------------------------------------------------------

EMPTY_KEY = f"SUPERMETRICS_API_KEY is empty. {NO_API_KEY}"
EMPTY_SETTING = (
    "The api_key is empty, from SOURCES__SUPERMETRICS__API_KEY in the environment. "
    "Put a key from the Supermetrics Hub in its place."
)
PLACEHOLDERS = [
    "api_...",
    "otok_...",
    "...",
    "Bearer api_...",
    "api_\N{HORIZONTAL ELLIPSIS}",
    "<configure me>",
    "<token>",
]
WRONG = "api_is_revoked_by_now"


@pytest.mark.parametrize("command", ["load", "check"])
@pytest.mark.parametrize(
    ("environment", "arguments", "message"),
    [
        ({}, [], f"{NO_TEAM_IDS}\n{NO_API_KEY}"),
        ({}, ["--team=1"], NO_API_KEY),
        ({"SUPERMETRICS_API_KEY": "api_key"}, [], NO_TEAM_IDS),
        ({"SUPERMETRICS_API_KEY": ""}, ["--team=1"], EMPTY_KEY),
        (
            {"SOURCES__SUPERMETRICS__API_KEY": ""},
            ["--team=1"],
            EMPTY_SETTING,
        ),
    ],
)
def test_a_missing_key_or_team_is_named_with_the_places_to_set_it(
    cli: Command,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    arguments: list[str],
    message: str,
    command: str,
) -> None:
    """Both are named at once, so that one attempt is enough."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert cli(command, *arguments) == Outcome(64, "", f"Error: {message}\n")


def put_secrets(text: str) -> None:
    """Writes `.dlt/secrets.toml` and makes dlt read it."""
    Path(".dlt").mkdir(exist_ok=True)
    Path(".dlt/secrets.toml").write_text(text, encoding="utf-8")
    Container()[PluggableRunContext].reload_providers()


def test_a_placeholder_in_a_file_gives_way_to_the_key_in_the_environment(
    api: Sandbox, cli: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Alone, the placeholder is refused before any request."""
    refused = Outcome(
        64,
        "",
        "Error: The api_key is the placeholder of an example, from api_key under [sources.supermetrics] in "
        "secrets.toml. Put a key from the Supermetrics Hub in its place, or set SUPERMETRICS_API_KEY in the "
        "environment.\n",
    )
    for command, placeholder in [*(("check", each) for each in PLACEHOLDERS), ("load", PLACEHOLDERS[0])]:
        put_secrets(f'[sources.supermetrics]\napi_key = "{placeholder}"\n')
        assert cli(command).code == 0
        made = len(api.requests)
        with monkeypatch.context() as patch:
            patch.delenv("SUPERMETRICS_API_KEY")
            assert cli(command) == refused
        assert len(api.requests) == made


@pytest.mark.parametrize(
    ("environment", "secrets", "source"),
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
def test_a_401_names_the_source_of_the_key_and_not_the_key(
    api: Sandbox,
    cli: Command,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    secrets: str,
    source: str,
) -> None:
    """Of several places that may hold a key, the wrong one is hard to find."""
    monkeypatch.delenv("SUPERMETRICS_API_KEY")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    put_secrets(secrets)
    for command in ("load", "check"):
        outcome = cli(command)  # no table of teams: the key belongs to the whole run
        assert (outcome.code, outcome.out) == (65, "")
        assert f" The key came from {source}. Check the API key: it may be mistyped, expired or revoked." in outcome.err
        assert WRONG not in outcome.err
    assert {request.headers["authorization"] for request in api.requests} == {f"Bearer {WRONG}"}


# --- arguments --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["load", "--teem", "1"], "No such option"),
        (["lode"], "No such command 'lode'"),
        (
            ["load", "--dataset", ""],
            "(env var: 'SUPERMETRICS_DATASET'): The name is empty.",
        ),
        (["load", "--pipeline-name", ""], "Invalid value for '--pipeline-name': The name is empty."),
        (["load", "--pipeline-name", "a/b"], "The pipeline name `a/b` contains invalid characters"),
        (["load", "--sandbox", "--base-url", "http://127.0.0.1:1"], "--sandbox and --base-url exclude each other"),
        (["load", "--base-url", "http://example.com"], "would send the token unencrypted"),
        (["load", "--team=1/../2"], "Error: Team id '1/../2' is not an integer in 1 … 9223372036854775807.\n"),
        (["check", "--team="], "Error: Team id '' is not an integer in 1 … 9223372036854775807.\n"),
        (["load", "--table-format", "iceberg"], "'iceberg' is not 'delta'"),
        (["load", "--destination", "nosuch"], "dlt has no destination 'nosuch'."),
        (["load", "--destination", "filesystem"], "Set DESTINATION__FILESYSTEM__BUCKET_URL in the environment"),
        (["load", "--include-logs", "--logs-since", "yesterday"], "logs_since is 'yesterday', expected a number of"),
        (["export", ""], "Invalid value for 'FOLDER': The name is empty."),
        (["export", "a\0b"], "Invalid value for 'FOLDER': A path cannot contain a NUL character."),
        (["report", "--output", ""], "Invalid value for '--output': The name is empty."),
        (["report", "--output", "a\0b/c"], "Invalid value for '--output': A path cannot contain a NUL character."),
        (["report", "--output", "x" * 300], "xx cannot be written: File name too long."),
        (["sandbox", "--port", "65536"], "65536 is not in the range 0<=x<=65535"),
    ],
)
def test_an_unusable_argument_is_named(api: Sandbox, cli: Command, arguments: list[str], message: str) -> None:
    """A scheduler distinguishes a wrong crontab from an unavailable API by the code, a person by the text."""
    outcome = cli(*arguments)
    assert (outcome.code, outcome.out) == (64, "")
    assert message in outcome.err
    assert "Traceback" not in outcome.err
    assert api.requests == []


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("workers", "x", "workers is 'x', expected an integer."),
        ("include_configs", "api_5ecret", "include_configs is [a text, not shown because it may be a key], expected"),
        ("request_timeout", "1 s", "request_timeout is '1 s', expected a number."),
    ],
)
def test_a_setting_of_another_type_is_named(
    api: Sandbox, cli: Command, monkeypatch: pytest.MonkeyPatch, setting: str, value: str, message: str
) -> None:
    """The text of dlt has the name of a class, and neither the value nor what was expected."""
    monkeypatch.setenv(f"SOURCES__SUPERMETRICS__{setting.upper()}", value)
    for command in ("load", "check"):
        code, out, err = cli(command)
        assert (code, out) == (64, "")
        assert err.startswith(f"Error: {message}")
        assert err.endswith(" Correct it in the environment or in .dlt/config.toml.\n")
    assert api.requests == []


def test_a_key_in_the_wrong_file_is_to_be_moved(cli: Command) -> None:
    """Git keeps config.toml."""
    Path(".dlt").mkdir()
    Path(".dlt/config.toml").write_text('[sources.supermetrics]\napi_key = "api_5ecret"\n', encoding="utf-8")
    Container()[PluggableRunContext].reload_providers()
    expected = (
        "Error: sources.supermetrics.api_key is in config.toml, which is no place for secrets: git may keep it. "
        "Move it to .dlt/secrets.toml.\n"
    )
    assert cli("check", "--team", "1") == Outcome(64, "", expected)


@pytest.mark.usefixtures("api")
@pytest.mark.parametrize(
    "command",
    [
        "{}",
        "load {}",
        "load --{}",
        "load --table-format {}",
        "load --shard={}",
        "load --dataset {}",
        "load --pipeline-name {}/",
        "load --destination {}",
        "load --base-url https://{}",
        "load --logs-since {}",
        "show {} A",
        "sql --dataset {} query",
        "changes --since {}",
        "export folder --at {}",
        "report --output {}/report.html",
    ],
)
def test_an_argument_that_may_be_a_key_is_not_shown(cli: Command, command: str) -> None:
    """People paste a key into the wrong place, and cron mails the message. dlt makes other names of a dataset's."""
    for key in ("api_Zk39-pQxR7vT2mW8sL4nB", *(["Zk39pQxR7vT2mW8sL4nB"] if "--dataset" in command else [])):
        code, out, err = cli(*command.format(key).split())
        assert (code, out) == (64, "")
        assert "k39" not in err.lower()
        assert re.search(r"\*\*\*|may be a key", err)


@pytest.mark.usefixtures("api")
def test_an_unconfigured_destination_names_one_variable_per_field(cli: Command) -> None:
    """The text of dlt lists every place in which it looked, in forty lines."""
    names = [f"DESTINATION__POSTGRES__CREDENTIALS__{name}" for name in ("DATABASE", "PASSWORD", "USERNAME", "HOST")]
    assert cli("load", "--destination", "postgres").err.splitlines()[-1] == (
        f"Error: The destination postgres is not configured. Set {', '.join(names)} in the environment, "
        "or the same under [destination.postgres] in .dlt/secrets.toml."
    )


@pytest.mark.parametrize(("command", "some"), [(load, {"redact_secrets", "on_team_error"}), (check, {"team_ids"})])
def test_an_option_that_is_a_setting_has_the_name_of_the_setting(command: click.Command, some: set[str]) -> None:
    """Options that a command does not use itself are passed to the source by name."""
    own = inspect.signature(command.callback or print).parameters
    passed_on = {str(option.name) for option in command.params if option.expose_value} - own.keys()
    assert some <= passed_on <= inspect.signature(supermetrics_source).parameters.keys()


def test_help_texts_of_optional_tables_equal_those_of_the_source() -> None:
    """`--help` answers without the source, and so has a copy."""
    assert {endpoint.setting: endpoint.help for endpoint in ENDPOINTS} == ENDPOINT_HELP


# --- folders and files ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        ("mkdir gone && cd gone && rmdir ../gone", "The current folder has been deleted. Change to another folder."),
        (
            "mkdir $'caf\\xe9' && cd $'caf\\xe9'",
            "The name of the current folder is not UTF-8: {folder}/caf\\udce9. Change to another folder, or rename it.",
        ),
    ],
    ids=["deleted", "not UTF-8"],
)
def test_an_unusable_current_folder_is_named(prepare: str, message: str, tmp_path: Path) -> None:
    """Without the check, dlt and DuckDB fail with a text that names nothing."""
    command = ["bash", "-c", f"{prepare} && exec {SCRIPT} load --sandbox"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=300, check=False)  # noqa: S603 - ours
    expected = message.format(folder=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (64, "", f"Error: {expected}\n")


@pytest.mark.usefixtures("api")
@pytest.mark.parametrize(
    ("name", "encoding"),
    [
        ("config.toml", "utf-8-sig"),
        ("secrets.toml", "latin-1"),
        ("config.toml", "utf-16-le"),
        ("secrets.toml", "utf-8"),
    ],
)
def test_an_unreadable_settings_file_is_named(name: str, encoding: str) -> None:
    """Windows editors write byte order marks. The last file is UTF-8, but not TOML."""
    Path(".dlt").mkdir()
    (Path(".dlt") / name).write_text('[sources.supermetrics]\napi_key = "api_größe\n', encoding=encoding)
    outcome = script("load")
    assert (outcome.code, outcome.out) == (64, "")
    if encoding == "utf-8":
        assert re.fullmatch(
            rf"Error: \.dlt/{name} is not TOML\. .* at line 2 col \d+\. Correct it there\.\n", outcome.err
        )
    else:
        advice = "is not in UTF-8, or begins with a byte order mark. Save it as UTF-8 without one."
        assert outcome.err == f"Error: .dlt/{name} {advice}\n"
    assert "Traceback" not in outcome.err
    assert "api_gr" not in outcome.err


# --- help and version -------------------------------------------------------------------------------------------------


def test_help_names_the_commands_and_the_exit_codes() -> None:
    """The installed script answers, and states what a scheduler needs."""
    outcome = script("--help")
    assert (outcome.code, outcome.err) == (0, "")
    for text in (
        "check ",
        "load ",
        "sandbox ",
        "supermetrics-connectors load --sandbox",
        "64 usage",
        "130 interrupted",
    ):
        assert text in outcome.out


def test_the_options_of_load_are_shown_in_groups_of_80_columns(cli: Command) -> None:
    """Every option is in one group."""
    out = cli("load", "--help").out
    titles = re.findall(r"^(\w[\w ]*):$", out, re.MULTILINE)
    assert titles == ["Source", "Optional tables", "Destination", "Run", "Output"]
    shown = re.findall(r"^  (?:-\w, )?(--[\w-]+)", out, re.MULTILINE)
    assert sorted(shown) == sorted([max(option.opts, key=len) for option in load.params] + ["--help"])
    assert max(map(len, out.splitlines())) <= 80


def test_help_and_usage_errors_do_not_import_dlt() -> None:
    """The import of dlt alone takes half a second."""
    commands = {
        "--help": 0,
        "--version": 0,
        "load --help": 0,
        "report --help": 0,
        "load --nope": 64,
        "check --nope": 64,
        "load --dataset=": 64,
        "nope": 64,
    }
    program = (
        "import sys; from supermetrics_loader.cli.main import run; "
        f"codes = [int(run(command.split())) for command in {[*commands]}]; "
        "print(codes, *sorted({'dlt', 'duckdb', 'pyarrow', 'requests', 'rich'} & sys.modules.keys()))"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=300, check=False)  # noqa: S603 - ours
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, str([*commands.values()]))


def test_the_shell_completes_commands_and_options() -> None:
    """With click's script, as documented."""
    code, out, err = script(_SUPERMETRICS_CONNECTORS_COMPLETE="bash_source")
    assert (code, err) == (0, "")
    assert "complete -o nosort -F _supermetrics_connectors_completion supermetrics-connectors" in out
    for words, offered in {
        "supermetrics-connectors di": "diff",
        "supermetrics-connectors load --dr": "--dry-run",
    }.items():
        outcome = script(
            _SUPERMETRICS_CONNECTORS_COMPLETE="bash_complete",
            COMP_WORDS=words,
            COMP_CWORD=str(words.count(" ")),
        )
        assert outcome == (0, f"plain,{offered}\n", "")


def test_the_version_is_that_of_the_package() -> None:
    """A bug report begins with it."""
    assert script("--version") == (0, f"supermetrics-connectors, version {version('supermetrics-connectors')}\n", "")
