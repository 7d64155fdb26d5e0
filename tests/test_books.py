"""Ledger rows added up: what touches, what closes, and what each planted fault is called."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from workers.audit.books import Books
from workers.audit.faults import Moment, Sum
from workers.times import utc

Row = dict[str, Any]
CELL = ("ztf", 3)
HASHES = [(0x9E3779B97F4A7C15 * i) % (1 << 64) for i in range(1, 101)]


def tally(
    outcome: str, chosen: slice | None = None, count: int | None = None, topic: str = "ztf"
) -> Row:
    some = HASHES[chosen] if chosen else []
    return {
        "topic": topic,
        "partition": 3,
        "outcome": outcome,
        "count": len(some) if count is None else count,
        "sum": (sum(some) + (1 << 63)) % (1 << 64) - (1 << 63),
    }


def row(
    span: str,
    given: tuple[str, int, int, int],
    out: dict[str, int],
    *tallies: Row,
    group: str | None = None,
) -> Row:
    topic, start, end, records = given
    return {
        "span": span,
        "worker": f"n.{span}.0",
        "group": {"classify": "n.classify.one"}.get(span, f"n.{span}") if group is None else group,
        "committed_ms": 1_795_250_477_123,
        "inputs": [
            {"topic": topic, "partition": 1, "start": start, "end": end, "records": records}
        ],
        "outputs": [{"topic": f"n.{name}", "partition": 1, "count": n} for name, n in out.items()],
        "tallies": list(tallies),
    }


def a_good_run() -> list[Row]:
    """100 packets, two of them dead, in two transactions of each span."""
    return [
        row("decode", ("ztf", 40, 90, 50), {"detections": 50}, tally("passed", slice(0, 50))),
        row(
            "decode",
            ("ztf", 90, 142, 52),
            {"detections": 50, "dead-letters": 2},
            tally("passed", slice(50, 100)),
            tally("dead", count=2),
        ),
        row(
            "curves",
            ("n.detections", 0, 61, 60),
            {"images": 51, "dead-letters": 1, "curves": 70},
            tally("passed", slice(0, 50)),
            tally("duplicate", slice(50, 59)),
            tally("dead", slice(59, 60)),
            tally("notice", count=1),
        ),
        row(
            "curves",
            ("n.detections", 61, 103, 40),
            {"images": 39},
            tally("passed", slice(60, 98)),
            tally("withdrawn", slice(98, 99)),
            tally("corrected", slice(99, 100)),
        ),
        row(
            "classify",
            ("n.images", 0, 92, 90),
            {"labels": 90},
            tally("labelled", slice(0, 50)),
            tally("notice", count=1),
            tally("unclassified", slice(60, 98)),
            tally("withdrawn", slice(98, 99)),
        ),
    ]


def books(rows: list[Row]) -> Books:
    found = Books()
    for offset, one in enumerate(rows):
        found.add(one, 2 * offset)
    return found


def faults(rows: list[Row]) -> list[tuple[str, dict[str, Any]]]:
    found = books(rows)
    wrong = [w for hop in found.hops.values() for w in hop.wrong.values()]
    return [(fault.what, dict(fault.place)) for fault in [*found.faults, *wrong]]


def test_a_good_run_closes() -> None:
    found = books(a_good_run())
    assert faults(a_good_run()) == []
    assert not found.hops["curves"].left("n.curves", CELL)
    assert not found.hops["classify"].left("n.classify.one", CELL)
    assert found.hops["classify"].closed["n.classify.one", CELL] == Moment(8, 1_795_250_477_123)
    assert found.tally("n.curves", "duplicate", CELL) == 9
    assert found.ends["n.curves", "n.detections", 1] == 103
    assert found.classifiers == ["n.classify.one"]


def test_a_hop_behind_is_no_fault() -> None:
    found = books(a_good_run()[:3])
    assert faults(a_good_run()[:3]) == []
    left = found.hops["curves"].left("n.curves", CELL)
    assert left == Sum(40, sum(HASHES[60:]) % (1 << 64))


def test_a_range_that_was_skipped_is_named() -> None:
    rows = a_good_run()
    rows[3]["inputs"][0]["start"] = 66
    (what, place), *others = faults(rows)
    assert (what, others) == ("gap", [])
    assert place == {
        "topic": "n.detections", "partition": 1, "reader": "n.curves",
        "ledger": 6, "start": 61, "end": 66,
    }  # fmt: skip
    rows = a_good_run()
    rows[2]["inputs"][0]["start"] = 5  # our own topics begin at 0
    assert [(w, p["start"], p["end"]) for w, p in faults(rows)] == [("gap", 0, 5)]


def test_a_range_read_twice_is_named() -> None:
    rows = a_good_run()
    rows[1]["inputs"][0]["start"] = 80
    assert [(w, p["topic"], p["start"], p["end"]) for w, p in faults(rows)] == [
        ("overlap", "ztf", 80, 90)
    ]


def test_a_row_that_is_gone_and_a_row_that_came_twice() -> None:
    rows = a_good_run()
    gone = rows[:3] + rows[4:]
    assert ("doubled", 39) in [(w, p.get("alerts")) for w, p in faults(gone)]
    assert books(gone).hops["curves"].left("n.curves", CELL).count == 40
    doubled = [*rows[:3], rows[2], *rows[3:]]
    found = faults(doubled)
    assert ("overlap", 0, 61) in [(w, p.get("start"), p.get("end")) for w, p in found]
    assert ("doubled", "n.curves") in [(w, p["reader"]) for w, p in found]


def test_a_changed_sum_is_named_with_where_it_was_right_before() -> None:
    rows = a_good_run()
    rows[4]["tallies"][0]["sum"] += 1
    ((what, place),) = faults(rows)
    assert (what, place["topic"], place["partition"], place["ledger"]) == ("sum", "ztf", 3, 8)
    rows = a_good_run()
    again = deepcopy(rows)
    for one, shift in zip(again, (102, 52, 103, 42, 92), strict=True):
        for given in one["inputs"]:
            given["start"], given["end"] = given["start"] + shift, given["end"] + shift
    again[0]["inputs"][0].update(start=142, end=192)
    again[1]["inputs"][0].update(start=192, end=244)
    again[2]["inputs"][0].update(start=103, end=164)
    again[3]["inputs"][0].update(start=164, end=206)
    assert faults([*rows, *again]) == []
    again[3]["tallies"][1]["sum"] ^= 4
    found = faults([*rows, *again])
    assert [(w, p["reader"], p["agreed"]) for w, p in found] == [
        ("sum", "n.curves", 6),
        ("sum", "n.classify.one", 8),
    ]


def test_a_changed_count_is_named() -> None:
    rows = a_good_run()
    rows[0]["tallies"][0]["count"] -= 1
    assert [(w, p.get("ledger"), p.get("alerts")) for w, p in faults(rows)] == [
        ("row", 0, None),
        ("doubled", 6, 1),
    ]
    rows = a_good_run()
    rows[2]["outputs"][0]["count"] += 1
    assert [(w, p["ledger"]) for w, p in faults(rows)] == [("row", 4)]
    rows = a_good_run()
    rows[2]["inputs"][0]["records"] += 1
    assert [(w, p["ledger"]) for w, p in faults(rows)] == [("row", 4)]


def test_two_classifiers_each_close() -> None:
    rows = a_good_run()
    other = deepcopy(rows[4])
    other["group"] = "n.classify.two"
    assert faults([*rows, other]) == []
    other["tallies"][0]["sum"] += 1
    assert [(w, p["reader"]) for w, p in faults([*rows, other])] == [("sum", "n.classify.two")]


def test_a_skip_is_accepted() -> None:
    rows = a_good_run()
    rows[3] = row("curves", ("n.detections", 61, 103, 40), {}, tally("lost", slice(60, 100)))
    rows[4]["tallies"][2:] = []
    rows[4]["outputs"][0]["count"] = 51
    rows[4]["inputs"][0].update(records=51)
    assert faults(rows) == []
    found = books(rows)
    assert not found.hops["curves"].left("n.curves", CELL)
    assert found.tally("n.curves", "lost", CELL) == 40
    # what cannot be read any more does not tell its alerts: they stay open
    rows[3]["tallies"] = [{**tally("lost", count=42), "topic": "n.detections"}]
    rows[3]["inputs"][0].update(records=0)
    found = books(rows)
    assert found.hops["curves"].left("n.curves", CELL).count == 40
    assert found.unknown == {("n.curves", "lost", ("n.detections", 3)): 42}


def test_a_retry_is_accepted() -> None:
    """The letter of a hop goes back to its input; that of a packet is decoded by the retry."""
    rows = a_good_run()
    back = tally("dead", count=-1)
    back["sum"] = -((HASHES[59] + (1 << 63)) % (1 << 64) - (1 << 63))
    retry = row("curves", ("n.dead-letters", 2, 3, 1), {"detections": 1}, back, group="n.retry")
    again = row(
        "curves", ("n.detections", 103, 105, 1), {"images": 1}, tally("passed", slice(59, 60))
    )
    label = row(
        "classify", ("n.images", 92, 94, 1), {"labels": 1}, tally("labelled", slice(59, 60))
    )
    assert faults([*rows, retry]) == []
    assert books([*rows, retry]).hops["curves"].left("n.curves", CELL) == Sum(1, HASHES[59])
    assert faults([*rows, retry, again, label]) == []
    found = books([*rows, retry, again, label])
    assert found.tally("n.curves", "dead", CELL) == 0
    assert not found.hops["classify"].left("n.classify.one", CELL)
    packet = row(
        "decode", ("n.dead-letters", 0, 1, 1), {"detections": 3},
        tally("dead", count=-1), tally("passed", slice(0, 3)),
    )  # fmt: skip
    found = books([*rows, packet])
    assert found.faults == []
    assert found.hops["curves"].left("n.curves", CELL).count == 3
    assert found.tally("n.decode", "dead", CELL) == 1


def test_rows_of_the_first_version_go_on_under_their_groups() -> None:
    rows = a_good_run()
    for one in rows[:3]:
        one["group"] = ""
        one["inputs"][0]["records"] = -1
    assert faults(rows) == []
    found = books(rows)
    assert set(found.readers) == {"decode", "n.curves", "n.classify.one"}
    assert found.starts["n.curves", "n.detections", 1] == 0
    assert found.tally("n.curves", "duplicate", CELL) == 9


def test_times_are_told_in_utc() -> None:
    assert utc(0) == "1970-01-01T00:00:00.000Z"
