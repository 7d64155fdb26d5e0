from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from broker.records import ALERT, OUTCOMES, DeadLetter, Origin
from workers import ledger
from workers.follow import Totals
from workers.intake import Range
from workers.ledger import Tallies
from workers.outputs import Outputs


def alerts(n: int) -> np.ndarray:
    rows = np.zeros(n, ALERT)
    rows["topic"] = np.where(np.arange(n) % 3 == 0, b"north", b"south")
    rows["partition"] = np.arange(n) % 2
    return rows


def test_tallies_by_topic_partition_and_outcome() -> None:
    rng = np.random.default_rng(1)
    rows, outcome = alerts(500), rng.integers(0, 3, 500).astype(np.uint8)
    hashes = rng.integers(0, 1 << 64, 500, dtype=np.uint64)
    tallies = Tallies()
    tallies.add(rows[:200], outcome[:200], hashes[:200])
    tallies.add(rows[200:], outcome[200:], hashes[200:])
    for topic in (b"north", b"south"):
        for partition in (0, 1):
            for o in range(3):
                chosen = (
                    (rows["topic"] == topic) & (rows["partition"] == partition) & (outcome == o)
                )
                key = (topic.decode(), partition, o)
                assert tallies.count[key] == chosen.sum()
                assert tallies.sum[key] == sum(hashes[chosen].tolist()) % (1 << 64)
    assert sum(tallies.by_outcome().values()) == 500


def test_sums_do_not_depend_on_order() -> None:
    rows = alerts(100)
    outcome = np.zeros(100, np.uint8)
    hashes = np.random.default_rng(2).integers(0, 1 << 64, 100, dtype=np.uint64)
    turned, straight = Tallies(), Tallies()
    straight.add(rows, outcome, hashes)
    turned.add(rows[::-1], outcome[::-1], hashes[::-1])
    assert straight.sum == turned.sum


def test_a_row_comes_back() -> None:
    tallies = Tallies()
    tallies.one("ztf", 1, OUTCOMES.index("passed"), 7, (1 << 64) - 5)
    tallies.one("ztf", 1, OUTCOMES.index("dead"), 1, 0)
    value = ledger.row(
        "decode",
        "n.decode.0",
        "n.decode",
        1234,
        [Range("ztf", 1, 10, 18, 7)],
        Counter({("n.detections", 2): 7, ("n.dead-letters", -1): 1}),
        tallies,
    )
    row = ledger.read(value)
    ztf = {"topic": "ztf", "partition": 1, "start": 10, "end": 18, "records": 7}
    assert row["inputs"] == [ztf]
    assert row["group"] == "n.decode"
    assert row["tallies"][0]["sum"] % (1 << 64) == (1 << 64) - 5
    totals = Totals()
    totals.add(row)
    assert totals.received == 8
    assert totals.consumed["decode"] == 8
    assert not totals.settled
    with pytest.raises(ValueError, match="ledger"):
        ledger.read(b"something else")


def test_a_row_of_the_first_version_is_read() -> None:
    """Written by what this house was before its ledger named groups and counted records."""
    value = bytes.fromhex(
        "c30124cdc3fba20472f60c6465636f6465146e2e6465636f64652e30a41302067a74660214240002186e2e6465"
        "74656374696f6e73040e0002067a746602000e0900"
    )
    row = ledger.read(value)
    assert (row["span"], row["group"], row["committed_ms"]) == ("decode", "", 1234)
    ztf = {"topic": "ztf", "partition": 1, "start": 10, "end": 18, "records": -1}
    assert row["inputs"] == [ztf]
    assert row["outputs"] == [{"topic": "n.detections", "partition": 2, "count": 7}]
    (tally,) = row["tallies"]
    assert (tally["topic"], tally["outcome"], tally["count"]) == ("ztf", "passed", 7)
    assert tally["sum"] == -5


def letter(value: bytes, of: Origin | None) -> DeadLetter:
    return DeadLetter(value, "stage_failed", "no", "n.images", 3, 17, 0, 1000, of)


def test_a_letter_counts_where_its_alert_came_from() -> None:
    outputs = Outputs()
    outputs.bury(
        "n.dead-letters",
        [
            letter(b"one", Origin("ztf", 2, 77, False)),
            letter(b"two", Origin("ztf", 2, (1 << 64) - 7, False)),
            letter(b"notice", Origin("ztf", 2, 5, True)),
            letter(b"rubbish", None),
        ],
    )
    dead, notice = OUTCOMES.index("dead"), OUTCOMES.index("notice")
    assert outputs.tallies.count == {
        ("ztf", 2, dead): 2,
        ("ztf", 2, notice): 1,
        ("n.images", 3, dead): 1,
    }
    assert outputs.tallies.sum["ztf", 2, dead] == 70
    assert outputs.tallies.sum["n.images", 3, dead] == 0
    assert outputs.written() == {("n.dead-letters", -1): 4}
