"""The audit's own speed: a ledger as long as a night's, and the labels that it speaks of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from broker import wire
from broker.labels import write_labels
from broker.records import OUTCOMES
from workers import ledger, topics
from workers.audit.audit import audit
from workers.audit.report import Report
from workers.bench.figures import Figure, figure, least
from workers.bench.labels import named
from workers.crew import SPANS
from workers.errors import Failed
from workers.intake import Range
from workers.publish import Publisher

if TYPE_CHECKING:
    from workers.bench.bench import Bench

_ALERTS = 1_000_000
#: Alerts of a transaction: those of a stream that commits often, so the ledger is long.
_OF_A_ROW = 100
#: A label takes 5 kB.
_LABELS = 200_000
#: Ten million alerts in five minutes.
_RATE = least(10e6 / 300)


def measure(bench: Bench) -> list[Figure]:
    """Alerts/s by their ledger rows, and labels/s by their bytes; each run reads all of both."""
    alerts = bench.alerts or _ALERTS
    labelled = min(alerts, _LABELS)
    by_rows = _reports(bench, "rows", alerts, 0)
    by_labels = _reports(bench, "labels", labelled, labelled)
    rows = [alerts / r.seconds["ledger"] for r in by_rows]
    transactions = [r.books.rows / r.seconds["ledger"] for r in by_rows]
    labels = [labelled / r.seconds["labels"] for r in by_labels]
    whole = [10e6 * (1 / a + 1 / b) for a, b in zip(rows, labels, strict=True)]
    return [
        figure("the ledger", rows, "alerts/s", _RATE),
        figure("its transactions", transactions, "rows/s"),
        figure("the labels", labels, "labels/s", _RATE),
        figure("10,000,000 alerts", whole, "s"),
    ]


def _reports(bench: Bench, name: str, alerts: int, labels: int) -> list[Report]:
    space = topics.Namespace(f"audit-{name}", ("none",))
    partitions = bench.settings.partitions
    topics.ensure(bench.client, space, partitions, 1)
    write(bench, space, alerts, labels)
    settings = replace(bench.settings, namespace=space.name).using(bench.kafka.bootstrap)
    found = [audit(settings, False) for _ in range(bench.rounds)]
    wrong = [fault for fault in found[-1].faults if labels or fault.what != "missing"]
    if wrong:
        raise Failed(wrong[0].words)
    bench.forget(*(space.topic(kind) for kind in ("ledger", "labels")))
    return found


def write(bench: Bench, space: topics.Namespace, alerts: int, labels: int) -> None:
    """A ledger of three spans that closes, and the labels of its first alerts."""
    some = named(_OF_A_ROW, 7, bench.seed)
    rows = some.images.images
    partitions = bench.settings.partitions
    ends: Counter[tuple[str, int]] = Counter()
    with (
        Publisher(bench.client, space.topic("ledger")) as book,
        Publisher(bench.client, space.topic("labels")) as answers,
    ):
        for done in range(0, alerts, _OF_A_ROW):
            rows["alert_id"] = rows["offset"] = np.arange(done, done + _OF_A_ROW)
            places = wire.partitions(rows, partitions).tolist()
            for value in _rows(space, some.images.images, Counter(places), ends):
                book.send(value)
            if done < labels:
                values = write_labels(replace(some, classifier="none 1"))
                for value, key, place in zip(values, wire.keys(rows), places, strict=True):
                    answers.send(value, key, place)


def _rows(
    space: topics.Namespace,
    rows: NDArray[np.void],
    places: Counter[int],
    ends: Counter[tuple[str, int]],
) -> Iterator[bytes]:
    """The three transactions of some alerts."""
    hashes = wire.alert_hashes(rows)
    for span in SPANS:
        outcome = "labelled" if span == "classify" else "passed"
        tallies = ledger.Tallies()
        tallies.add(rows, np.full(len(rows), OUTCOMES.index(outcome), np.uint8), hashes)
        given = []
        for place, count in places.items():
            topic = space.topic(topics.READS[span]) if span in topics.READS else "survey"
            start = ends[topic, place]
            ends[topic, place] = start + count + 1  # a mark of the transaction
            given.append(Range(topic, place, start, start + count + 1, count))
        out = Counter({(space.topic(topics.WRITES[span]), p): n for p, n in places.items()})
        group = space.group(span, "none" if span == "classify" else None)
        yield ledger.row(span, "bench", group, 0, given, out, tallies)
