"""The API's own sentence out of the text of an error."""

import re
from collections.abc import Mapping
from typing import Any

from supermetrics_connectors.interface import SupermetricsError


def api_sentence(row: Mapping[str, Any]) -> str | None:
    """The message of a failed sync without what other columns show, and without advice.

    The stored text is `HTTP 403 FORBIDDEN for team 936506: sentence. advice (request_id=…)`. A text of another form,
    such as a database's error, is returned unchanged.

    Args:
        row: With `error_message`, `error_code` and `request_id`.
    """
    text = row["error_message"]
    if not text:
        return None
    code = re.escape(row["error_code"] or "") or "(?!)"
    found = re.match(rf"(?:HTTP \d{{3}}(?: {code})?|{code})?(?: for )?(?:[Tt]eam \d+)?: (?=\S)", text)
    rest = text[found.end() :] if found else text
    rest = rest.removesuffix(f" (request_id={row['request_id']})")
    for advice in error_advice():
        rest = rest.removesuffix(f" {advice}")
    rest = re.sub(r" The key came from .+$", "", rest, flags=re.DOTALL)
    return re.sub(r" The limit resets at [^()]*\(retry_after=[^()]*\)\.?$", "", rest)


def error_advice() -> list[str]:
    """The advice that the source appends to the API's sentence in the text of an error."""
    found: list[str] = []
    classes: list[type[SupermetricsError]] = [SupermetricsError]
    for each in classes:
        classes += each.__subclasses__()
        found += [each.advice] if each.advice else []
    return found
