"""Rubbish: whatever the bytes are, each packet ends as an alert or a letter, and costs little."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import numpy as np
import pytest
from mutations import Good, Mutator, simulated
from rubbish import WORST, campaign

from broker.containers import MAGIC, varint
from broker.decode import MAX_POINTS, Decoder
from broker.encoding import long
from broker.records import DeadLetter, Detections, Packets
from models import cards
from models.classifier import Classifier


@pytest.fixture(scope="module")
def packets() -> list[Good]:
    return simulated(3, 20)


def decode(*values: bytes) -> tuple[Detections, list[DeadLetter]]:
    n = len(values)
    zeros = np.zeros(n, np.int32)
    packets = Packets(list(values), "t", zeros, np.arange(n), np.zeros(n, np.int64))
    return Decoder().decode(packets)


def test_every_mutated_packet_has_its_outcome() -> None:
    """3,000 of them through all stages."""
    classifier = Classifier(cards.find("crts-rows"), "cpu")
    report = campaign(simulated(7), 3000, 7, classifier.classify)
    assert report.fates.packets == 3000
    assert report.fates.failed == []
    assert {
        "labelled",
        "unclassified",
        "duplicate",
        "dead: corrupt",
        "dead: truncated",
        "dead: not_avro",
        "dead: schema_mismatch",
        "dead: unsupported_codec",
        "dead: unknown_schema",
    } <= set(report.fates.counts)
    assert report.worst_s < WORST * report.good_s, (report.worst[0], report.text())
    assert report.rss - report.rss_before < 300 << 20, report.text()


def test_the_same_seed_is_the_same_rubbish(packets: list[Good]) -> None:
    one, two, other = Mutator(packets, 5), Mutator(packets, 5), Mutator(packets, 6)
    some = [one() for _ in range(50)]
    assert some == [two() for _ in range(50)]
    assert some != [other() for _ in range(50)]


def schema_of(fields: list[Any], doc: str = "") -> bytes:
    record = {"type": "record", "name": "ztf.alert", "doc": doc, "fields": fields}
    text = json.dumps(record).encode()
    meta = long(1) + text_of(b"avro.schema") + text_of(text) + long(0)
    return MAGIC + meta + bytes(16) + long(1) + long(1) + b"\0" + bytes(16)


def text_of(value: bytes) -> bytes:
    return long(len(value)) + value


TREE: list[Any] = [{"name": "r0", "type": {"type": "record", "name": "r0", "fields": []}}] + [
    {
        "name": f"r{k}",
        "type": {
            "type": "record",
            "name": f"r{k}",
            "fields": [{"name": x, "type": f"r{k - 1}" if k > 1 else "string"} for x in "ab"],
        },
    }
    for k in range(1, 40)
]


@pytest.mark.parametrize(
    "fields",
    [
        [{"name": f"f{i}", "type": ["null", "int", "string"]} for i in range(2300)],
        [{"name": f"f{i}", "type": {"type": "array", "items": "string"}} for i in range(1900)],
        [{"name": f"f{i}", "type": "int"} for i in range(3500)],
        TREE,
        [{"name": [], "type": "int"}, {"name": {}, "type": "int"}],
        [{"name": "\ud800", "type": "\ud800"}],
    ],
    ids=["unions", "arrays", "many", "tree", "lists for names", "half a surrogate pair"],
)
def test_a_schema_made_to_be_dear_is_refused_soon(fields: list[Any], packets: list[Good]) -> None:
    """A good schema takes some 6 ms once; 2 to the power of 40 strings would take for ever."""
    decode(packets[0].value)
    took = []
    for doc in "abc":  # each is new; the host may have been elsewhere in one
        began = time.thread_time()
        _, (letter,) = decode(schema_of(fields, doc))
        took.append(time.thread_time() - began)
    assert min(took) < 0.2
    assert letter.reason in ("schema_mismatch", "missing_field")
    assert letter.error.encode(errors="replace")


def test_an_object_is_named_as_objects_are(packets: list[Good]) -> None:
    """A blank, a # (which parts an object from its page's number) or what a terminal obeys."""
    packet = packets[0]
    found = re.search(rb"ZTF\d\d", packet.value[packet.start :])
    assert found is not None
    at = packet.start + found.start()
    for bad in (b"Z F", b"Z#F", b"Z\x1bF", b"Z\0F", b"\xc3\xa9F"):
        value = packet.value[:at] + bad + packet.value[at + 3 :]
        detections, (letter,) = decode(value)
        assert len(detections) == 0
        assert letter.reason == "missing_field"
    detections, dead = decode(packet.value)
    assert (len(detections), dead) == (1, [])


def test_a_packet_of_too_many_points_is_refused(packets: list[Good]) -> None:
    """Points are paired with each other: ten thousand would cost as much as hundreds of packets."""
    packet = max((p for p in packets if p.sync), key=lambda p: len(p.places))
    for n, reads in ((MAX_POINTS // 2, True), (4 * MAX_POINTS, False)):
        detections, dead = decode(with_history(packet, n))
        assert (len(detections), len(dead)) == ((1, 0) if reads else (0, 1))
        if dead:
            assert "points in a packet" in dead[0].error


def with_history(packet: Good, n: int) -> bytes:
    """The rows of its first array again and again, until there are n or some more."""
    (_, at, _), (_, end, _) = [place for place in packet.places if place[0] == "count"][:2]
    few, begin = varint(packet.value, at)
    assert few > 0
    times = -(-n // few)
    rows = packet.value[begin:end] * times
    value = packet.value
    datum = value[packet.start : at] + long(few * times) + rows + value[end : packet.end]
    return packet.framed(datum)
