"""The commands that run something until it is stopped, or show it once."""

from __future__ import annotations

import sys

from workers.commands.beginning import begun, located
from workers.process import set_kernel_cache, tune_malloc
from workers.settings import Settings


def kafka(*, settings: Settings | None = None) -> None:
    """Run the local Kafka alone, until Ctrl-C."""
    import signal

    from workers.local_kafka import LocalKafka

    local = begun(settings).local_kafka
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with LocalKafka(local.data_dir, local.port, local.mode) as node:
        print(f"Kafka on {node.bootstrap}, data in {local.data_dir}; Ctrl-C stops it", flush=True)
        try:
            node.wait()
        except KeyboardInterrupt:
            print("stopping", file=sys.stderr)


def demo(
    *,
    objects: int = 300,
    nights: int = 120,
    seed: int = 1,
    settings: Settings | None = None,
) -> None:
    """Show the whole route once: a simulated sky, Kafka, the workers, what came of it.

    Parameters
    ----------
    objects
        Variable stars and transients.
    nights
        Length of the survey.
    seed
        Another seed is another sky.
    """
    tune_malloc()
    set_kernel_cache()
    from workers.demo import demo as show

    show(begun(settings), objects, nights, seed)


def up(*, settings: Settings | None = None) -> None:
    """Run Kafka (ours unless one is given) and all workers, until Ctrl-C."""
    set_kernel_cache()
    from workers.up import up as run

    run(begun(settings))


def work(spans: str, *, instead_of: int | None = None, settings: Settings | None = None) -> None:
    """Run one worker: decode, curves, classify, or curves,classify together.

    Parameters
    ----------
    spans
        What it does; two names with a comma between share the process. classify runs all networks
        of --classify.models; shadow is a worker for those of --classify.shadow.
    instead_of
        Process id of a worker of this machine with the same spans: when this one has loaded all
        that it needs, that one is asked to end, and this one takes its place within a second.
    """
    tune_malloc()
    set_kernel_cache()
    from workers.work import work as run

    run(located(begun(settings)), spans.split(","), instead_of)
