"""Messages to a chat by its incoming webhook, in Slack's form, which Mattermost and others accept too.

The URL of a webhook is a secret: anybody who has it can post. No message, log or error contains it, so a failure to
post is reported by its class only.
"""

import logging

import requests

from supermetrics_connectors.interface import DeadlineAdapter

from ..plurals import counted
from ..sanitize import sanitize
from .result import LoadResult

logger = logging.getLogger(__name__)

TIMEOUT_SECONDS = 10
"""Time for the whole exchange with the chat; a load does not wait longer."""
MAX_MESSAGE_CHARS = 3000
"""A chat cuts off longer messages, or refuses them."""
_ESCAPED = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})  # or a name could mention a whole channel


def describe_result(result: LoadResult) -> str:
    """What a run changed and which teams failed, in lines; "" for neither."""
    failures = [f"Failed: {sanitize(team['error_message'])}" for team in result.failed]
    changes = result.changes.lines()
    if not failures and not changes:
        return ""
    count = counted(result.changes.count, "connector")
    return "\n".join([f"{count} changed in {result.dataset_name}", *failures, *changes])


def notify(webhook: str, text: str) -> None:
    """Posts a message. Any failure is one warning: it never decides the result of a load.

    Args:
        webhook: The URL, a secret.
        text: The message, its lines sanitized. Nothing is posted for "".
    """
    if not text:
        return
    shown = text[:MAX_MESSAGE_CHARS].translate(_ESCAPED)
    try:
        status = _post(webhook, shown)
    except Exception as error:  # noqa: BLE001 - of a side channel, which never decides the result
        logger.warning("The message was not posted to the chat: %s", type(error).__name__)
    else:
        if status >= 300:
            logger.warning("The message was not posted to the chat: HTTP %s", status)


def _post(webhook: str, text: str) -> int:
    # dlt's send_slack_message has no timeout, and fails with the URL in its text
    message = {"text": text, "mrkdwn": False}
    with requests.Session() as session:
        for scheme in ("https://", "http://"):
            session.mount(scheme, DeadlineAdapter(TIMEOUT_SECONDS))
        response = session.post(webhook, json=message, timeout=TIMEOUT_SECONDS, allow_redirects=False, stream=True)
        return response.status_code


def configured_webhook() -> str | None:
    """The webhook of dlt's own setting `runtime.slack_incoming_hook`; None without one."""
    import dlt  # noqa: PLC0415 - imported by every load anyway, and not by --help

    return dlt.secrets.get("runtime.slack_incoming_hook")
