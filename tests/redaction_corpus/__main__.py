"""What `redact` finds in the corpus, and what it takes for a secret that is none: the table of docs/redaction.md.

Run it as `python -m tests.redaction_corpus`.
"""

from __future__ import annotations

import copy
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from supermetrics_connectors.documents.redaction import MARKER, redact
from tests.redaction_corpus.harmless import HARMLESS
from tests.redaction_corpus.planted import PLANTED

_PLANTED = re.compile("«(.*?)»", re.DOTALL)


@dataclass
class Result:
    """What became of the texts of some documents.

    Attributes:
        documents: How many documents.
        texts: How many texts these have.
        secrets: How many texts hold secrets.
        found: In how many of those none is left.
        false: How many texts lost something that is no secret.
    """

    documents: int = 0
    texts: int = 0
    secrets: int = 0
    found: int = 0
    false: int = 0

    def __add__(self, other: Result) -> Result:
        return Result(*(mine + theirs for mine, theirs in zip(_fields(self), _fields(other), strict=True)))


def _fields(result: Result) -> tuple[int, ...]:
    return result.documents, result.texts, result.secrets, result.found, result.false


def judge(marked: Any) -> Result:
    """Redacts a document whose secrets stand between « and », and compares it with what should be left of it."""
    document = without_marks(marked)
    redacted = copy.deepcopy(document)
    redact(redacted)
    result = Result(documents=1)
    for text, before, after in zip(_texts(marked), _texts(document), _texts(redacted), strict=True):
        secrets = _PLANTED.findall(text)
        is_found = bool(secrets) and not any(secret in after for secret in secrets)
        is_false = after not in (before, _PLANTED.sub(MARKER, text))
        result += Result(texts=1, secrets=bool(secrets), found=is_found, false=is_false)
    return result


def table() -> str:
    """Recall and precision by kind, as Markdown."""
    lines = ["| secrets | documents | planted | found | recall | false alarms |", "|---|--:|--:|--:|--:|--:|"]
    total = Result()
    for kind, documents in PLANTED.items():
        result = sum(map(judge, documents), Result())
        total += result
        lines.append(
            _row(
                kind, result.documents, result.secrets, result.found, _share(result.found, result.secrets), result.false
            )
        )
    lines += ["", "| no secrets | documents | texts | false alarms |", "|---|--:|--:|--:|"]
    for kind, documents in HARMLESS.items():
        result = sum(map(judge, documents), Result())
        total += result
        lines.append(_row(kind, result.documents, result.texts, result.false))
    precision = _share(total.found, total.found + total.false)
    lines += ["", f"Recall {_share(total.found, total.secrets)}, precision {precision}."]
    return "\n".join(lines) + "\n"


def _row(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}".replace(".0%", "%")


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
    return _PLANTED.sub(r"\1", node) if isinstance(node, str) else node


if __name__ == "__main__":
    sys.stdout.write(table())
