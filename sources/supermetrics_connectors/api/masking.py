"""Masking of the API key in everything that a server sends: it may quote the key whole, encoded, or cut.

Bodies are masked after decoding, because JSON can spell a character in several ways.
"""

import base64
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, quote_plus

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from ..credentials import MIN_KEY_CHARS
from ..documents.json_text import RefusedJsonError

MASK = "***"
MIN_FRAGMENT_CHARS = 12
MIN_BASE64_CHARS = 16
MAX_ENCODINGS = 2
"""A URL within a URL, or an `Authorization: Basic` header within one, is encoded twice."""


class KeyMask:
    """Replaces a key in texts by `***`: the plain key, its encoded forms, and fragments of all forms.

    A form is encoded once or twice: for a URL, or in base64, which is used once at most. A fragment has at least 12
    characters, in base64 at least 16. Each form is cut into blocks of half the length of its shortest fragment. So
    every fragment contains a whole block, and one search for all blocks finds every fragment.
    """

    def __init__(self, key: str) -> None:
        self._forms = {form: min(shortest, len(form)) for form, shortest in _forms(key)}
        blocks = {form[start:end] for form in self._forms for start, end in self._blocks(form)}
        self._any_block = re.compile("|".join(map(re.escape, sorted(blocks))))
        # JSON text has a quote or a backslash of the key escaped
        self._any_block_in_json = "|".join(sorted(re.escape(orjson.dumps(block)[1:-1].decode()) for block in blocks))

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def mask(self, text: str) -> str:
        """Masks a text."""
        if not self._forms or not self._any_block.search(text):
            return text
        spans = sorted(span for form in self._forms for span in self._spans(form, text))
        parts, end = [], 0
        for start, stop in spans:
            if start >= end:
                parts += [text[end:start], MASK]
            end = max(end, stop)
        return "".join((*parts, text[end:]))

    def mask_json(self, value: Any, body: bytes) -> Any:
        """Masks decoded JSON: names of members and texts.

        Args:
            value: The decoded JSON.
            body: The text that it was decoded from.

        Raises:
            RefusedJsonError: It may hold a part of the key, and is nested too deeply to be walked.
        """
        if not self._forms or not self._may_be_in(value, body):
            return value
        try:
            return self._masked(value)
        except RecursionError:
            raise RefusedJsonError("more levels of nesting than can be read") from None

    def _may_be_in(self, value: Any, body: bytes) -> bool:
        """Whether a value has to be walked. RE2 searches its text in linear time, whatever the number of blocks."""
        try:
            # with such an escape, JSON can spell the key's characters in other ways
            text = orjson.dumps(value) if rb"\u" in body or rb"\/" in body else body
        except TypeError:  # orjson cannot write all that can be decoded
            return True
        return bool(pc.match_substring_regex(pa.scalar(text, pa.large_binary()), self._any_block_in_json).as_py())

    def _masked(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.mask(value)
        if isinstance(value, list):
            return [self._masked(element) for element in value]
        if isinstance(value, dict):
            return {self.mask(name): self._masked(member) for name, member in value.items()}
        return value

    def _blocks(self, form: str) -> Iterator[tuple[int, int]]:
        """Yields the blocks of a form: every run of its shortest fragment's length contains a whole one."""
        shortest = self._forms[form]
        if len(form) == shortest:
            yield 0, shortest
            return
        size = (shortest + 1) // 2
        for start in range(0, len(form) - size + 1, size):
            yield start, start + size

    def _spans(self, form: str, text: str) -> Iterator[tuple[int, int]]:
        """Yields where a text has fragments of a form: each block that is found, extended to both sides."""
        for first, last in self._blocks(form):
            at = text.find(form[first:last])
            while at >= 0:
                start, left = at, first
                while start and left and text[start - 1] == form[left - 1]:
                    start, left = start - 1, left - 1
                stop, right = at + last - first, last
                while stop < len(text) and right < len(form) and text[stop] == form[right]:
                    stop, right = stop + 1, right + 1
                if stop - start >= self._forms[form]:
                    yield start, stop
                at = text.find(form[first:last], at + 1)


def _forms(key: str) -> Iterator[tuple[str, int]]:
    """Yields how a key may be written, each with the length of the shortest fragment to mask."""
    if len(key) < MIN_KEY_CHARS:
        return
    forms = {key: MIN_FRAGMENT_CHARS}
    for _ in range(MAX_ENCODINGS):
        for text, shortest in list(forms.items()):
            for form in _in_urls(text):
                forms.setdefault(form, shortest)
            if shortest < MIN_BASE64_CHARS:  # no request has the key in base64, so no server has it there twice
                for form in _in_base64(text):
                    forms.setdefault(form, MIN_BASE64_CHARS)
    yield from forms.items()


def _in_urls(text: str) -> Iterator[str]:
    for encoded in (quote(text), quote_plus(text)):
        yield encoded
        yield re.sub("%..", lambda code: code[0].lower(), encoded)


def _in_base64(text: str) -> Iterator[str]:
    for before in range(3):  # characters in front of the text shift its bits
        encoded = base64.b64encode(b"\0" * before + text.encode()).decode()
        encoded = encoded[(0, 2, 3)[before] : (before + len(text)) * 8 // 6]  # without bits of others
        yield encoded
        yield encoded.translate({ord("+"): "-", ord("/"): "_"})
