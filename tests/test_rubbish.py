"""Rubbish: whatever the bytes are, each packet ends as an alert or a letter, and costs little."""

from __future__ import annotations

import numpy as np
import pytest
from mutations import Good, Mutator, simulated
from rubbish import WORST, campaign

from broker.decode import Decoder
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
    report = campaign(3000, 7, classifier.classify)
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
