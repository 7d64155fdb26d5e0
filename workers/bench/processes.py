"""What the system says of a process: CPU time and memory."""

from __future__ import annotations

import os
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    """CPU time that all threads of a process have used, ended ones too, in seconds."""
    return _cpu_s(Path(f"/proc/{pid}/stat"))


def _cpu_s(stat: Path) -> float:
    fields = stat.read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def upkeep_s(pid: int) -> float:
    """CPU time of a Java process's own upkeep: its compilers and its garbage collector.

    A broker compiles what it runs often; this part fades with the hours, the rest stays.
    """
    total = 0.0
    for task in Path(f"/proc/{pid}/task").iterdir():
        name = (task / "comm").read_text()
        if name.startswith(("C1 Comp", "C2 Comp", "GC Thread", "G1 ")):
            total += _cpu_s(task / "stat")
    return total


def own_mb(pid: int) -> float:
    """Memory that is a process's own now, without files that it has mapped (the store's pages are
    the system's to take back)."""
    return _status_kb(pid, "RssAnon") / 1000


def peak_rss_mb(pid: int) -> float:
    """The most memory that a process ever held."""
    return _status_kb(pid, "VmHWM") / 1000


def _status_kb(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    msg = f"process {pid} has no {name}: it has ended"
    raise ProcessLookupError(msg)
