"""Where a partition begins and ends, asked of a Kafka that has just come back."""

from __future__ import annotations

from pathlib import Path

from streams import publish

from workers.kafka import admin
from workers.local_kafka import LocalKafka
from workers.offsets import offset_at


def test_a_client_from_before_kafka_was_killed_is_answered(tmp_path: Path) -> None:
    """Left alone it names the leader's old epoch for minutes, and is refused."""
    with LocalKafka(tmp_path / "kafka") as kafka:
        client = admin({"bootstrap.servers": kafka.bootstrap})
        publish(kafka.bootstrap, "sky", [b"1", b"2"], 1)
        assert offset_at(client, "latest", "sky", 0) == 2
        kafka.kill()
        kafka.start()
        assert offset_at(client, "latest", "sky", 0) == 2
