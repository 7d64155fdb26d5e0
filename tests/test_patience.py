"""What is waited for is asked again, and spoken of where a person would see the wait."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from confluent_kafka import KafkaError, KafkaException
from structlog.testing import capture_logs

from workers import log
from workers.kafka import Stopped, patiently


def answer_after(failures: int, code: int = KafkaError.LEADER_NOT_AVAILABLE) -> Callable[[], str]:
    left = iter(range(failures))

    def ask() -> str:
        if next(left, None) is not None:
            raise KafkaException(KafkaError(code))
        return "here"

    return ask


@pytest.mark.parametrize(("failures", "said"), [(0, []), (2, []), (3, ["waiting", "going on"])])
def test_a_short_wait_is_not_spoken_of(failures: int, said: list[str]) -> None:
    slept: list[float] = []
    log.logger()  # configured, so that what is said can be caught
    with capture_logs() as lines:
        assert patiently("labels", answer_after(failures), sleep=slept.append) == "here"
    assert [line["event"] for line in lines] == said
    assert slept == [0.1, 0.2, 0.4][:failures]


def test_a_long_wait_is_spoken_of_every_five_seconds() -> None:
    slept: list[float] = []
    log.logger()
    with capture_logs() as lines:
        patiently("labels", answer_after(20), sleep=slept.append)
    spoken = [line["retry_in_s"] for line in lines if line["event"] == "waiting"]
    assert spoken == [0.4, *[5.0] * slept.count(5.0)]
    assert sum(slept) > 60


def test_it_ends_when_told_and_at_what_no_waiting_cures() -> None:
    with pytest.raises(Stopped):
        patiently("labels", answer_after(9), lambda: True)
    with pytest.raises(KafkaException):
        patiently("labels", answer_after(9, KafkaError.TOPIC_AUTHORIZATION_FAILED))
