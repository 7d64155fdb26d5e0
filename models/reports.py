"""A report of measurements: sections of words, tables and figures; one HTML file, no network.

Figures are plain mappings as Plotly draws them (data, layout); its script stands in the file once.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

Figure = Mapping[str, Any]

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2em auto; padding: 0 1em; }
table { border-collapse: collapse; margin: 1em 0; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding: .3em 0; }
th, td { border-bottom: 1px solid #ccc; padding: .15em .7em; text-align: right; }
th:first-child, td:first-child { text-align: left; }
.row { display: flex; flex-wrap: wrap; } .row > div { flex: 1 1 320px; min-width: 0; }
"""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of words and numbers; the first column names the row."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[object]]


@dataclass(slots=True)
class Section:
    """A question and what came of it; each row of figures stands side by side."""

    title: str
    words: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    figures: list[Sequence[Figure]] = field(default_factory=list)


def check() -> None:
    """Raise ModuleNotFoundError where plotly, which `write` needs, is not installed."""
    import plotly  # noqa: F401


def write(path: Path, title: str, sections: Sequence[Section]) -> None:
    """Write the report; it needs nothing but a browser.

    Raises
    ------
    ModuleNotFoundError
        plotly is not installed.
    """
    from plotly.offline import get_plotlyjs

    parts = [
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>',
        f"<style>{_STYLE}</style><script>{get_plotlyjs()}</script><h1>{html.escape(title)}</h1>",
    ]
    number = 0
    for section in sections:
        parts.append(f"<h2>{html.escape(section.title)}</h2>")
        parts += [f"<p>{html.escape(words)}</p>" for words in section.words]
        parts += map(_table, section.tables)
        for row in section.figures:
            parts.append('<div class="row">')
            for figure in row:
                number += 1
                parts.append(_figure(f"figure{number}", figure))
            parts.append("</div>")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(parts) + "</html>\n", encoding="utf-8")


def _table(table: Table) -> str:
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in table.head)
    rows = "".join(
        "<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) + "</tr>"
        for row in table.rows
    )
    return f"<table><caption>{html.escape(table.title)}</caption><tr>{head}</tr>{rows}</table>"


def _figure(name: str, figure: Figure) -> str:
    layout = {"height": 360, "margin": {"l": 60, "r": 20, "t": 40, "b": 50}, **figure["layout"]}
    arguments = ", ".join(
        json.dumps(_plain(part), separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
        for part in (figure["data"], layout, {"displaylogo": False, "responsive": True})
    )
    return f'<div id="{name}"></div><script>Plotly.newPlot("{name}", {arguments})</script>'


def _plain(value: Any) -> Any:
    """What JSON can say: arrays are lists, numbers have six digits, what is not finite is null."""
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, float | np.floating):
        return float(f"{value:.6g}") if np.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value
