"""Labels to bytes: what one costs, beside fastavro writing the same record."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING

import fastavro
import numpy as np

import schemas
from broker.labels import write_labels
from broker.records import BANDS, BLOCK, CONTEXT, IMAGE, KINDS, PRESENCE, SURVEYS, Images, Labels
from broker.taxonomy import RESIDUAL
from workers.bench.figures import Figure, figure, in_turns, most, thread_us

if TYPE_CHECKING:
    from workers.bench.bench import Bench

#: As many as the classify span writes in one go at 2,000 alerts/s, and how often in a turn.
_LABELS, _TIMES = 256, 8


def measure(bench: Bench) -> list[Figure]:
    """µs a label of 7 and of 20 classes, all of them named."""
    rows = []
    for classes in (7, 20):
        labels = named(_LABELS, classes, bench.seed)
        ours, theirs = in_turns(4 * bench.rounds, *turns(labels))
        against = ("fastavro", theirs)
        rows.append(figure(f"a label of {classes} classes", ours, "µs", most(1.0), against))
    return rows


def turns(labels: Labels) -> tuple[Callable[[], float], Callable[[], float]]:
    """One turn of ours and one of fastavro's (the record alone, its schema parsed before)."""
    schema = fastavro.parse_schema(schemas.find("nightjar.Label"))
    records = [next(fastavro.reader(io.BytesIO(value))) for value in write_labels(labels)]

    def ours() -> None:
        for _ in range(_TIMES):
            write_labels(labels)

    def theirs() -> None:
        for record in records:
            fastavro.schemaless_writer(io.BytesIO(), schema, record)

    return (
        lambda: thread_us(ours, _TIMES * len(labels)),
        lambda: thread_us(theirs, len(labels)),
    )


def named(n: int, classes: int, seed: int) -> Labels:
    """Labels of `n` alerts of LSST with points in three bands, each number another."""
    rng = np.random.default_rng(seed)
    rows = np.zeros(n, IMAGE)
    i = np.arange(n)
    rows["survey"] = SURVEYS.index("lsst")
    rows["object"] = [b"%d" % (170_028_500_000_000_000 + 37 * k) for k in i.tolist()]
    rows["topic"] = b"lsst-alerts-v11.1"
    rows["alert_id"] = rows["source_id"] = 170_112_044_500_000_000 + i
    rows["ra"], rows["dec"] = rng.uniform(0, 360, n), rng.uniform(-80, 10, n)
    rows["mjd_tai"] = rows["first_detection_mjd_tai"] = 61_000 + rng.random(n)
    rows["band"] = BANDS.index("r")
    for name in ("published_ms", "decoded_ms", "curves_ms"):
        rows[name] = 1_780_000_000_000 + i
    rows["offset"], rows["partition"] = 10**6 + i, i % 4
    rows["points_hash"] = rng.integers(1 << 62, size=n)
    for name in ("flux_njy", "flux_err_njy", "total_flux_njy", "total_flux_err_njy"):
        rows[name] = rng.uniform(100, 10_000, n)
    rows["reliability"] = rng.random(n)
    rows["context"] = np.nan
    for name in CONTEXT[11:18]:
        rows["context"][name] = rng.random(n)
    presences = np.zeros(6 * n, PRESENCE)
    presences["band"] = np.tile([1, 1, 2, 2, 3, 3], n)
    presences["kind"] = np.tile([KINDS.index("detection"), KINDS.index("forced")], 3 * n)
    presences["n"] = rng.integers(1, 200, 6 * n)
    images = Images(
        rows,
        presences,
        np.arange(n + 1) * 6,
        np.zeros(0, BLOCK),
        np.zeros(n + 1, np.int64),
        np.zeros(0, np.uint8),
    )
    return Labels(
        images=images,
        reason=np.zeros(n, np.uint8),
        probabilities=rng.dirichlet(np.ones(classes), n).astype(np.float32),
        classes=tuple(f"class {k}" for k in range(classes)),
        class_ids=(RESIDUAL,) * classes,
        conditional_on="a periodic variable star of one of these classes",
        classifier="bench 1",
        params="network=shallow grid=fiducial photometry=total min_points=5 device=cpu",
        weights_hash="ab" * 32,
        grid_hash="123",
        classified_ms=1_780_000_000_500,
    )
