"""The local Kafka: no Java of the machine, data that stay, and no process left behind."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from workers import java, kafka_files
from workers.errors import Failed
from workers.local_kafka import LocalKafka
from workers.ports import HOST, free_port, lock_owner, port_owner

QUIET = {"log_level": 0}


def make_topic(kafka: LocalKafka, name: str, partitions: int = 1) -> None:
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap} | QUIET)
    admin.create_topics([NewTopic(name, partitions, 1)])[name].result(10)


def write(kafka: LocalKafka, topic: str, *values: bytes) -> None:
    producer = Producer({"bootstrap.servers": kafka.bootstrap} | QUIET)
    for value in values:
        producer.produce(topic, value)
    assert producer.flush(10) == 0


def read(kafka: LocalKafka, topic: str, count: int, **config: str) -> list[bytes | None]:
    consumer = Consumer(
        {"bootstrap.servers": kafka.bootstrap, "group.id": topic, "auto.offset.reset": "earliest"}
        | {key.replace("_", "."): value for key, value in config.items()}
        | QUIET
    )
    if config:
        consumer.subscribe([topic])
    else:
        consumer.assign([TopicPartition(topic, 0, 0)])
    try:
        return [message.value() for message in consumer.consume(count, 20)]
    finally:
        consumer.close()


def gone(pid: int, within_s: float = 15.0) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":  # ended; whoever inherited it has not asked yet
            return True
        time.sleep(0.05)
    return False


def test_transactions_and_both_kinds_of_groups(kafka: LocalKafka, namespace: str) -> None:
    make_topic(kafka, namespace)
    producer = Producer(
        {"bootstrap.servers": kafka.bootstrap, "transactional.id": namespace} | QUIET
    )
    producer.init_transactions(20)
    producer.begin_transaction()
    producer.produce(namespace, b"aborted")
    producer.flush(10)
    producer.abort_transaction(10)
    producer.begin_transaction()
    producer.produce(namespace, b"committed")
    producer.commit_transaction(10)
    for protocol in ("classic", "consumer"):
        seen = read(
            kafka, namespace, 1, group_protocol=protocol, group_id=f"{namespace}.{protocol}"
        )
        assert seen == [b"committed"], protocol


def test_settings_that_the_route_needs(kafka: LocalKafka, namespace: str) -> None:
    make_topic(kafka, namespace)
    large = os.urandom(15 << 20)
    producer = Producer(
        {"bootstrap.servers": kafka.bootstrap, "message.max.bytes": 16 << 20} | QUIET
    )
    producer.produce(namespace, large)
    assert producer.flush(20) == 0
    assert read(kafka, namespace, 1) == [large]
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap} | QUIET)
    assert f"{namespace}.typo" not in admin.list_topics(f"{namespace}.typo", 10).topics or (
        admin.list_topics(f"{namespace}.typo", 10).topics[f"{namespace}.typo"].error is not None
    ), "a topic was created by accident"


def test_data_outlive_a_stop_and_a_kill(tmp_path: Path) -> None:
    kafka = LocalKafka(tmp_path / "data")
    with kafka:
        assert kafka.process is not None
        first = kafka.process.pid
        make_topic(kafka, "kept")
        write(kafka, "kept", b"before stop")
    assert gone(first, 0.1)
    with kafka:
        write(kafka, "kept", b"before kill")
        kafka.kill()
    with kafka:
        assert read(kafka, "kept", 2) == [b"before stop", b"before kill"]


def test_killed_within_a_commit_it_keeps_all_of_it(tmp_path: Path) -> None:
    """kill -9 between the coordinator's resolution and its markers; many partitions make that long.

    A Kafka that takes partitions without a leader for deleted ones forgets their markers here.
    """
    partitions, timeout_ms, prepared = 400, 15_000, 2  # 2: PrepareCommit
    kafka = LocalKafka(tmp_path / "kafka")
    kafka.start()
    try:
        make_topic(kafka, "wide", partitions)
        producer = Producer(
            {"bootstrap.servers": kafka.bootstrap, "transactional.id": "one"}
            | {"transaction.timeout.ms": timeout_ms}
            | QUIET
        )
        producer.init_transactions(20)
        producer.begin_transaction()
        for partition in range(partitions):
            producer.produce("wide", b"all", partition=partition)
        committed = threading.Thread(target=insist, args=(producer,))
        committed.start()
        # producer id 0 and epoch 0 of a new Kafka, time-out, state: as its log has them
        mark = struct.pack(">qhib", 0, 0, timeout_ms, prepared)
        log = kafka.data_dir / "__transaction_state-0" / f"{0:020}.log"
        while mark not in log.read_bytes():
            pass
        kafka.kill()
        kafka.start()
        committed.join(60)
        assert len(read(kafka, "wide", partitions, isolation_level="read_committed")) == partitions
    finally:
        kafka.kill()


def insist(producer: Producer) -> None:
    while True:
        try:
            return producer.commit_transaction(5)
        except KafkaException as exc:
            if not exc.args[0].retriable():
                raise


def test_port_taken_says_which_and_by_whom(tmp_path: Path) -> None:
    with socket.socket() as server:
        server.bind((HOST, 0))
        server.listen()
        port = server.getsockname()[1]
        assert port_owner(port) == os.getpid()
        with pytest.raises(Failed, match=f"port {port} .* process {os.getpid()}"):
            LocalKafka(tmp_path / "data", port=port).start()
    assert port_owner(free_port()) is None


def test_data_folder_in_use_says_by_whom(kafka: LocalKafka) -> None:
    assert kafka.process is not None
    assert lock_owner(kafka.data_dir / ".lock") == kafka.process.pid
    with pytest.raises(Failed, match=rf"in use by another Kafka \(process {kafka.process.pid}"):
        LocalKafka(kafka.data_dir).start()


def test_start_that_fails_shows_the_log_and_leaves_no_process(tmp_path: Path) -> None:
    kafka = LocalKafka(tmp_path / "data", settings={"message.max.bytes": "many"})
    with pytest.raises(Failed, match=r"(?s)kafka\.log.*message\.max\.bytes"):
        kafka.start()
    assert kafka.process is None
    assert lock_owner(kafka.data_dir / ".lock") is None


def test_slow_start_is_given_up(tmp_path: Path) -> None:
    kafka = LocalKafka(tmp_path / "data")
    with pytest.raises(Failed, match="did not answer"):
        kafka.start(timeout_s=0.05)
    assert kafka.process is None


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_ends_with_the_process_that_started_it(tmp_path: Path, how: signal.Signals) -> None:
    script = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from workers.local_kafka import LocalKafka\n"
        "kafka = LocalKafka(Path(sys.argv[1])).start()\n"
        "print(kafka.process.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "data")],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert parent.stdout is not None
    broker = int(parent.stdout.readline())
    if how is signal.SIGINT:
        # Ctrl-C reaches every process of the terminal's group; the broker is in none of them.
        os.killpg(parent.pid, signal.SIGINT)
    else:
        parent.kill()
    parent.wait(20)
    parent.stdout.close()
    assert gone(broker)


def test_ctrl_c_of_the_terminal_does_not_reach_it(kafka: LocalKafka) -> None:
    assert kafka.process is not None
    assert os.getsid(kafka.process.pid) != os.getsid(0)
    assert os.getpgid(kafka.process.pid) != os.getpgid(0)


def test_no_java_of_the_machine_is_used(kafka: LocalKafka, tmp_path: Path) -> None:
    assert kafka.process is not None
    used = os.readlink(f"/proc/{kafka.process.pid}/exe")
    assert Path(used).is_relative_to(Path(sys.prefix).resolve())
    fake = tmp_path / "java"
    fake.write_text("#!/bin/sh\nexit 127\n")
    fake.chmod(0o755)
    env = os.environ | {"PATH": f"{tmp_path}:/usr/bin:/bin", "JAVA_HOME": str(tmp_path)}
    env["JAVA_TOOL_OPTIONS"] = "-Xmx1k"
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from workers.local_kafka import LocalKafka\n"
        "with LocalKafka(Path(sys.argv[1])) as kafka: print(kafka.bootstrap)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "data")],
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


def test_jars_are_held_to_their_pins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pins = tmp_path / "pins"
    rows = java.PINS.read_text().splitlines()
    pins.write_text("\n".join(["0" * 64 + rows[0][64:], *rows[1:]]))
    monkeypatch.setattr(java, "PINS", pins)
    java.jars.cache_clear()
    try:
        with pytest.raises(Failed, match=f"{rows[0].split()[1]} is not the pinned one"):
            java.fetch(tmp_path / "jars")
    finally:
        java.jars.cache_clear()


def test_ids_are_such_as_kafka_takes() -> None:
    ids = {kafka_files.kafka_id() for _ in range(200)}
    assert len(ids) == 200
    assert all(len(i) == 22 and not i.startswith("-") for i in ids)
