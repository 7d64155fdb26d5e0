"""Keeps a worker in its group while its stage computes for long, as a slow GPU makes it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

_EVERY_S = 1.0


class Breath:
    """`with breath:` around what may take long: after `after_s`, `stay` is called each second.

    From a thread of its own, but never while the block is not entered.
    """

    def __init__(self, stay: Callable[[], None], after_s: float) -> None:
        self._stay, self._after_s = stay, after_s
        self._since: float | None = None
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="breath", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Call it when the worker ends."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(_EVERY_S):
            with self._lock:
                if self._since is not None and time.monotonic() - self._since >= self._after_s:
                    self._stay()

    def __enter__(self) -> Self:
        self._since = time.monotonic()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._lock:
            self._since = None
