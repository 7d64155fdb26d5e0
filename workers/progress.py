"""How far long work is: a moving bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self, TextIO

#: A line in a file each so many seconds; the bar on a terminal moves ten times a second.
_LINE_EVERY_S = 10.0
_BAR_EVERY_S = 0.1
_BAR_WIDTH = 24


class Progress:
    """Shows what was done, the rate, and the time left where the end is known.

    Parameters
    ----------
    what
        The work, in a word or two.
    total
        How much there is, if known.
    unit
        What is counted, in the plural.
    """

    def __init__(
        self,
        what: str,
        total: int | None = None,
        unit: str = "",
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.what, self.total, self.unit = what, total, unit
        self.done = 0
        self._stream = stream or sys.stderr
        self._moving = self._stream.isatty()
        self._clock = clock
        self._began = clock()
        self._shown = self._began if not self._moving else 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._moving:
            self._stream.write("\r\033[K")
        self._stream.write(self.text(finished=True) + "\n")
        self._stream.flush()

    def at(self, done: int, total: int | None = None) -> None:
        """So much is done; show it if it is time to."""
        self.done = done
        self.total = self.total if total is None else total
        now = self._clock()
        if now - self._shown < (_BAR_EVERY_S if self._moving else _LINE_EVERY_S):
            return
        self._shown = now
        self._stream.write(f"\r\033[K{self.text()}" if self._moving else f"{self.text()}\n")
        self._stream.flush()

    def text(self, finished: bool = False) -> str:
        """One line: `name  [####----]  1,234 of 5,678 alerts  450/s  10 s left`."""
        seconds = max(self._clock() - self._began, 1e-9)
        rate = self.done / seconds
        of = f" of {self.total:,}" if self.total else ""
        parts = [self.what]
        if self.total and self._moving and not finished:
            full = min(_BAR_WIDTH * self.done // self.total, _BAR_WIDTH)
            parts.append(f"[{'#' * full}{'-' * (_BAR_WIDTH - full)}]")
        parts.append(f"{self.done:,}{of} {self.unit}".rstrip())
        parts.append(f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.1f}/s")
        if finished:
            parts.append(f"in {seconds:.1f} s")
        elif self.total and rate > 0:
            parts.append(f"{max(self.total - self.done, 0) / rate:,.0f} s left")
        return "  ".join(parts)
