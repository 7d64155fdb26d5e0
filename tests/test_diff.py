"""`nightjar diff`: joined by alert; what agrees, what differs, and what must not differ."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from commands import nightjar

from broker.packets import Shares, Simulation, write
from broker.records import REASONS
from workers import cli
from workers.diff.answers import ANSWER, Answers
from workers.diff.difference import Difference, jensen_shannon
from workers.replay import to_parquet
from workers.settings import Classify, Settings

NAN = float("nan")


def answers(*said: tuple[int, str, int, str, tuple[float, ...]], names: str = "ab") -> Answers:
    """Of (alert, reason, hash of points, weights, probabilities)."""
    rows = np.zeros(len(said), ANSWER)
    rows["object"] = [b"o%d" % (alert // 10) for alert, *_ in said]
    rows["alert_id"] = [alert for alert, *_ in said]
    rows["reason"] = [REASONS.index(reason) for _, reason, *_ in said]
    rows["points_hash"] = [points for _, _, points, *_ in said]
    rows["weights_hash"] = [weights.encode() for *_, weights, _ in said]
    table = np.array([p or (NAN,) * len(names) for *_, p in said], np.float32)
    return Answers(rows, tuple(names), table)


def test_what_differs_is_told_apart() -> None:
    first = answers(
        (11, "none", 1, "w", (0.9, 0.1)),
        (12, "none", 1, "w", (0.9, 0.1)),
        (13, "none", 1, "w", (0.9, 0.1)),  # equal points and weights, and another label
        (21, "none", 2, "w", (0.6, 0.4)),  # other points
        (22, "too_few_points", 3, "w", ()),
        (23, "none", 4, "w", (0.2, 0.8)),  # other weights
        (31, "none", 5, "w", (0.5, 0.5)),  # the first alone
        (41, "none", 6, "w", (0.5, 0.5)),  # taken back
        (41, "withdrawn", 7, "w", ()),
    )
    second = answers(
        (23, "none", 4, "v", (0.8, 0.2)),
        (22, "none", 3, "v", (1.0, 0.0)),
        (21, "none", 9, "w", (0.4, 0.6)),
        (13, "none", 1, "w", (0.1, 0.9)),
        (12, "none", 1, "w", (0.905, 0.095)),
        (11, "none", 1, "w", (0.9, 0.1)),
        (41, "none", 6, "w", (0.5, 0.5)),
        (41, "none", 6, "w", (0.5, 0.5)),  # twice
        (51, "solar_system", 1, "w", ()),
    )
    found = Difference(2)
    found.add(first, second)
    assert (found.both, found.only, found.repeated) == (7, [1, 1], [0, 1])
    assert found.matrix == {
        ("a", "a"): 3,
        ("a", "b"): 2,
        ("b", "a"): 1,
        ("(too_few_points)", "a"): 1,
    }
    named = found.named.row()
    assert (named["alerts"], named["agreement"]) == (6, 3 / 6)
    apart = (0 + 0.005 + 0.8 + 0.2 + 0.6 + 0) / 6
    assert named["mean_absolute_difference"] == pytest.approx(apart, abs=1e-6)
    assert found.equal_points.alerts == 5
    assert (found.different.count, found.broken.count, found.other_points.count) == (4, 1, 1)
    assert [row["alert_id"] for row in found.broken.rows()] == [13]
    assert [row["alert_id"] for row in found.other_points.rows()] == [21]
    assert [row["alert_id"] for row in found.different.rows()] == [22, 13]
    assert found.different.rows()[1]["first"] == {"said": "a", "classes": {"a": 0.9, "b": 0.1}}


def test_parts_add_up_to_the_whole() -> None:
    """Partition by partition, and over other classes."""
    draw = np.random.default_rng(1)
    p, q = draw.dirichlet((1, 1, 1), (2, 400))
    sides = [
        answers(*((i, "none", 1, w, tuple(row)) for i, row in enumerate(table)), names=names)
        for table, w, names in ((p, "v", "abc"), (q, "w", "bcd"))
    ]
    whole, parts = Difference(5), Difference(5)
    whole.add(*sides)
    for some in (slice(0, 150), slice(150, 400)):
        parts.add(*(side.only(some) for side in sides))
    assert whole.matrix == parts.matrix
    assert whole.different.rows() == parts.different.rows()
    assert whole.named.divergence == pytest.approx(parts.named.divergence)
    wide = [np.c_[p, np.zeros(400)], np.c_[np.zeros(400), q]]
    assert whole.named.divergence == pytest.approx(jensen_shannon(*wide).sum(), rel=1e-5)
    assert whole.named.same == int((wide[0].argmax(1) == wide[1].argmax(1)).sum())


def test_files_of_replays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two networks in one file, and one of them alone in another whose labels are changed."""
    monkeypatch.chdir(tmp_path)
    night = Simulation("ztf", 12, 60, 5, cutouts=False, shares=Shares(0.02, 0.02, 0, 0, 0))
    write(night, tmp_path / "night")
    both = Settings(classify=Classify(models=("crts-rows", "crts-shallow"), device="cpu"))
    to_parquet(both, ["night"], [], Path("both.parquet"))
    table = pq.read_table(tmp_path / "both.parquet")
    named = pa.compute.equal(table["classifier"], "crts-rows 1")
    rows = table.filter(named)
    assert len(rows) == len(table) // 2 == night.truth().num_rows
    capsys.readouterr()
    assert cli.run(["diff", "both.parquet:crts-rows", "both.parquet:crts-shallow", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["both"] == len(rows)
    assert 0 < said["named"]["agreement"] < 1
    assert sum(cell["alerts"] for cell in said["matrix"]) == len(rows)
    assert 0 < said["different"]["alerts"] < len(rows)
    assert said["other_points"]["alerts"] == said["broken"]["alerts"] == 0
    # one label changed: equal points and weights, so it must not be
    which = next(i for i, word in enumerate(rows["class"].to_pylist()) if word == "EW")
    values = rows["p_EW"].to_pylist()
    values[which] = 0.01
    place = rows.column_names.index("p_EW")
    pq.write_table(
        rows.set_column(place, "p_EW", pa.array(values, pa.float32())), tmp_path / "x.parquet"
    )
    done = nightjar("diff", "both.parquet:crts-rows", "x.parquet", cwd=tmp_path)
    assert done.returncode == 1
    assert "1 HAVE EQUAL POINTS AND WEIGHTS, AND OTHER LABELS" in done.stdout
    assert f"alert {rows['alert_id'][which]}:" in done.stdout
    for sides, code, words in (
        (("both.parquet", "x.parquet"), 1, "say which one, as both.parquet:crts-rows"),
        (("x.parquet:none", "x.parquet"), 1, "there are labels of crts-rows 1"),
        (("x.parquet", "x.parquet"), 2, "twice"),
        (("y.parquet", "x.parquet"), 1, "y.parquet: no such file"),
    ):
        assert cli.run(["diff", *sides]) == code
        assert words in capsys.readouterr().err
