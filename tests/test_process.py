"""A process sets its allocator by one new start, and names the kernels' cache by its sources."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from workers import process


def test_malloc_is_set_by_one_new_start() -> None:
    script = (
        "import os, sys\nfrom workers.process import MALLOC, tune_malloc\n"
        "print('start', os.getpid(), flush=True)\ntune_malloc()\n"
        "assert all(os.environ[k] == v for k, v in MALLOC.items())\nprint(sys.argv[1:])\n"
    )
    environment = {k: v for k, v in os.environ.items() if k not in process.MALLOC}
    run = [sys.executable, "-c", script, "a b", "--c"]
    done = subprocess.run(run, env=environment, capture_output=True, text=True, check=True)
    first, second, arguments = done.stdout.splitlines()
    assert first == second  # the same process, so whoever waits for it still does
    assert arguments == "['a b', '--c']"
    mine = environment | {"MALLOC_TOP_PAD_": "0"}
    run = [sys.executable, "-c", script.replace("assert", "0 and"), "x"]
    done = subprocess.run(run, env=mine, capture_output=True, text=True, check=False)
    assert done.stdout.count("start") == 1


def test_kernel_cache_follows_the_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("broker", "models"):
        (tmp_path / name / "deep").mkdir(parents=True)
        (tmp_path / name / "deep" / "a.py").write_text("x = 1\n")
    monkeypatch.setattr(process, "HOUSE", tmp_path)
    first = process.kernel_cache()
    assert first == process.kernel_cache()
    assert first.is_relative_to(sys.prefix)
    (tmp_path / "models" / "deep" / "a.py").write_text("x = 2\n")
    assert process.kernel_cache() != first
    monkeypatch.setenv("NUMBA_CACHE_DIR", "mine")
    process.set_kernel_cache()
    assert os.environ["NUMBA_CACHE_DIR"] == "mine"
