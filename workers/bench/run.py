"""The stages by name, run one after the other."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module

from workers.bench.bench import Bench
from workers.bench.figures import Figure, table
from workers.errors import Misused

#: Stage -> what its figures are of. Each is the module of that name, with one function `measure`.
STAGES = {
    "decode": "survey packets to columns, one thread",
    "labels": "labels to bytes, one thread",
    "consume": "consume and decode, one process",
    "dmdt": "images of pairs: a point added, from scratch, and growth",
    "network": "the network alone, one thread",
    "curves": "light curves and their images, in memory and as a worker",
    "route": "the whole path, Kafka and all workers",
    "transactions": "what exactly once costs",
    "latency": "a paced stream, packet to label",
    "burst": "10,000 alerts at once",
    "start": "workers started, kernels cached",
    "memory": "what grows with the alerts, and a light curve's bytes",
    "audit": "ledger and labels added up",
    "restart": "many light curves, their worker started again",
    "handover": "workers replaced and killed under a stream (only if named: 12 minutes)",
}
#: Not among those that run when none is named.
_NAMED = {"handover"}


def run(bench: Bench, stages: Sequence[str], as_json: bool) -> None:
    """Measure some stages or all of them, and print the figures as they come (JSON: at the end).

    Raises
    ------
    Misused
        There is no such stage.
    """
    for stage in stages:
        if stage in STAGES:
            continue
        close = get_close_matches(stage, STAGES, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]}?" if close else f"there are: {', '.join(STAGES)}"
        msg = f"no stage {stage!r}; {hint}"
        raise Misused(msg)
    found: dict[str, list[Figure]] = {}
    with bench:
        for name in stages or sorted(STAGES.keys() - _NAMED, key=list(STAGES).index):
            began = time.monotonic()
            rows = import_module(f"workers.bench.{name}").measure(bench)
            found[name] = rows
            head = f"{name}: {STAGES[name]} ({time.monotonic() - began:.0f} s)"
            if as_json:
                bench.say(head)
            else:
                print(head, table(rows), sep="\n", flush=True)
    if as_json:
        figures = [{"stage": name, **row.to_dict()} for name in found for row in found[name]]
        print(json.dumps({"machine": machine(), "seed": bench.seed, "figures": figures}, indent=1))


def machine() -> dict[str, object]:
    """Where the figures come from."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "processor": _processor(),
        "load": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "argv": sys.argv[1:],
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as lines:
            return next(line.split(":")[1].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        return platform.machine()
