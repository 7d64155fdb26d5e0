"""Others' words on our terminal: without what a terminal would obey."""

from __future__ import annotations


def shown(words: str) -> str:
    """One line of what can be seen; whatever else a packet, a topic or a file says is a mark.

    >>> shown("red: \\x1b[31m")
    'red: \ufffd[31m'
    """
    return "".join(c if c.isprintable() else "\ufffd" for c in words)


def shown_lines(words: str) -> str:
    """The same, where our own line breaks stand between."""
    return "\n".join(map(shown, words.split("\n")))
