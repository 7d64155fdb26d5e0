"""`nightjar bench`: its rows, its words, and the arithmetic of its ratios."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from commands import nightjar

from broker.decode import Decoder
from broker.packets import Simulation, write
from broker.records import Packets
from workers.bench import growing, night
from workers.bench.figures import figure, in_turns, least, most, ratio, table
from workers.bench.run import STAGES
from workers.bench.running import Rows


def test_a_ratio_says_how_many_times_better() -> None:
    cost = figure("decode", [10.0, 20.0, 40.0], "µs", ratio(4), ("fastavro", [50.0, 60.0, 80.0]))
    assert (cost.value, cost.low, cost.high, cost.rounds) == (20.0, 10.0, 40.0, 3)
    assert cost.comparator_value == 60.0
    assert cost.ratio == 3.0  # the median of 5, 3 and 2: turn by turn
    assert cost.reached is False
    rate = figure("consume", [60.0], "packets/s", ratio(0.6), ("bare loop", [100.0]))
    assert rate.ratio == 0.6
    assert rate.reached is True


def test_a_target_on_the_value_itself() -> None:
    assert figure("p99", [1000.0], "ms", most(1000)).reached is True
    assert figure("p99", [1001.0], "ms", most(1000)).reached is False
    assert figure("share", [89.9], "%", least(90)).reached is False
    assert figure("memory", [1.0], "MB").reached is None
    assert figure("rate", [float("nan")], "/s", least(1)).reached is None


def test_nothing_reaches_a_ratio_without_a_comparison() -> None:
    assert figure("consume", [60.0], "packets/s", ratio(0.6)).reached is None


def test_figures_are_plain_numbers_for_json() -> None:
    row = figure("x", [np.float32(2), np.float64(4)], "µs", most(np.float64(3)), ("y", [1, 2]))
    assert json.loads(json.dumps(row.to_dict()))["reached"] is True
    assert json.loads(json.dumps(figure("x", [float("nan")], "/s").to_dict()))["value"] is None


def test_turns_alternate_after_a_pass_that_is_not_recorded() -> None:
    order: list[str] = []

    def one(name: str) -> float:
        order.append(name)
        return float(len(order))

    ours, theirs = in_turns(2, lambda: one("a"), lambda: one("b"))
    assert "".join(order) == "ababab"
    assert (ours, theirs) == ([3.0, 5.0], [4.0, 6.0])


def test_a_table_row_holds_figure_comparison_and_target() -> None:
    row = figure("decode", [1.0, 2.0, 3.0], "µs", most(1.5), ("fastavro", [20.0] * 3))
    (line,) = table([row]).splitlines()
    for words in ("decode", "2 (1-3) µs", "fastavro 20", "10 x", "<= 1.5", "MISSED"):
        assert words in line


@pytest.mark.parametrize("survey", night.SURVEYS)
def test_copies_of_a_night_are_alerts_of_other_objects(survey: night.Survey) -> None:
    made = night.simulated(survey, 5, 60)
    n = 150
    values = list(made.packets(n))
    assert len(values) == n
    place = np.zeros(n, np.int32), np.arange(n), np.zeros(n, np.int64)
    detections, dead = Decoder().decode(Packets(values, "t", *place))
    assert len(detections) + len(dead) == n
    assert len(dead) < 3
    keys = set(detections.alerts[["object", "alert_id"]].tolist())
    assert len(keys) == len(detections)  # no duplicates
    assert values[:60] == made.base
    assert [len(v) for v in values[60:120]] == [len(v) for v in made.base]
    again = night.simulated(survey, 5, 60)
    assert again.base == made.base
    assert night.simulated(survey, 6, 60).base != made.base
    assert list(made.packets(30, start=100)) == values[100:130]


def test_a_night_from_files(tmp_path: Path) -> None:
    count = write(Simulation("lsst", 3, 20, 1, cutouts=False), tmp_path)
    files = night.from_files([tmp_path])
    assert files.survey == "lsst"
    assert len(files.base) == count
    assert sum(len(b.values) for b in files.batches(10**6, limit=7)) == count
    assert max(len(b.values) for b in files.batches(10**6, limit=7)) == 7


def test_growing_alerts_repeat_their_points() -> None:
    """What a later alert says of an earlier point is what that point said of itself."""
    first, third = growing.alerts(5, 0, 30, 1), growing.alerts(5, 3, 30, 1)
    assert np.diff(first.first).tolist() == [30] * 5
    known = {int(p["id"]): p for p in first.points}
    repeated = [p for p in third.points if int(p["id"]) in known]
    assert len(repeated) == 5 * (growing._HISTORY - 2)
    assert all(p == known[int(p["id"])] for p in repeated)
    assert len(growing.alerts(5, 3, 30, 1, solitary=True).points) == 5
    part = growing.some(third, 2, 4)
    assert part.alerts["object"].tolist() == third.alerts["object"][2:4].tolist()
    rows = third.points[third.first[2] : third.first[4]]
    assert part.points["id"].tolist() == rows["id"].tolist()


def test_rates_count_from_when_there_was_work() -> None:
    rows = Rows()
    for ms, n in ((1000, 100), (2000, 300), (3000, 500)):
        row = {"span": "classify", "group": "a", "committed_ms": ms, "outputs": []}
        row["inputs"] = [{"start": 0, "end": n + 4}]  # marks of transactions count as offsets
        rows.add(row | {"tallies": [{"outcome": "labelled", "count": n}]})
    assert rows.decided("classify") == 900
    assert rows.rate("classify", 600, 900) == 375.0  # 900 in 2.4 s
    assert rows.steady_rate("classify") == 400.0  # 800 in 2 s


def test_every_stage_measures() -> None:
    for name in STAGES:
        assert callable(import_module(f"workers.bench.{name}").measure)


def test_a_wrong_stage_is_told_what_it_may_have_meant(tmp_path: Path) -> None:
    """In processes of their own: the command starts its process anew with other memory settings."""
    for stages, words in ((["dekode"], "did you mean decode?"), (["labels", "xyz"], "there are: ")):
        done = nightjar("bench", *stages, cwd=tmp_path)
        assert done.returncode == 2
        assert words in done.stderr


#: With and without a Kafka. Each of the others starts all workers anew, as the route does.
SOME = ("decode", "labels", "dmdt", "network", "route")


def test_some_of_the_bench_in_small(tmp_path: Path) -> None:
    """With a real Kafka; sizes too small to mean anything."""
    sizes = ("--rounds", "1", "--alerts", "400", "--objects", "300", "--survey", "ztf")
    done = nightjar("bench", *SOME, "--json", *sizes, cwd=tmp_path, seconds=600)
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads(done.stdout)
    assert said["seed"] == 1
    assert said["machine"]["cores"] >= 1
    rows = said["figures"]
    assert {row["stage"] for row in rows} == set(SOME)
    for row in rows:
        assert set(row) >= {"name", "value", "unit", "comparator", "ratio", "target", "reached"}
    by_name = {(row["stage"], row["name"]): row for row in rows}
    processes = ("decode", "curves", "classify", "kafka")
    parts = sum(by_name["route", f"ztf, CPU of {name}"]["value"] for name in processes)
    assert by_name["route", "ztf, CPU of all"]["value"] == pytest.approx(parts)
    assert by_name["route", "ztf, reached the network"]["value"] > 50
    assert by_name["route", "ztf, points an image, median"]["value"] > 5
    assert not (tmp_path / ".nightjar" / "bench").exists()
