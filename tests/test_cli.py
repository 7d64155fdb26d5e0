"""The command line: quick help, exit codes, one line for an error, output that others can read."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from workers import cli, commands
from workers.errors import Failed
from workers.local_kafka import LocalKafka
from workers.ports import free_port

HOUSE = Path(__file__).parents[1]
COMMAND = [sys.executable, "-m", "workers"]


def nightjar(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=os.environ | {"PYTHONPATH": str(HOUSE)} | more,
    )


def test_help_is_quick_and_imports_nothing_heavy() -> None:
    script = (
        "import sys\nfrom workers import cli\ncli.run(['--help'])\n"
        "heavy = {'cyclopts','rich','numpy','numba','torch','confluent_kafka','fastavro',"
        "'pyarrow','structlog',"
        "'workers.settings','broker','models'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=HOUSE
    )
    assert done.returncode == 0, done.stderr
    for name in cli.COMMANDS:
        assert name in done.stdout
    # The least CPU time of some runs, as a neighbour may take the core: 0.03 s.
    seconds = []
    for _ in range(3):
        before = os.times()
        assert nightjar("--help").returncode == 0
        after = os.times()
        seconds.append(
            after.children_user
            + after.children_system
            - before.children_user
            - before.children_system
        )
    assert min(seconds) < 0.3


def test_no_command_is_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run([]) == 0
    bare = capsys.readouterr().out
    assert cli.run(["--help"]) == 0
    assert capsys.readouterr().out == bare


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_each_command_stands_with_its_own_first_line(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    function = getattr(commands, name)
    assert function.__doc__.splitlines()[0] == cli.COMMANDS[name]
    assert cli.run([name, "--help"]) == 0
    assert cli.COMMANDS[name][:40] in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--version"]) == 0
    assert capsys.readouterr().out.strip()[0].isdigit()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["lables"], ["lables", "labels"]),
        (["inspect"], ["expected one or more files"]),
        (["simulate"], ["--out"]),
        (["simulate", "--out", "x/", "--survey", "atlas"], ['"ztf"', '"lsst"']),
        (["simulate", "--out", "x/", "--bogus", "2"], ["bogus", "0 to 1"]),
        (["labels", "--min-probability", "high"], ["--min-probability", "float"]),
    ],
)
def test_misuse_is_one_line_and_exit_2(
    arguments: list[str], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("nightjar: ")
    assert [w for w in words if w not in said.err] == [], said.err


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (Failed("the reason"), "the reason"),
        (LookupError("no network is called x"), "no network"),
        (FileNotFoundError(2, "No such file or directory", "x.npz"), "x.npz: No such file"),
        (FileNotFoundError("x.npz: no such file"), "x.npz: no such file"),
    ],
)
def test_expected_failures_are_one_line_and_exit_1(
    error: Exception,
    words: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("workers.labels.read_labels", fail)
    assert cli.run(["labels"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("nightjar: ")
    assert said.count("\n") == 1
    assert words in said


@pytest.mark.parametrize("fault", [KeyError("x"), IndexError("x"), TypeError("x")])
def test_a_fault_of_ours_keeps_its_traceback(
    fault: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise fault

    monkeypatch.setattr("workers.labels.read_labels", fail)
    with pytest.raises(type(fault)):
        cli.run(["labels"])


def test_labels_without_a_topic_and_without_kafka(kafka: LocalKafka, namespace: str) -> None:
    done = nightjar(
        "labels", "--kafka.bootstrap-servers", kafka.bootstrap, "--namespace", namespace
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert f"no topic {namespace}.labels at {kafka.bootstrap}" in done.stderr
    assert done.stderr.count("\n") == 1
    wrong = nightjar(
        "labels",
        "--kafka.bootstrap-servers",
        kafka.bootstrap,
        "--kafka.security",
        "sasl.mechanisme=PLAIN",
    )
    assert wrong.returncode == 2
    assert "kafka.security: " in wrong.stderr
    assert "sasl.mechanisme" in wrong.stderr
    assert "Traceback" not in wrong.stderr


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_kafka_alone_until_it_is_asked_to_stop(tmp_path: Path, how: signal.Signals) -> None:
    port = free_port()
    process = subprocess.Popen(
        [
            *COMMAND,
            "kafka",
            f"--local-kafka.port={port}",
            f"--local-kafka.data-dir={tmp_path}/k",
            "--local-kafka.mode=test",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(HOUSE)},
        start_new_session=True,
    )
    assert process.stdout is not None
    assert f"Kafka on 127.0.0.1:{port}" in process.stdout.readline()
    second = nightjar("kafka", f"--local-kafka.port={port}", f"--local-kafka.data-dir={tmp_path}/l")
    assert second.returncode == 1
    assert f"port {port}" in second.stderr
    assert "Traceback" not in second.stderr
    os.killpg(process.pid, how)
    began = time.monotonic()
    _, said = process.communicate(timeout=20)
    assert process.returncode == 0, said
    assert time.monotonic() - began < 10
    assert "Traceback" not in said


def test_inspect_prints_lines_and_json(shared_data: Path, tmp_path: Path) -> None:
    good = next((shared_data / "alerts" / "ztf").glob("*.avro"))
    bad = tmp_path / "page.avro"
    bad.write_text("<!DOCTYPE html><html></html>")
    done = nightjar("inspect", str(good))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") >= 1
    done = nightjar("inspect", "--json", str(good), str(bad))
    assert done.returncode == 1, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert {"survey", "object_id", "alert_id", "ra", "dec", "mjd_tai", "band", "points"} <= set(
        rows[0]
    )
    assert rows[-1]["file"] == str(bad)
    assert rows[-1]["reason"] == "html"


def test_simulate_to_a_folder(tmp_path: Path) -> None:
    done = nightjar(
        "simulate", "--objects=5", "--nights=20", "--no-cutouts", "--out", f"{tmp_path}/out"
    )
    assert done.returncode == 0, done.stderr
    packets = list((tmp_path / "out").rglob("*.avro"))
    assert f"{len(packets):,} packets" in done.stdout
    assert (tmp_path / "out" / "truth.parquet").is_file()
