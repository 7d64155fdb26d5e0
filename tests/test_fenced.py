"""A worker whose transaction another has ended begins anew, and keeps nothing of what it was."""

from __future__ import annotations

import re
from pathlib import Path

from confluent_kafka import Producer
from streams import publish, until
from working import Workers

from workers.local_kafka import LocalKafka


def test_fenced_again_and_again_it_keeps_no_old_clients(
    kafka: LocalKafka, namespace: str, tmp_path: Path
) -> None:
    """A client of Kafka has some five threads: 143 were counted after a day of misfortunes."""
    survey = f"{namespace}-survey"
    publish(kafka.bootstrap, survey, [b"no packet"], 1)
    workers = Workers(kafka, namespace, survey, tmp_path)
    workers.start("decode")
    log = tmp_path / "decode.log"

    def shares() -> int:
        return log.read_text().count("] share ")

    def threads() -> int:
        return len(list(Path(f"/proc/{workers.processes['decode'].pid}/task").iterdir()))

    try:
        until(lambda: shares() == 1)
        (name,) = re.findall(r"\] start .*worker=(\S+)", log.read_text())
        client = {"bootstrap.servers": kafka.bootstrap, "transactional.id": name}
        before = threads()
        for times in range(1, 4):
            Producer(client).init_transactions(30)
            publish(kafka.bootstrap, survey, [b"no packet"], 1)
            until(lambda times=times: shares() == 1 + times)
        assert log.read_text().count("] begins anew ") == 3
        until(lambda: threads() < before + 8)  # the last may still be closing
        assert workers.stop() == {"decode": 0}
    finally:
        workers.kill("decode")
