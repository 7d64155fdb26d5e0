"""The figures of reports, as plain mappings that Plotly draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from broker.grids import MICRODAYS, TENTH_MMAG, Grid

_SCALE = "Viridis"


def confusion(matrix: NDArray, names: Sequence[str], title: str) -> dict[str, Any]:
    """Objects (or weights) by true class (row) and name (column), as percent of the row."""
    matrix = np.asarray(matrix, float)
    percent = 100 * matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1e-12)
    return {
        "data": [
            {
                "type": "heatmap",
                "z": percent,
                "x": list(names),
                "y": list(names),
                "text": [[f"{p:.0f}" for p in row] for row in percent],
                "texttemplate": "%{text}",
                "colorscale": _SCALE,
                "zmin": 0,
                "zmax": 100,
                "colorbar": {"title": {"text": "%"}},
            }
        ],
        "layout": {
            "title": {"text": title},
            "xaxis": {"title": {"text": "named"}, "type": "category"},
            "yaxis": {"title": {"text": "true"}, "type": "category", "autorange": "reversed"},
        },
    }


def image(pixels: NDArray, grid: Grid, title: str) -> dict[str, Any]:
    """An image (n_dm, n_dt) on physical axes: days, on a logarithmic scale, and magnitudes."""
    dt = grid.dt_edges / MICRODAYS
    return {
        "data": [
            {
                "type": "heatmap",
                "z": pixels,
                "x": np.maximum(dt, dt[1] / 3),  # a bin from 0 has no logarithm
                "y": grid.dm_edges / TENTH_MMAG,
                "colorscale": _SCALE,
                "showscale": False,
            }
        ],
        "layout": {
            "title": {"text": title},
            "xaxis": {"title": {"text": "time difference [d]"}, "type": "log"},
            "yaxis": {"title": {"text": "magnitude difference"}},
        },
    }


def pixels(values: NDArray, grid: Grid, title: str) -> dict[str, Any]:
    """An image (n_dm, n_dt) with pixels of one size, as networks see it."""
    dm, dt = grid.dm_edges / TENTH_MMAG, grid.dt_edges / MICRODAYS
    return {
        "data": [
            {
                "type": "heatmap",
                "z": values,
                "x": np.arange(len(dt)),
                "y": np.arange(len(dm)),
                "colorscale": _SCALE,
                "colorbar": {"thickness": 10},
            }
        ],
        "layout": {
            "title": {"text": title},
            "height": 300,
            "xaxis": {"title": {"text": "dt [d]"}, **_ticks(dt)},
            "yaxis": {"title": {"text": "dm"}, **_ticks(dm)},
        },
    }


def curve(
    time: ArrayLike, magnitude: ArrayLike, title: str, bright_above: bool = True
) -> dict[str, Any]:
    """A light curve: days and magnitudes."""
    points = {"type": "scatter", "mode": "markers", "x": time, "y": magnitude}
    return {
        "data": [{**points, "marker": {"size": 5}}],
        "layout": {
            "title": {"text": title},
            "xaxis": {"title": {"text": "time [d]"}},
            "yaxis": {
                "title": {"text": "magnitude"},
                "autorange": "reversed" if bright_above else True,
            },
        },
    }


def lines(
    x: ArrayLike, ys: Mapping[str, ArrayLike], title: str, x_title: str, y_title: str
) -> dict[str, Any]:
    """Some figures against one; NaN leaves a gap."""
    mode = {"type": "scatter", "mode": "lines+markers"}
    return {
        "data": [{**mode, "name": name, "x": x, "y": y} for name, y in ys.items()],
        "layout": _titles(title, x_title, y_title) | {"showlegend": len(ys) > 1},
    }


def bars(
    edges: NDArray, heights: Mapping[str, ArrayLike], title: str, x_title: str, y_title: str
) -> dict[str, Any]:
    """Histograms over the bins between edges (bin + 1,), beside each other."""
    middle = (edges[:-1] + edges[1:]) / 2
    return {
        "data": [{"type": "bar", "name": name, "x": middle, "y": y} for name, y in heights.items()],
        "layout": _titles(title, x_title, y_title) | {"barmode": "group"},
    }


def _titles(title: str, x: str, y: str) -> dict[str, Any]:
    axes = {"xaxis": {"title": {"text": x}}, "yaxis": {"title": {"text": y}}}
    return {"title": {"text": title}, **axes}


def _ticks(edges: NDArray) -> dict[str, Any]:
    some = np.arange(0, len(edges), max(1, len(edges) // 8))
    return {"tickvals": some - 0.0, "ticktext": [f"{edges[i]:.3g}" for i in some]}
