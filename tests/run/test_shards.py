"""Shards: each team is in exactly one, the same on every machine, and shards are about equally large."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supermetrics_connectors.exceptions import SupermetricsConfigurationError
from supermetrics_loader.run.shards import Shard, configured_team_ids, shard_number

TEAM_IDS = st.lists(st.integers(1, 2**63 - 1), unique=True, max_size=50)


@given(TEAM_IDS, st.integers(1, 40))
def test_every_team_is_in_exactly_one_shard(team_ids: list[int], count: int) -> None:
    """Otherwise a team would never be loaded, or by two pipelines at once."""
    picked = [team for number in range(1, count + 1) for team in Shard(number, count).pick(team_ids)]

    assert sorted(picked) == sorted(team_ids)


def test_the_assignment_never_changes() -> None:
    """Two releases side by side load each team once. Python's hash() of a text would differ between processes."""
    assert [shard_number(team_id, 16) for team_id in (936506, 941277, 958014, 2**63 - 1)] == [8, 9, 10, 10]


def test_shards_are_about_equally_large() -> None:
    """10,000 consecutive ids in 16 shards: no shard differs from the mean by more than a tenth."""
    sizes = Counter(shard_number(team_id, 16) for team_id in range(900_001, 910_001))

    assert len(sizes) == 16
    assert all(abs(size - 625) < 63 for size in sizes.values()), sizes


@pytest.mark.parametrize("text", ["", "3", "0/16", "17/16", "3/0", "-1/2", "a/b", "1/10001", "1/2/3", "٣/٤"])
def test_an_unusable_shard_is_refused(text: str) -> None:
    """A mistyped shard must not load another part, or nothing."""
    with pytest.raises(SupermetricsConfigurationError) as caught:
        Shard.parse(text)

    assert str(caught.value) == (
        f"shard is {text!r}, expected NUMBER/COUNT such as '3/16', with 1 <= NUMBER <= COUNT <= 10000."
    )


def test_configured_teams_need_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """An orchestrator reads them with its definitions, where there may be no key."""
    monkeypatch.setenv("SOURCES__SUPERMETRICS__TEAM_IDS", "936506,941277")

    assert configured_team_ids() == [936506, 941277]
