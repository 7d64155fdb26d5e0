"""A process that consumes one topic to its end, bare or decoding: the limit, and how near we come.

Run as `python -m workers.bench.loop JSON`: it says `ready`, waits for a line, consumes from the
beginning, and prints what it took as JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any

from workers.bench.processes import cpu_s

#: The fastest settings found for a consumer that only counts (librdkafka's defaults are 5 to 12
#: times slower for packets of 70 kB): written here anew, so that the limit does not move with ours.
BARE = {
    "fetch.queue.backoff.ms": 2,
    "fetch.wait.max.ms": 50,
    "fetch.max.bytes": 4 << 20,
    "fetch.message.max.bytes": 1 << 20,
    "queued.max.messages.kbytes": 32 << 10,
    "queued.min.messages": 1_000_000,
    "check.crcs": False,
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "group.id": "bare",
}
_BYTES_PER_CALL = 2 << 20
_MOST_PER_CALL = 500
_WAIT_S = 0.1


@dataclass(frozen=True, slots=True)
class Pass:
    """One pass over a topic: packets/s, and CPU µs a packet of the process and of Kafka."""

    rate: float
    client_us: float
    kafka_us: float

    @property
    def us(self) -> float:
        return self.client_us + self.kafka_us


def one_pass(
    client: dict[str, Any], topic: str, mean_bytes: float, decode: bool, kafka_pid: int
) -> Pass:
    """Consume a topic once in a process of its own, bare or decoding every packet."""
    batch = max(4, min(_MOST_PER_CALL, int(_BYTES_PER_CALL / mean_bytes)))
    what = {"client": client, "topic": topic, "batch": batch, "decode": decode}
    command = [sys.executable, "-m", "workers.bench.loop", json.dumps(what)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        if process.stdout.readline().strip() != "ready":
            msg = f"the consuming process ended with {process.wait()}"
            raise RuntimeError(msg)
        before = cpu_s(kafka_pid)
        process.stdin.write("\n")
        process.stdin.flush()
        took = json.loads(process.stdout.readline())
        kafka = cpu_s(kafka_pid) - before
    n = took["packets"]
    return Pass(n / took["wall_s"], took["cpu_s"] / n * 1e6, kafka / n * 1e6)


def main(what: dict[str, Any]) -> None:
    from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

    topic = what["topic"]
    if what["decode"]:
        from workers.kafka import consumer

        reader = consumer(what["client"])
        take = _decoding(topic)
    else:
        reader = Consumer({**BARE, **what["client"]})
        take = _counting
    parts = [
        TopicPartition(topic, p, OFFSET_BEGINNING)
        for p in reader.list_topics(topic, timeout=20).topics[topic].partitions
    ]
    bounds = [reader.get_watermark_offsets(part, timeout=20) for part in parts]
    total = sum(high - low for low, high in bounds)
    print("ready", flush=True)
    sys.stdin.readline()
    taken, batch = 0, what["batch"]
    cpu, wall = time.process_time(), time.perf_counter()
    reader.assign(parts)
    while taken < total:
        messages = reader.consume(batch, _WAIT_S)
        for message in messages:
            if message.error() is not None:
                raise RuntimeError(message.error().str())
        if messages:
            take(messages)
            taken += len(messages)
        messages = message = None  # its memory serves the next batch
    took = {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
    reader.close()
    print(json.dumps({**took, "packets": taken}), flush=True)


def _counting(messages: list[Any]) -> None:
    for message in messages:
        len(message.value())


def _decoding(topic: str) -> Any:
    import numpy as np

    from broker.decode import Decoder
    from broker.records import Packets

    decoder = Decoder()
    decoder.warm_up()

    def take(messages: list[Any]) -> None:
        decoder.decode(
            Packets(
                [m.value() for m in messages],
                topic,
                np.array([m.partition() for m in messages], np.int32),
                np.array([m.offset() for m in messages], np.int64),
                np.array([m.timestamp()[1] for m in messages], np.int64),
            )
        )

    return take


if __name__ == "__main__":
    from workers.process import set_kernel_cache

    set_kernel_cache()
    main(json.loads(sys.argv[1]))
