"""Others' words on our terminal: without what a terminal would obey."""

from __future__ import annotations

from collections.abc import Sequence


def shown(words: str) -> str:
    """One line of what can be seen; whatever else a packet, a topic or a file says is a mark.

    >>> shown("red: \\x1b[31m")
    'red: \ufffd[31m'
    """
    return "".join(c if c.isprintable() else "\ufffd" for c in words)


def shown_lines(words: str) -> str:
    """The same, where our own line breaks stand between."""
    return "\n".join(map(shown, words.split("\n")))


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as lines: the first column to the left, the others to the right.

    >>> columns([("class", "n"), ("EW", "12")])
    ['class   n', 'EW     12']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            word.rjust(width) if i else word.ljust(width)
            for i, (word, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
