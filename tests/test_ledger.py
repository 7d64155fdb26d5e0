from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from broker.records import ALERT, OUTCOMES
from workers import ledger
from workers.follow import Totals
from workers.intake import Range
from workers.ledger import Tallies


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
        1234,
        [Range("ztf", 1, 10, 18)],
        Counter({("n.detections", 2): 7, ("n.dead-letters", -1): 1}),
        tallies,
    )
    row = ledger.read(value)
    assert row["inputs"] == [{"topic": "ztf", "partition": 1, "start": 10, "end": 18}]
    assert row["tallies"][0]["sum"] % (1 << 64) == (1 << 64) - 5
    totals = Totals()
    totals.add(row)
    assert totals.received == 8
    assert totals.consumed["decode"] == 8
    assert not totals.settled
    with pytest.raises(ValueError, match="ledger"):
        ledger.read(b"something else")
