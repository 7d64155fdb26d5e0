"""What a stranger finds on the topics after a campaign: fastavro alone, no code of the workers."""

from __future__ import annotations

import hashlib
import io
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context
from typing import Any, TypeVar

import fastavro
from streams import each_record

import schemas

Alert = tuple[str, int]  # object, alert id

#: Times of hops: all that may differ between two ways to the same label.
_TIMES = ("curves_ms", "classified_ms")
_HEAD = 10  # bytes of a single-object encoding before the datum
_CHUNK = 2000

T = TypeVar("T")


@dataclass
class Found:
    """A digest of each label by alert, and alerts by object as their labels stand on the topic."""

    labels: dict[Alert, list[bytes]]
    order: dict[str, list[int]]


def labels(bootstrap: str, namespace: str) -> Found:
    """All committed labels."""
    found = Found(defaultdict(list), defaultdict(list))
    for name, alert, digest in _apart(_digests, _values(bootstrap, f"{namespace}.labels")):
        found.labels[name, alert].append(digest)
        found.order[name].append(alert)
    return found


def _digests(containers: list[bytes]) -> list[tuple[str, int, bytes]]:
    parsed: dict[bytes, Any] = {}
    digests = []
    for container in containers:
        label = only(container, parsed)
        said = repr([value for name, value in sorted(label.items()) if name not in _TIMES])
        digest = hashlib.sha256(said.encode()).digest()[:16]
        digests.append((label["object"], label["alertId"], digest))
    return digests


def only(container: bytes, schemas: dict[bytes, Any]) -> Any:
    """The one datum of a container; its schema is parsed once for all with the same head.

    A container ends with the 16 bytes that end its head too.
    """
    start = container.index(container[-16:]) + 16
    head = container[:start]
    if head not in schemas:
        schemas[head] = fastavro.parse_schema(fastavro.reader(io.BytesIO(container)).writer_schema)
    block = io.BytesIO(container[start:-16])
    count, size = (fastavro.schemaless_reader(block, "long", None) for _ in range(2))
    assert (count, size) == (1, len(container) - 16 - start - block.tell())
    return fastavro.schemaless_reader(block, schemas[head], None)


def detections(bootstrap: str, namespace: str) -> dict[str, list[int]]:
    """Alert ids by object, each at its first place on the topic."""
    order: dict[str, dict[int, None]] = defaultdict(dict)
    for name, alert in _apart(_detected, _values(bootstrap, f"{namespace}.detections")):
        order[name].setdefault(alert)
    return {name: list(ids) for name, ids in order.items()}


def _detected(values: list[bytes]) -> list[Alert]:
    schema = fastavro.parse_schema(schemas.find("nightjar.Detection"))
    alerts: list[Any] = [
        fastavro.schemaless_reader(io.BytesIO(value[_HEAD:]), schema, None) for value in values
    ]
    return [(alert["object"], alert["alert_id"]) for alert in alerts]


def alerts(packets: Iterable[bytes]) -> set[Alert]:
    """The alerts of ELAsTiCC packets; what fastavro cannot read is none."""
    return set(_apart(_sent, packets))


def _sent(packets: list[bytes]) -> list[Alert]:
    schema = fastavro.parse_schema(schemas.find("elasticc/91"))
    found = []
    for packet in packets:
        datum = io.BytesIO(packet[5:])
        try:
            alert: Any = fastavro.schemaless_reader(datum, schema, None)
        except Exception:  # whatever fastavro makes of a spoilt packet
            continue
        if not datum.read(1):
            found.append((str(alert["diaObject"]["diaObjectId"]), alert["alertId"]))
    return found


def _values(bootstrap: str, topic: str) -> Iterator[bytes]:
    return (value for _, _, value in each_record(bootstrap, topic) if value is not None)


def _apart(look: Callable[[list[bytes]], list[T]], values: Iterable[bytes]) -> Iterator[T]:
    """What `look` makes of the values, in their order; two processes look, as they are millions."""
    rest = iter(values)
    chunks = iter(lambda: list(islice(rest, _CHUNK)), [])
    # Spawned, not forked: the client library's threads do not survive a fork.
    with get_context("spawn").Pool(2) as pool:
        for found in pool.imap(look, chunks):
            yield from found


def faults(
    sent: set[Alert], found: Found, order: dict[str, list[int]], again: Found
) -> Counter[str]:
    """Labels missing, doubled, of nobody, out of order, or other than those of a replay."""
    count: Counter[str] = Counter()
    count["missing"] = len(sent - found.labels.keys())
    count["of nobody"] = len(found.labels.keys() - sent)
    count["doubled"] = sum(len(some) > 1 for some in found.labels.values())
    count["out of order"] = sum(ids != order.get(name) for name, ids in found.order.items())
    count["other in a replay"] = sum(
        some != again.labels.get(alert) for alert, some in found.labels.items()
    )
    return count
