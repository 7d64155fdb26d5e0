"""A study in parts: each part's results are kept as JSON, so that a run cut short goes on."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np

from models.metrics import Metrics

Result = dict[str, Any]
Say = Callable[[str], None]


def run(
    parts: Mapping[str, Callable[[], Result]],
    folder: Path,
    settings: Mapping[str, Any],
    only: Iterable[str],
    say: Say,
) -> dict[str, Result]:
    """Run what of the parts has no result of these settings in the folder; all results there are.

    Parameters
    ----------
    parts : mapping
        What each part computes, by its name; in the order of the mapping.
    folder : Path
        One file for each part.
    settings : mapping
        What the results depend on: one kept under other settings is computed anew.
    only : iterable of str
        Run only parts whose names match one of these patterns; all if none is given.
    """
    folder.mkdir(parents=True, exist_ok=True)
    results = {}
    patterns = tuple(only)
    wanted = [n for n in parts if not patterns or any(fnmatch(n, p) for p in patterns)]
    for number, (name, part) in enumerate(parts.items(), 1):
        path = folder / f"{name.replace('/', '.')}.json"
        kept = json.loads(path.read_text()) if path.is_file() else {}
        if kept.get("settings") == dict(settings):
            results[name] = kept["result"]
        elif name in wanted:
            say(f"{name} ({number} of {len(parts)})")
            began = time.perf_counter()
            result = part() | {"seconds": round(time.perf_counter() - began, 1)}
            text = json.dumps({"settings": dict(settings), "result": result})
            beside = path.with_suffix(".part")
            beside.write_text(text)
            os.replace(beside, path)
            results[name] = json.loads(text)["result"]
    return results


def figures(m: Metrics) -> Result:
    """Metrics as JSON can say them; a class without objects has null."""
    shares = {"recall": m.recall, "precision": m.precision, "f1": m.f1}
    return {
        "objects": m.objects,
        "accuracy": m.accuracy,
        "balanced": m.balanced_accuracy,
        "macro_f1": m.macro_f1,
        "matthews": m.matthews,
        "ece": m.ece,
        "confusion": m.confusion.tolist(),
        **{k: [None if np.isnan(x) else float(x) for x in v] for k, v in shares.items()},
    }
