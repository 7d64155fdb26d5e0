"""Metrics: those that are documented are those that there are, and /metrics shows them."""

from __future__ import annotations

import re
import urllib.request
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from workers import metrics
from workers.errors import Failed

HOUSE = Path(__file__).parents[1]
ROW = re.compile(r"^\| `(nightjar_\w+)` \|([^|]*)\| [^|]+ \|$", re.MULTILINE)


def test_the_readme_documents_every_metric_with_its_labels() -> None:
    table = {
        name: tuple(filter(None, (label.strip() for label in labels.split(","))))
        for name, labels in ROW.findall((HOUSE / "README.md").read_text())
    }
    assert table == metrics.DOCUMENTED


def test_what_is_documented_is_what_the_registry_has() -> None:
    there = {
        family.name + ("_total" if family.type == "counter" else "")
        for family in REGISTRY.collect()
        if family.name.startswith(metrics.PREFIX)
    }
    assert there == set(metrics.DOCUMENTED)


def test_served_and_port_taken() -> None:
    child = metrics.DEAD_LETTERS.labels("html")
    before = child._value.get()
    child.inc()
    with metrics.serve("127.0.0.1", 0) as server:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=5) as page:
            text = page.read().decode()
        assert f'nightjar_dead_letters_total{{reason="html"}} {before + 1}' in text
        with pytest.raises(Failed, match=rf"{server.port}.*process \d+.*--metrics\.port"):
            metrics.serve("127.0.0.1", server.port)
    with metrics.serve("127.0.0.1", server.port):  # free again
        pass
