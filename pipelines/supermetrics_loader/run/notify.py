"""Messages to a chat, by the webhook that it gives out: in Slack's form, which Mattermost and others take too.

The webhook's address is a secret, as whoever has it can post. It is in no message, log or error of ours: so nothing is
told of a failure but its kind, whose text would have the address.
"""

import logging

import requests

from ..harmless import harmless
from .differences import Change
from .result import LoadResult

logger = logging.getLogger(__name__)

_SECONDS = 10
"""For the chat to take a message: a load does not wait for it longer."""
_LONGEST = 3000
"""Characters: a chat cuts off longer ones, or refuses them."""
_ESCAPED = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})  # or a name could call a whole channel


def describe_result(result: LoadResult) -> str:
    """What a run changed and which teams failed, in lines; "" for neither."""
    failures = [f"Failed: {harmless(team['error_message'])}" for team in result.failed]
    changes = [describe_change(change) for change in result.changes.first]
    if more := result.changes.count - len(changes):
        changes.append(f"… and {more} more")
    if not failures and not changes:
        return ""
    count = result.changes.count
    return "\n".join([f"{count} connector{'s' * (count != 1)} changed in {result.dataset_name}", *failures, *changes])


def describe_change(change: Change) -> str:
    """One change as a line."""
    kind = {"configured": "new configuration"}.get(change.kind, change.kind)
    return harmless(f"{kind}: team {change.team_id} {change.connector_identifier} {change.name or ''}".rstrip())


def notify(webhook: str, text: str) -> None:
    """Posts a message. One that the chat does not take is a warning: what was loaded is loaded.

    Args:
        webhook: The address, a secret.
        text: What to say, its lines harmless. Nothing is posted for "".
    """
    if not text:
        return
    shown = text[:_LONGEST].translate(_ESCAPED)
    try:
        # not by dlt's send_slack_message, which waits for ever and fails with the address in its text
        answer = requests.post(webhook, json={"text": shown, "mrkdwn": False}, timeout=_SECONDS, allow_redirects=False)
    except (requests.RequestException, ValueError, UnicodeError) as error:  # the latter two of an odd address
        logger.warning("The chat could not be told: %s", type(error).__name__)
        return
    if answer.status_code >= 300:
        logger.warning("The chat did not take the message: HTTP %s", answer.status_code)
