"""What a process must have set before it does anything: memory allocator, kernels' cache."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

HOUSE = Path(__file__).parents[1]
_CACHE = "NUMBA_CACHE_DIR"
_found: str | None = None  # where this process's kernels are, unless the user says it
#: glibc hands every freed packet batch back to the system and faults it in again; kept instead,
#: consuming LSST packets costs 6-50 % less CPU, and torch on the CPU is faster too.
MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(256 << 20),
    "MALLOC_TOP_PAD_": str(16 << 20),
}


def tune_malloc() -> None:
    """Start this very process again with glibc's thresholds set, as it reads them only at start.

    Nothing happens where they are set already (by us or by the user), or not on Linux. Call it
    first of all: threads, sockets and child processes of before are lost.
    """
    if not sys.platform.startswith("linux") or any(name in os.environ for name in MALLOC):
        return
    os.environ.update(MALLOC)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def kernel_cache() -> Path:
    """The folder of compiled kernels, beside the interpreter and named by all sources they may use.

    Numba's own cache looks at one file at a time, and misses an edit in what a kernel calls or in a
    constant that it was compiled with.
    """
    digest = hashlib.sha256(sys.version.encode())
    for package in ("broker", "models"):
        for path in sorted((HOUSE / package).rglob("*.py")):
            digest.update(path.relative_to(HOUSE).as_posix().encode())
            digest.update(path.read_bytes())
    return Path(sys.prefix) / "numba" / digest.hexdigest()[:12]


def set_kernel_cache() -> None:
    """Point Numba there, unless the user says where; only before numba is imported."""
    global _found
    if _CACHE not in os.environ:
        _found = os.environ[_CACHE] = str(kernel_cache())


def inheritance() -> dict[str, str]:
    """The environment for another process of ours.

    Where its kernels are it finds by itself: the sources may have changed since this one started.
    """
    kept = dict(os.environ)
    if _found is not None and kept.get(_CACHE) == _found:
        del kept[_CACHE]
    return kept
