"""Recall and precision of `redact` on this corpus: the table of docs/redaction.md.

Run it as `python -m tests.redaction_corpus`. Each line of a file is a document. What stands between « and » is a
secret; everything else must stay. All secrets are made up: issuers' prefixes are real, what follows them is not.
"""

from __future__ import annotations

import copy
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from supermetrics_connectors.documents.redaction import MARKER, redact

PLANTED = re.compile("«(.*?)»", re.DOTALL)
CORPORA = {
    "configurations": "the documented structure of a configuration",
    "planted": "secrets in the shapes of other tools",
    "clean": "no secrets: other tools, manifests, labels, documentation",
    "missed": "known to be missed",
}
"""Files, and what their documents are."""


class Result(NamedTuple):
    """Counts of the texts of some documents.

    Attributes:
        documents: Documents.
        texts: Texts in these.
        planted: Texts that hold secrets.
        found: Texts in which no secret is left.
        false_alarms: Texts that lost something else.
    """

    documents: int = 0
    texts: int = 0
    planted: int = 0
    found: int = 0
    false_alarms: int = 0


def documents(corpus: str) -> list[Any]:
    """The documents of a file, with the marks of their secrets."""
    lines = (Path(__file__).parent / f"{corpus}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if not line.startswith("#")]


def judge(marked: Any) -> Result:
    """Redacts a document and compares it with what should be left."""
    document = without_marks(marked)
    redacted = copy.deepcopy(document)
    redact(redacted)
    counts = [1, 0, 0, 0, 0]
    for text, before, after in zip(_texts(marked), _texts(document), _texts(redacted), strict=True):
        secrets = PLANTED.findall(text)
        is_found = bool(secrets) and not any(secret in after for secret in secrets)
        is_false = after not in (before, PLANTED.sub(MARKER, text))
        for index, count in enumerate((0, 1, bool(secrets), is_found, is_false)):
            counts[index] += count
    return Result(*counts)


def table() -> str:
    """Recall and false alarms by file, as Markdown."""
    lines = [
        "| corpus | documents | texts | planted | found | recall | false alarms |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for corpus, title in CORPORA.items():
        counts = Result(*map(sum, zip(*map(judge, documents(corpus)), strict=True)))
        recall = f"{counts.found / counts.planted:.0%}" if counts.planted else ""
        cells = (title, *counts[:4], recall, counts.false_alarms)
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"


def _texts(node: Any) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    elif isinstance(node, (dict, list)):
        for member in node.values() if isinstance(node, dict) else node:
            yield from _texts(member)


def without_marks(node: Any) -> Any:
    """A copy of the document as somebody would have typed it."""
    if isinstance(node, dict):
        return {name: without_marks(member) for name, member in node.items()}
    if isinstance(node, list):
        return [without_marks(member) for member in node]
    return PLANTED.sub(r"\1", node) if isinstance(node, str) else node


if __name__ == "__main__":
    sys.stdout.write(table())
