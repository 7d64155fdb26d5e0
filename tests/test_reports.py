from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest

from broker.grids import GRIDS
from models import figures, reports
from models.reports import Section, Table

FIGURES = {
    "confusion": figures.confusion(np.array([[8, 2], [0, 0]]), ("EW", "EA"), "c"),
    "image": figures.image(np.eye(24, 23), GRIDS["exercise"], "</script><b>i"),
    "pixels": figures.pixels(np.eye(22, 23), GRIDS["fiducial"], "p"),
    "curve": figures.curve([1, 2], [15.0, 15.1], "l"),
    "lines": figures.lines((0.0, 1.0), {"a": [1.0, np.nan]}, "t", "x", "y"),
    "bars": figures.bars(np.array([0.0, 1.0, 2.0]), {"a": np.array([0.5, np.nan])}, "t", "x", "y"),
}


@pytest.mark.parametrize("name", FIGURES)
def test_figures_are_what_plotly_draws(name: str) -> None:
    drawn = go.Figure(json.loads(json.dumps(reports._plain(FIGURES[name]))))  # it knows each key
    assert len(drawn.data) == 1
    assert drawn.layout.title.text


def test_percentages_and_physical_axes() -> None:
    confusion = FIGURES["confusion"]["data"][0]
    assert confusion["z"].tolist() == [[80, 20], [0, 0]]
    image = FIGURES["image"]
    assert (len(image["data"][0]["x"]), len(image["data"][0]["y"])) == (24, 25)  # edges of bins
    assert image["data"][0]["x"][[0, -1]].tolist() == [0.01, 30]
    assert image["data"][0]["y"][[0, -1]].tolist() == [-2, 2]
    assert image["layout"]["xaxis"]["type"] == "log"
    assert FIGURES["curve"]["layout"]["yaxis"]["autorange"] == "reversed"  # bright is above


def test_a_report_is_one_file_that_asks_for_nothing(tmp_path: Path) -> None:
    table = Table("T", ("<i>", "b"), [("x & y", 1.5)])
    sections = [Section("One", ["words <b>"], [table], [list(FIGURES.values())]), Section("Two")]
    path = tmp_path / "new" / "report.html"
    reports.write(path, "Title", sections)
    text = path.read_text()
    assert text.count('Plotly.newPlot("figure') == len(FIGURES)
    assert text.count("plotly.js v") == 1  # its script stands there once
    outside = re.sub(r"<script>/\*.*?</script>", "", text, flags=re.S)  # without Plotly's own
    assert len(outside) < 60_000
    assert not re.search(r"https?://|src=|href=|@import|NaN|Infinity", outside)
    assert "words &lt;b&gt;" in outside
    assert "<td>x &amp; y</td>" in outside
    assert "&lt;i&gt;" in outside

    began: list[str] = []

    class Tags(HTMLParser):
        def handle_starttag(self, tag: str, attrs: object) -> None:
            began.append(tag)

    Tags().feed(text)
    assert began.count("script") == 1 + len(FIGURES)
    assert "b" not in began  # no title ends a script
