"""The command `nightjar` run as a user runs it, with settings from the environment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

NIGHTJAR = [sys.executable, "-m", "workers"]
HOUSE = Path(__file__).parents[1]


def environment(**settings: str) -> dict[str, str]:
    """This process's, without settings of its own, and NIGHTJAR_<name> for each of `settings`."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("NIGHTJAR_") or name == "NIGHTJAR_SHARED_DATA"
    }
    kept["PYTHONPATH"] = str(HOUSE)
    return {**kept, **{f"NIGHTJAR_{name.upper()}": value for name, value in settings.items()}}


def nightjar(
    *arguments: str, cwd: Path, seconds: float = 300, **settings: str
) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            [*NIGHTJAR, *arguments],
            cwd=cwd,
            env=environment(**settings),
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        said = (late.stdout or b"") + (late.stderr or b"")
        words = said.decode(errors="replace") if isinstance(said, bytes) else said
        pytest.fail(f"nightjar {' '.join(arguments)}: not done in {seconds} s\n{words}")


class Standing:
    """A command that stays up, its output in a file, until it is asked to stop."""

    def __init__(self, *arguments: str, cwd: Path, **settings: str) -> None:
        self.output = cwd / f"{arguments[0]}.out"
        with self.output.open("ab") as out:
            self._start = out.tell()  # behind what an earlier one said
            self.process = subprocess.Popen(
                [*NIGHTJAR, *arguments],
                cwd=cwd,
                env=environment(**settings),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )

    def wait_for(self, words: str, seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while words.encode() not in self.output.read_bytes()[self._start :]:
            assert self.process.poll() is None, self.output.read_text()
            assert time.monotonic() < deadline, self.output.read_text()
            time.sleep(0.1)

    def interrupt(self, seconds: float = 20) -> tuple[int, float]:
        """Ctrl-C; the exit code, and how long it took."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(seconds), time.monotonic() - began

    def __enter__(self) -> Standing:
        return self

    def __exit__(self, *exc: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
