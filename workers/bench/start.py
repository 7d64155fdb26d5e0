"""Workers started with their kernels cached: when each is ready, and when the first label comes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.clock import now_ms
from workers.bench.figures import Figure, figure, most
from workers.bench.running import Route
from workers.crew import SPANS

if TYPE_CHECKING:
    from workers.bench.bench import Bench

_PACKETS = 200


def measure(bench: Bench) -> list[Figure]:
    """All three at once on one machine, with packets that wait for them."""
    night = bench.night("ztf")
    bench.warm_up()
    ready: dict[str, list[float]] = {span: [] for span in SPANS}
    labels = []
    with bench.topic(night, _PACKETS) as topic:
        for number in range(bench.rounds):
            with Route(bench, f"start-{topic}-{number}", topic) as route:
                began = now_ms()
                route.start(*SPANS)
                route.wait(lambda totals: totals.done(_PACKETS))
                for span in SPANS:
                    ready[span].append((route.said_ms(span, "share")[0] - began) / 1000)
                labels.append((route.totals.commits["classify"][0][0] - began) / 1000)
    return [
        figure("decode ready", ready["decode"], "s", most(3)),
        figure("curves ready", ready["curves"], "s", most(3)),
        figure("classify ready", ready["classify"], "s"),
        figure("first label", labels, "s", most(10)),
    ]
