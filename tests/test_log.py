"""Log lines: plain where there is no terminal, one JSON object a line for machines."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import structlog

from workers import log


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def test_json_lines(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("json", "info")
    log.logger().debug("not shown")
    log.logger().info("start", span="decode", n=3)
    try:
        raise OSError(28, "disk full")
    except OSError:
        log.logger().exception("failed")
    out, said = capsys.readouterr()
    assert out == ""  # what a command prints is not mixed with its log
    first, second = (json.loads(line) for line in said.splitlines())
    assert (first["event"], first["level"], first["span"], first["n"]) == (
        "start",
        "info",
        "decode",
        3,
    )
    assert first["timestamp"].endswith("Z")
    assert "disk full" in json.dumps(second)


def test_plain_lines_and_levels(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("console", "warning")
    log.logger().info("not shown")
    log.logger().warning("waiting", what="Kafka")
    said = capsys.readouterr().err
    assert "\x1b" not in said
    assert said.count("\n") == 1
    assert "waiting" in said
    assert "what=Kafka" in said


def test_without_configuration_it_writes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    structlog.reset_defaults()
    log.logger().info("hello")
    out, said = capsys.readouterr()
    assert out == ""
    assert "hello" in said
