"""A fleet of teams cut into shards of about equal size, so that several workers or machines share the work.

A team's shard depends on its id and the number of shards alone: not on the list it stands in, the machine or Python's
hash seed. So every worker finds its own teams in the same configuration, and a team keeps its worker as others come
and go. Each shard is a dlt pipeline of its own, so that shards do not share dlt's staging tables.
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from dlt.common.configuration import configspec, resolve_configuration
from dlt.common.configuration.specs import BaseConfiguration

from supermetrics_connectors.interface import SECTIONS, parse_team_ids, refusal

MAX_SHARDS = 10_000


@dataclass(frozen=True)
class Shard:
    """One of several parts of the teams.

    Attributes:
        number: Which one, 1 … count.
        count: How many there are.
    """

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Reads `3/16`.

        Raises:
            SupermetricsConfigurationError: It is not of that form, or the number is not one of the shards.
        """
        match = re.fullmatch(r"\s*([0-9]{1,5})\s*/\s*([0-9]{1,5})\s*", text)
        if match and 1 <= int(match[1]) <= int(match[2]) <= MAX_SHARDS:
            return cls(int(match[1]), int(match[2]))
        raise refusal("shard", text, f"NUMBER/COUNT such as '3/16', with 1 <= NUMBER <= COUNT <= {MAX_SHARDS}")

    def pick(self, team_ids: Iterable[int]) -> list[int]:
        """The teams of this shard, in the order given."""
        return [team_id for team_id in team_ids if shard_number(team_id, self.count) == self.number]

    def pipeline_name(self, name: str) -> str:
        """The name of this shard's pipeline, such as `supermetrics_3_of_16`."""
        return f"{name}_{self.number}_of_{self.count}"


def shard_number(team_id: int, count: int) -> int:
    """The shard of a team, 1 … count."""
    digest = hashlib.blake2b(str(team_id).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % count + 1


@configspec
class _Teams(BaseConfiguration):
    team_ids: Any = None  # None is how dlt spells "required"


def configured_team_ids() -> list[int]:
    """The teams of `[sources.supermetrics]` in `.dlt/config.toml`, or of `SOURCES__SUPERMETRICS__TEAM_IDS`.

    Needs no key, so that an orchestrator can ask while it reads its definitions.

    Raises:
        ConfigFieldMissingException: None are configured.
        SupermetricsConfigurationError: One is not a team id.
    """
    return parse_team_ids(resolve_configuration(_Teams(), sections=SECTIONS).team_ids)
