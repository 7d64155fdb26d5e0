"""Where a partition begins and ends, asked of a Kafka that has just come back."""

from __future__ import annotations

from pathlib import Path

from streams import publish, until

from workers.counting import RestoreMetrics
from workers.kafka import admin, never
from workers.local_kafka import LocalKafka
from workers.offsets import offset_at
from workers.restore import Changelog


def test_a_client_from_before_kafka_was_killed_is_answered(tmp_path: Path) -> None:
    """Left alone it names the leader's old epoch for minutes, and is refused."""
    with LocalKafka(tmp_path / "kafka") as kafka:
        client = admin({"bootstrap.servers": kafka.bootstrap})
        publish(kafka.bootstrap, "sky", [b"1", b"2"], 1)
        assert offset_at(client, "latest", "sky", 0) == 2
        kafka.kill()
        kafka.start()
        assert offset_at(client, "latest", "sky", 0) == 2


def test_who_asks_without_waiting_is_answered_again(tmp_path: Path) -> None:
    """How far the changelog has come: refused once, the next question names the new leaders."""
    with LocalKafka(tmp_path / "kafka") as kafka:
        client = {"bootstrap.servers": kafka.bootstrap}
        publish(kafka.bootstrap, "curves", [b"1", b"2"], 1)
        changelog = Changelog(client, "curves", 1, never, RestoreMetrics())

        def told(n: int) -> bool:
            answer = changelog.told()
            changelog.ask([0])
            return answer == {0: n}

        until(lambda: told(2))
        kafka.kill()
        kafka.start()
        publish(kafka.bootstrap, "curves", [b"3"], 1)
        until(lambda: told(3))
