"""Teams in shards: each in exactly one, the same one on every machine, and all about equally large."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supermetrics_connectors.exceptions import SupermetricsConfigurationError
from supermetrics_loader.run.shards import Shard, configured_team_ids, shard_number

TEAM_IDS = st.lists(st.integers(1, 2**63 - 1), unique=True, max_size=50)


@given(TEAM_IDS, st.integers(1, 40))
def test_every_team_is_in_exactly_one_shard(team_ids: list[int], count: int) -> None:
    """Else a team would never be loaded, or by two pipelines that do not know of each other."""
    picked = [team for number in range(1, count + 1) for team in Shard(number, count).pick(team_ids)]

    assert sorted(picked) == sorted(team_ids)


def test_assignment_is_the_same_for_ever() -> None:
    """A team that changes its shard loses what is remembered of it: these numbers must never change."""
    assert [shard_number(team_id, 16) for team_id in (936506, 941277, 958014, 2**63 - 1)] == [8, 9, 10, 10]


def test_assignment_does_not_depend_on_the_hash_seed() -> None:
    """Python's own hash() of a text differs between processes."""
    script = "from supermetrics_loader.run.shards import Shard; print(Shard(3, 7).pick(range(1, 100)))"
    said = {
        subprocess.run(  # noqa: S603 - the script above
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }

    assert said == {f"{Shard(3, 7).pick(range(1, 100))}\n"}


def test_shards_are_about_equally_large() -> None:
    """10,000 consecutive ids in 16 shards: none is a tenth larger than the mean, or a worker would lag behind."""
    sizes = Counter(shard_number(team_id, 16) for team_id in range(900_001, 910_001))

    assert len(sizes) == 16
    assert all(abs(size - 625) < 63 for size in sizes.values()), sizes


def test_shard_names_a_pipeline_of_its_own() -> None:
    """The number of shards is in the name: after a change of it nothing old is taken for known."""
    assert Shard.parse(" 3/16 ").pipeline_name("supermetrics") == "supermetrics_3_of_16"


@pytest.mark.parametrize("text", ["", "3", "0/16", "17/16", "3/0", "-1/2", "a/b", "1/10001", "1/2/3", "٣/٤"])
def test_what_is_no_shard_is_refused_by_name(text: str) -> None:
    """A mistyped shard must not load some other part, or nothing."""
    with pytest.raises(SupermetricsConfigurationError) as caught:
        Shard.parse(text)

    assert str(caught.value) == (
        f"shard is {text!r}, expected NUMBER/COUNT such as '3/16', with 1 <= NUMBER <= COUNT <= 10000."
    )


def test_configured_teams_need_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """An orchestrator asks while it reads its definitions, where there may be none."""
    monkeypatch.setenv("SOURCES__SUPERMETRICS__TEAM_IDS", "936506,941277")

    assert configured_team_ids() == [936506, 941277]
