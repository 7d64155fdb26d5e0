"""The route of an alert, once: packets, detections, images, labels.

`Straight` walks it in one process, batch by batch (replay to Parquet). Live, each hop is a span of
its own with Kafka between: the same three calls, in `DecodeStage`, `CurvesStage`, `ClassifyStage`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from confluent_kafka import Message
from numpy.typing import NDArray

from broker import wire
from broker.curves import Curves
from broker.decode import Decoder
from broker.inputs import Inputs
from broker.labels import write_labels
from broker.records import OUTCOMES, REASONS, DeadLetter, Detections, Images, Labels, Packets
from workers.counting import AlertMetrics
from workers.intake import Intake
from workers.outputs import Outputs, Records, is_for, letter_of
from workers.restore import Changelog
from workers.standing import Standing
from workers.state import DiskStore

#: What an operator can do.
_CURES = {
    "unknown_schema": (
        "; if a newer Nightjar wrote it, update this worker, then "
        "`nightjar dead retry --reason unknown_schema`"
    )
}
_PASSED, _NOTICE = OUTCOMES.index("passed"), OUTCOMES.index("notice")
_NO_REASON = REASONS.index("none")
_WITHDRAWN = REASONS.index("withdrawn")

Classify = Callable[[Images], Labels]


@dataclass(frozen=True, slots=True)
class Named:
    """What became of some packets: each classifier's labels, what could not be read, outcomes."""

    detections: Detections
    labels: list[Labels]
    dead: list[DeadLetter]
    outcome: NDArray[np.uint8]  # (alert,) of the curves stage


@dataclass(slots=True)
class Straight:
    """The whole route in one process, without Kafka."""

    decoder: Decoder
    curves: Curves
    classify: Sequence[Classify]

    def name(self, packets: Packets) -> Named:
        detections, dead = self.decoder.decode(packets)
        added = self.curves.add(detections)
        self.curves.commit()
        labels = [classify(added.images) for classify in self.classify]
        return Named(detections, labels, dead, added.outcome)

    def warm_up(self, packets: Packets) -> int:
        """Build light curves without labels; how many alerts there were."""
        detections, _ = self.decoder.decode(packets)
        self.curves.add(detections)
        self.curves.commit()
        return len(detections)


def final_outcomes(labels: Labels) -> NDArray[np.uint8]:
    """The outcome of each labelled image, (n,) indexes of OUTCOMES."""
    reason = labels.reason
    outcome = np.full(len(reason), OUTCOMES.index("unclassified"), np.uint8)
    outcome[reason == _NO_REASON] = OUTCOMES.index("labelled")
    outcome[reason == _WITHDRAWN] = OUTCOMES.index("withdrawn")
    outcome[labels.images.images["notice"] != 0] = OUTCOMES.index("notice")
    return outcome


def keyed(topic: str, rows: NDArray[np.void], values: list[bytes], partitions: int) -> Records:
    """One record for each ALERT or IMAGE row, keyed and placed by its object."""
    return Records(topic, values, wire.keys(rows), wire.partitions(rows, partitions).tolist())


@dataclass(slots=True)
class DecodeStage:
    """Survey packets in, one detection per alert out, keyed by object."""

    decoder: Decoder
    survey: str | None
    detections: str  # topic
    dead_letters: str  # topic
    partitions: int
    metrics: AlertMetrics
    span: str = "decode"

    def ready(self, topic: str, partition: int, offset: int, breathe: Callable[[], None]) -> None:
        pass

    def take(self, messages: list[Message], outputs: Outputs) -> None:
        by_topic: dict[str, list[Message]] = {}
        for message in messages:
            by_topic.setdefault(message.topic(), []).append(message)
        for topic, some in by_topic.items():
            packets = Packets(
                [m.value() or b"" for m in some],
                topic,
                np.array([m.partition() for m in some], np.int32),
                np.array([m.offset() for m in some], np.int64),
                np.array([m.timestamp()[1] for m in some], np.int64),
                self.survey,
            )
            detections, dead = self.decoder.decode(packets)
            alerts = detections.alerts
            written = wire.write_detections(detections)
            outputs.records.append(keyed(self.detections, alerts, written, self.partitions))
            outputs.bury(self.dead_letters, dead)
            passed = np.full(len(alerts), _PASSED, np.uint8)
            outputs.tallies.add(alerts, passed, wire.alert_hashes(alerts))
            sizes = [len(v) for v in packets.values]
            outputs.afterwards.append(partial(self.metrics.decoded, alerts, sizes))

    def keep(self, offsets: Mapping[int, int]) -> None:
        pass

    def drop(self) -> None:
        pass


@dataclass(slots=True)
class CurvesStage:
    """Detections in; images, and the pages of the light curves that changed, out.

    The light curves of each partition are in a store of its own under `folder`.
    """

    inputs: Inputs
    images: str  # topic
    changelog: Changelog
    dead_letters: str  # topic
    folder: Path
    metrics: AlertMetrics
    span: str = "curves"
    _stores: dict[int, DiskStore] = field(default_factory=dict)
    _curves: dict[int, Curves] = field(default_factory=dict)
    _stands: dict[int, Standing] = field(default_factory=dict)
    _ends: dict[int, int] = field(default_factory=dict)  # of the changelog, by partition

    def ready(self, topic: str, partition: int, offset: int, breathe: Callable[[], None]) -> None:
        """Bring the light curves to where the group stands."""
        if partition not in self._stores:
            store = self._stores[partition] = DiskStore(self.folder / str(partition))
            self._curves[partition] = Curves(self.inputs, store)
        self._stands[partition] = self.changelog.bring(
            partition, offset, self._curves[partition], self._stores[partition], breathe
        )

    def look(self, intake: Intake) -> None:
        """With nothing in hand: learn how far the changelog has come, for the next notes.

        All pages before an end that is known when a batch is committed are in the store then: had
        another worker written some, this commit would have been refused.
        """
        self._ends |= self.changelog.told()
        self.changelog.ask(self._stands)

    def take(self, messages: list[Message], outputs: Outputs) -> None:
        by_partition: dict[int, list[Message]] = {}
        for message in messages:
            by_partition.setdefault(message.partition(), []).append(message)
        for partition, some in by_partition.items():
            detections, faults = wire.read_detections([m.value() or b"" for m in some])
            _bury(some, faults, self.dead_letters, outputs)
            added = self._curves[partition].add(detections)
            images = added.images.images
            written, count = wire.write_images(added.images), self.changelog.partitions
            outputs.records.append(keyed(self.images, images, written, count))
            keys, values = [key for key, _ in added.pages], [value for _, value in added.pages]
            pages = Records(self.changelog.topic, values, keys, [partition] * len(keys))
            outputs.records.append(pages)
            alerts, outcome = detections.alerts, added.outcome
            outputs.tallies.add(alerts, outcome, wire.alert_hashes(alerts))
            notices = images[images["notice"] != 0]
            if len(notices):
                told = np.full(len(notices), _NOTICE, np.uint8)
                outputs.tallies.add(notices, told, wire.alert_hashes(notices))
            outputs.afterwards.append(partial(self.metrics.added, alerts, outcome))

    def keep(self, offsets: Mapping[int, int]) -> None:
        for partition, offset in offsets.items():
            before = self._stands[partition]
            if offset != before.offset:
                pages_from = max(before.pages_from, self._ends.get(partition, 0))
                stands = replace(before, offset=offset, pages_from=pages_from)
                self._curves[partition].commit(stands.note())
                self._stands[partition] = stands
        self.metrics.curves([self._curves[partition] for partition in offsets])

    def drop(self) -> None:
        for curves in self._curves.values():
            curves.discard()

    def close(self) -> None:
        for store in self._stores.values():
            store.close()


@dataclass(slots=True)
class ClassifyStage:
    """Images in, one label per image and classifier out."""

    classify: Classify
    labels: str  # topic
    dead_letters: str  # topic
    partitions: int
    metrics: AlertMetrics
    group: str
    span: str = "classify"

    def ready(self, topic: str, partition: int, offset: int, breathe: Callable[[], None]) -> None:
        pass

    def take(self, messages: list[Message], outputs: Outputs) -> None:
        messages = [message for message in messages if is_for(message, self.group)]
        images, faults = wire.read_images([m.value() or b"" for m in messages])
        _bury(messages, faults, self.dead_letters, outputs)
        labels = self.classify(images)
        rows = images.images
        outputs.records.append(keyed(self.labels, rows, write_labels(labels), self.partitions))
        outcome = final_outcomes(labels)
        outputs.tallies.add(rows, outcome, wire.alert_hashes(rows))
        outputs.afterwards.append(partial(self.metrics.labelled, labels, outcome))

    def keep(self, offsets: Mapping[int, int]) -> None:
        pass

    def drop(self) -> None:
        pass


def _bury(messages: list[Message], faults: list[Any], topic: str, outputs: Outputs) -> None:
    """Dead letters for records of our own that cannot be read."""
    dead = [
        letter_of(messages[f.index], f.reason, f.error + _CURES.get(f.reason, "")) for f in faults
    ]
    outputs.bury(topic, dead)
