"""`nightjar up` and what it stands for: Kafka and workers that start, stay, and stop in order."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from commands import Standing, nightjar
from streams import label, publish, read_topic

from broker.packets import Shares, Simulation
from workers.ports import free_port


def labels(bootstrap: str) -> list[int]:
    parts = read_topic(bootstrap, "nightjar.labels").values()
    return [label(value)["alertId"] for part in parts for _, value in part]


def test_up_labels_stops_in_order_and_goes_on(tmp_path: Path) -> None:
    """Ctrl-C in the middle of the work, and a second `up` that finishes it."""
    port = str(free_port())
    bootstrap = f"127.0.0.1:{port}"
    night = Simulation("ztf", 25, 60, 3, cutouts=False, shares=Shares(0.02, 0.02, 0.02, 0.02, 0.0))
    values = [value for value, _, _ in night.packets()]
    ids = set(night.truth()["alert_id"].to_pylist())
    with Standing("up", cwd=tmp_path, local_kafka_port=port) as up:
        up.wait_for("publish packets here")
        publish(bootstrap, "alerts", values[: len(values) // 2], 4)
        up.wait_for("share")
        deadline = time.monotonic() + 120
        while not labels(bootstrap):
            assert time.monotonic() < deadline, up.output.read_text()
            time.sleep(0.2)
        publish(bootstrap, "alerts", values[len(values) // 2 :], 4)
        code, seconds = up.interrupt()
        assert code == 0, up.output.read_text()
        assert seconds < 10
    with Standing("up", cwd=tmp_path, local_kafka_port=port) as up:
        up.wait_for("share")
        deadline = time.monotonic() + 120
        while len(labels(bootstrap)) < len(ids):
            assert time.monotonic() < deadline, up.output.read_text()
            time.sleep(0.5)
        found = labels(bootstrap)
        assert up.interrupt()[0] == 0
    assert len(found) == len(set(found))
    assert set(found) == ids


def test_a_local_kafka_that_is_killed_is_started_again(tmp_path: Path) -> None:
    port = str(free_port())
    bootstrap = f"127.0.0.1:{port}"
    night = Simulation("ztf", 10, 40, 6, cutouts=False, shares=Shares(0.0, 0.0, 0.0, 0.0, 0.0))
    values = [value for value, _, _ in night.packets()]
    with Standing("up", cwd=tmp_path, local_kafka_port=port) as up:
        up.wait_for("publish packets here")
        publish(bootstrap, "alerts", values[:100], 4)
        up.wait_for("network")
        (java,) = [
            int(folder.name)
            for folder in Path("/proc").glob("[0-9]*")
            if str(tmp_path).encode() in (line := command_line(folder)) and b"kafka.Kafka" in line
        ]
        os.kill(java, signal.SIGKILL)
        up.wait_for("starting it again")
        publish(bootstrap, "alerts", values[100:], 4)
        deadline = time.monotonic() + 240
        while len(labels(bootstrap)) < len(values):
            assert time.monotonic() < deadline, up.output.read_text()
            time.sleep(0.5)
    assert len(values) > 150


def command_line(folder: Path) -> bytes:
    try:
        return (folder / "cmdline").read_bytes()
    except OSError:  # it has ended meanwhile
        return b""


def test_two_ctrl_c_stop_at_once(tmp_path: Path) -> None:
    with Standing("up", cwd=tmp_path, local_kafka_port="0") as up:
        up.wait_for("share", 120)
        up.process.send_signal(2)
        time.sleep(0.3)
        began = time.monotonic()
        if up.process.poll() is None:
            up.process.send_signal(2)
        assert up.process.wait(5) in (0, 1)
        assert time.monotonic() - began < 5


def test_a_worker_waits_for_kafka_and_for_its_topic(tmp_path: Path) -> None:
    """No Kafka at the address, then a Kafka without the topic, then the topic."""
    port = str(free_port())
    settings = {"kafka_bootstrap_servers": f"127.0.0.1:{port}", "source_topics": "ztf_tonight"}
    with Standing("work", "decode", cwd=tmp_path, **settings) as worker:
        worker.wait_for("waiting")
        with Standing("kafka", cwd=tmp_path, local_kafka_port=port) as kafka:
            kafka.wait_for("Kafka on")
            worker.wait_for("no such topic at the survey's Kafka yet")
            night = Simulation("ztf", 3, 10, 4, cutouts=False)
            publish(f"127.0.0.1:{port}", "ztf_tonight", [v for v, _, _ in night.packets()], 2)
            worker.wait_for("share")
            deadline = time.monotonic() + 60
            while not any(read_topic(f"127.0.0.1:{port}", "nightjar.detections").values()):
                assert time.monotonic() < deadline
                time.sleep(0.2)
            assert worker.interrupt()[0] == 0
            assert kafka.interrupt()[0] == 0


def test_workers_replaced_one_after_the_other(tmp_path: Path) -> None:
    """SIGUSR1 under a stream: other processes in the same slots, and every label once."""
    port = str(free_port())
    bootstrap = f"127.0.0.1:{port}"
    night = Simulation("ztf", 25, 60, 8, cutouts=False, shares=Shares(0.02, 0.02, 0.02, 0.02, 0.0))
    values = [value for value, _, _ in night.packets()]
    ids = set(night.truth()["alert_id"].to_pylist())
    slots = tmp_path / ".nightjar" / "nightjar"
    with Standing("up", cwd=tmp_path, local_kafka_port=port) as up:
        up.wait_for("publish packets here")
        publish(bootstrap, "alerts", values[: len(values) // 2], 4)
        for span in ("images", "detections", "alerts"):
            up.wait_for(f"share partitions=['nightjar.{span}".replace("nightjar.alerts", "alerts"))
        before = {lock: lock.read_text() for lock in slots.glob("**/lock")}
        stranger = nightjar("work", "curves", "--instead-of", "1", cwd=tmp_path)
        assert stranger.returncode == 1
        assert "process 1 is no curves worker" in stranger.stderr
        up.process.send_signal(signal.SIGUSR1)
        for part in (values[len(values) // 2 :][i::10] for i in range(10)):
            publish(bootstrap, "alerts", part, 4)
            time.sleep(0.5)
        up.wait_for("worker replaced pid=")
        deadline = time.monotonic() + 120
        while up.output.read_text().count("worker replaced") < 3 or len(labels(bootstrap)) < len(
            ids
        ):
            assert time.monotonic() < deadline, up.output.read_text()
            time.sleep(0.5)
        found = labels(bootstrap)
        assert up.interrupt()[0] == 0
    assert len(found) == len(set(found))
    assert set(found) == ids
    after = {lock: lock.read_text() for lock in slots.glob("**/lock")}
    assert before.keys() == after.keys()
    assert len(before) == 3
    assert not set(before.values()) & set(after.values())
    assert "worker died" not in up.output.read_text()


def test_a_wrong_span_is_said(tmp_path: Path) -> None:
    done = nightjar("work", "curve", cwd=tmp_path)
    assert done.returncode == 2
    assert "decode, curves, classify" in done.stderr
