"""Who counts what, and when: children of the metrics bound once, raised after the commit."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from broker.records import OUTCOMES, SURVEYS, Labels
from workers import metrics

if TYPE_CHECKING:
    from broker.curves import Curves

#: Wall clock is UTC; mid-exposure times are TAI, 37 s ahead since 2017.
_TAI_UTC_S = 37.0
_MJD_OF_UNIX_EPOCH = 40587.0
_DAY_S = 86_400.0


class SpanMetrics:
    """What every span counts, whatever it does."""

    def __init__(self, span: str) -> None:
        self.stage = metrics.STAGE_SECONDS.labels(span)
        self.batch_size = metrics.BATCH_SIZE.labels(span)
        self.batch_wait = metrics.BATCH_WAIT_SECONDS.labels(span)
        self.fenced = metrics.FENCED
        self.rebalances = metrics.REBALANCES
        self.open_transaction = metrics.OPEN_TRANSACTION_AGE_SECONDS
        self._commit = metrics.COMMIT_SECONDS.labels(span)
        self._commits = metrics.COMMITS.labels(span)
        self._began: float | None = None
        self.open_transaction.set_function(self.open_s)

    def began(self) -> None:
        self._began = time.monotonic()

    def committed(self) -> float:
        """How long it took, in s."""
        took = self.open_s()
        self._commit.observe(took)
        self._commits.inc()
        self._began = None
        return took

    def aborted(self, reason: str) -> None:
        metrics.ABORTS.labels(reason).inc()
        self.ended()

    def ended(self) -> None:
        """No transaction is open any more."""
        self._began = None

    def lags(
        self,
        group: str,
        lags: Mapping[tuple[str, int], int],
        oldest_ms: Mapping[tuple[str, int], int],
    ) -> None:
        """Records that wait for a group, and the age of the last one taken where some do."""
        now_ms = time.time() * 1000
        for (topic, partition), lag in lags.items():
            metrics.LAG_MESSAGES.labels(group, topic, str(partition)).set(lag)
            taken = oldest_ms.get((topic, partition))
            age = (now_ms - taken) / 1000 if lag and taken else 0.0
            metrics.LAG_SECONDS.labels(group, topic, str(partition)).set(age)

    def open_s(self) -> float:
        """How long the transaction in hand has been open; 0 when none is."""
        began = self._began
        return time.monotonic() - began if began is not None else 0.0


class AlertMetrics:
    """Alerts at each hop, counted by survey and outcome."""

    def __init__(self) -> None:
        self._alerts = [
            [metrics.ALERTS.labels(survey, outcome) for outcome in OUTCOMES] for survey in SURVEYS
        ]
        self._packets = [metrics.PACKETS.labels(survey) for survey in SURVEYS]
        self._bytes = [metrics.PACKET_BYTES.labels(survey) for survey in SURVEYS]

    def decoded(self, alerts: NDArray[np.void], sizes: list[int], now_ms: int) -> None:
        """A committed batch of packets; its bytes go to the survey of its first alert."""
        self._count(alerts["survey"], np.zeros(len(alerts), np.uint8))
        survey = int(alerts["survey"][0]) if len(alerts) else 0
        self._packets[survey].inc(len(sizes))
        self._bytes[survey].inc(sum(sizes))

    def added(self, alerts: NDArray[np.void], outcome: NDArray[np.uint8], now_ms: int) -> None:
        gone_on = outcome == OUTCOMES.index("passed")
        self._count(alerts["survey"][~gone_on], outcome[~gone_on])

    def curves(self, curves: Sequence[Curves]) -> None:
        metrics.LIGHT_CURVES.set(sum(len(c) for c in curves))
        metrics.LIGHT_CURVE_BYTES.set(sum(c.nbytes for c in curves))

    def labelled(self, labels: Labels, outcome: NDArray[np.uint8], now_ms: int) -> None:
        rows = labels.images.images
        if not len(rows):
            return
        self._count(rows["survey"], outcome)
        metrics.LABEL_LATENCY_SECONDS.observe(
            rows["survey"], (now_ms - rows["published_ms"]) / 1000
        )
        unix_s = (rows["mjd_tai"] - _MJD_OF_UNIX_EPOCH) * _DAY_S - _TAI_UTC_S
        metrics.OBSERVATION_AGE_SECONDS.observe(rows["survey"], now_ms / 1000 - unix_s)
        named = outcome == OUTCOMES.index("labelled")
        best = labels.probabilities[named].argmax(axis=1)
        for which, n in zip(*np.unique(best, return_counts=True), strict=True):
            metrics.LABELS.labels(labels.classifier, labels.classes[which]).inc(int(n))
        if not named.all():
            metrics.LABELS.labels(labels.classifier, "none").inc(int((~named).sum()))
        metrics.LAST_LABEL_TIMESTAMP_SECONDS.set(now_ms / 1000)

    def _count(self, survey: NDArray[np.uint8], outcome: NDArray[np.uint8]) -> None:
        cell = survey.astype(np.int64) * len(OUTCOMES) + outcome
        for value, n in zip(*np.unique(cell, return_counts=True), strict=True):
            self._alerts[value // len(OUTCOMES)][value % len(OUTCOMES)].inc(int(n))


def buried(reasons: Sequence[str], now_ms: int) -> None:
    """Letters that were committed, by why."""
    for reason in reasons:
        metrics.DEAD_LETTERS.labels(reason).inc()


class RestoreMetrics:
    def remaining(self, partition: int, records: int) -> None:
        metrics.RESTORE_REMAINING_RECORDS.labels(str(partition)).set(records)


def say_build(model: str, device: str) -> None:
    """What runs here, as a metric that is always 1."""
    metrics.BUILD_INFO.labels(version("nightjar"), model, device).set(1)
