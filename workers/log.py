"""Log lines: for people on a terminal, plain in a file, JSON for machines; always on stderr."""

from __future__ import annotations

import sys
from typing import Any, Literal

import structlog

from workers.terminal import shown, shown_lines

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


class _Stderr:
    """Wherever stderr goes at the moment of writing: it may be exchanged after the start."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


def configure(form: Literal["console", "json"] = "console", level: str = "info") -> None:
    """Set what `logger()` writes, for the whole process.

    Parameters
    ----------
    form
        `console`: one readable line, in colour only on a terminal; `json`: one object per line.
    level
        The least that is shown: a name of LEVELS.
    """
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if form == "json":
        # without the values of local variables, a client's password among them
        plain = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        shared += [structlog.processors.ExceptionRenderer(plain)]
        shared += [structlog.processors.JSONRenderer()]
    else:
        shared += [structlog.processors.format_exc_info, _visible]
        shared.append(
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(),
                pad_event_to=0,
                exception_formatter=structlog.dev.plain_traceback,
            )
        )
    structlog.configure(
        processors=shared,
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(_Stderr()),  # type: ignore[arg-type]
        cache_logger_on_first_use=False,
    )


def _visible(log: Any, method: str, said: Any) -> Any:
    """A packet's words may stand in an error."""
    for name, value in said.items():
        if isinstance(value, str):
            said[name] = shown_lines(value) if name == "exception" else shown(value)
    return said


def logger() -> Any:
    """The process's logger: `logger().info("start", span="decode")`.

    A filtered line costs about a microsecond, a written one 20: none per alert.
    """
    if not structlog.is_configured():
        configure()
    return structlog.get_logger()
