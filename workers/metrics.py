"""All metrics of a worker, each defined once; `serve` shows them under /metrics.

Base units, no label with unbounded values. Counters rise after the commit, so a crash may lose
some; only the ledger closes. A child is bound once (`ALERTS.labels("ztf", "labelled")`, 2.65
against 0.83 us) and kept by whoever counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from threading import Thread
from types import TracebackType
from typing import Self
from wsgiref.simple_server import WSGIServer

import numpy as np
from numpy.typing import NDArray
from prometheus_client import REGISTRY, Counter, Gauge, Histogram, Metric, start_http_server
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

from broker.records import SURVEYS
from workers.errors import Failed
from workers.ports import describe_process, port_owner

PREFIX = "nightjar_"
#: From a transaction on loopback (3 ms) to a restart in the way (a minute).
SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)
#: From a prompt alert (LSST: 60 s) to a history of months.
AGES = (10, 30, 60, 120, 300, 600, 1800, 3600, 6 * 3600, 86400, 7 * 86400, 30 * 86400)
SIZES = (1, 4, 16, 64, 128, 256, 512, 1024, 2048, 4096, 8192)


#: Name, as /metrics shows it, to labels: what the README's table is held to.
DOCUMENTED: dict[str, tuple[str, ...]] = {}


def _counter(name: str, text: str, *labels: str) -> Counter:
    DOCUMENTED[PREFIX + name] = labels
    return Counter(PREFIX + name, text, labels)


def _gauge(name: str, text: str, *labels: str) -> Gauge:
    DOCUMENTED[PREFIX + name] = labels
    return Gauge(PREFIX + name, text, labels)


def _histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
    DOCUMENTED[PREFIX + name] = labels
    return Histogram(PREFIX + name, text, labels, buckets=buckets)


class Observations(Collector):
    """A histogram by survey that takes a batch at once: one by one cost 2 us an alert."""

    def __init__(self, name: str, text: str, bounds: Sequence[float]) -> None:
        self._name, self._text = PREFIX + name, text
        self._bounds = np.array([*bounds, np.inf])
        self._counts = np.zeros((len(SURVEYS), len(self._bounds)), np.int64)  # (survey, bucket)
        self._sums = np.zeros(len(SURVEYS))
        DOCUMENTED[self._name] = ("survey",)
        REGISTRY.register(self)

    def observe(self, survey: NDArray[np.uint8], values: NDArray[np.float64]) -> None:
        """Count values, (n,), each under the index of its survey in SURVEYS."""
        np.add.at(self._counts, (survey, np.searchsorted(self._bounds, values)), 1)
        np.add.at(self._sums, survey, values)

    def collect(self) -> Iterator[Metric]:
        family = HistogramMetricFamily(self._name, self._text, labels=["survey"])
        names = [*map(repr, self._bounds[:-1].tolist()), "+Inf"]
        for survey, counts, total in zip(SURVEYS, self._counts, self._sums, strict=True):
            upto = counts.cumsum().tolist()
            family.add_metric([survey], list(zip(names, upto, strict=True)), float(total))
        yield family


PACKETS = _counter("packets_total", "Packets taken from the survey", "survey")
PACKET_BYTES = _counter("packet_bytes_total", "Bytes of those packets", "survey")
ALERTS = _counter("alerts_total", "Alerts, by what became of them at a hop", "survey", "outcome")
DEAD_LETTERS = _counter("dead_letters_total", "Packets or records not taken", "reason")
STAGE_SECONDS = _histogram("stage_seconds", "Work on one batch", SECONDS, "stage")
LABEL_LATENCY_SECONDS = Observations(
    "label_latency_seconds", "Kafka time of the packet to label committed", SECONDS
)
OBSERVATION_AGE_SECONDS = Observations(
    "observation_age_seconds", "Shutter close to label committed", AGES
)
LAG_MESSAGES = _gauge("lag_messages", "Records not yet taken", "group", "topic", "partition")
LAG_SECONDS = _gauge(
    "lag_seconds", "Age of the oldest record not yet taken", "group", "topic", "partition"
)
LIGHT_CURVES = _gauge("light_curves", "Objects held")
LIGHT_CURVE_BYTES = _gauge("light_curve_bytes", "Bytes of points and counts held")
BATCH_SIZE = _histogram("batch_size", "Records in one batch", SIZES, "stage")
BATCH_WAIT_SECONDS = _histogram(
    "batch_wait_seconds", "Oldest record of a batch: taken to worked on", SECONDS, "stage"
)
DEVICE_SECONDS = _counter("device_seconds_total", "Time the network ran", "device")
LABELS = _counter("labels_total", "Labels written", "classifier", "class")
COMMIT_SECONDS = _histogram("commit_seconds", "Commit of one transaction", SECONDS, "stage")
COMMITS = _counter("commits_total", "Transactions committed", "stage")
ABORTS = _counter("aborts_total", "Transactions given up, and why", "reason")
FENCED = _counter("fenced_total", "Times another worker had taken this one's place")
RESTORE_REMAINING_RECORDS = _gauge(
    "restore_remaining_records", "Changelog records yet to be read back", "partition"
)
OPEN_TRANSACTION_AGE_SECONDS = _gauge("open_transaction_age_seconds", "0 when none is open")
REBALANCES = _counter("rebalances_total", "Times the group shared its partitions anew")
LAST_LABEL_TIMESTAMP_SECONDS = _gauge(
    "last_label_timestamp_seconds", "Unix time of the last label committed"
)
BUILD_INFO = _gauge("build_info", "1; what runs here", "version", "model", "device")


class Server:
    """/metrics of this process, until `close`."""

    def __init__(self, server: WSGIServer, thread: Thread) -> None:
        self._server, self._thread = server, thread
        self.port: int = server.server_port

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def serve(host: str, port: int) -> Server:
    """Serve /metrics in a thread of its own; port 0 takes a free one (`.port` says which).

    Raises
    ------
    Failed
        The port is taken, or the host is no address of this machine.
    """
    try:
        server, thread = start_http_server(port, host)
    except OSError as error:
        owner = port_owner(port)
        who = f" by {describe_process(owner)}" if owner else ""
        msg = (
            f"/metrics cannot be served on {host}:{port}: {error.strerror}{who}; set "
            "--metrics.port to another port, or to 0 for a free one"
        )
        raise Failed(msg) from None
    return Server(server, thread)
