"""Log lines: plain where there is no terminal, one JSON object a line for machines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Literal

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


def test_a_traceback_shows_no_local_variables(capsys: pytest.CaptureFixture[str]) -> None:
    """A client is made of a dictionary with the password in it."""

    def make(client: dict[str, str]) -> None:
        word = client["sasl.password"]
        raise ValueError(len(word))

    forms: tuple[Literal["json", "console"], ...] = ("json", "console")
    for form in forms:
        log.configure(form)
        try:
            make({"sasl.password": "hunter" + "2"})
        except ValueError:
            log.logger().exception("failed")
        said = capsys.readouterr().err
        assert "ValueError" in said
        assert "make" in said
        assert "hunter2" not in said


def test_others_words_move_no_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("console")
    log.logger().error("stage\x1b[2Jfailed", error="\x1b]0;owned\x07", n=1)
    try:
        word = "\x1b[31m"
        raise ValueError(word)
    except ValueError:
        log.logger().exception("failed")
    said = capsys.readouterr().err
    assert "\x1b" not in said
    assert "\ufffd]0;owned\ufffd" in said
    assert "\nTraceback" in said
    assert "ValueError: \ufffd[31m" in said


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
