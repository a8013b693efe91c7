"""Numbers with their nouns, in messages and in the report."""


def counted(count: int, noun: str, plural: str = "") -> str:
    """A number with its noun, in the singular or plural."""
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"
