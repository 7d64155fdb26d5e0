"""Errors that a command shows as one clear line, without a traceback."""

from __future__ import annotations


class Failed(RuntimeError):
    """What was asked could not be done; the message says what was wrong and what to do. Exit 1."""


class Misused(ValueError):
    """The command or a setting cannot be meant that way; says what was expected. Exit 2."""
