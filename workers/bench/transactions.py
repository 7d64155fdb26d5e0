"""What exactly once costs: the whole path with transactions and without, in turns on one topic."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workers.bench.cards import test_card
from workers.bench.figures import Figure, figure, ratio
from workers.bench.running import Route

if TYPE_CHECKING:
    from workers.bench.bench import Bench

COUNT = 40_000
#: Exactly once may cost so much of the rate of at least once.
LEAST = 0.85
PROGRAMS = {"exactly": "workers", "at-least": "workers.bench.loosely"}


def measure(bench: Bench) -> list[Figure]:
    """ELAsTiCC packets, as there a transaction's share of the work is largest."""
    night = bench.night("elasticc")
    count = bench.alerts or COUNT
    bench.warm_up()
    model = test_card(bench.settings.classify.models[0], "elasticc", bench.folder / "cards")
    rates: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    costs: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    with bench.topic(night, count) as topic:
        for turn in range(bench.rounds):
            for name, program in PROGRAMS.items():
                with Route(bench, f"{name}-{turn}", topic, model, program) as route:
                    ready_ms, cost = route.work_off(count)
                    rates[name].append(route.totals.rate("classify", ready_ms, count))
                    costs[name].append(sum(c.us for n, c in cost.items() if n != "upkeep"))
    loosely = "at least once"
    return [
        figure(
            "exactly once, whole path",
            rates["exactly"],
            "alerts/s",
            ratio(LEAST),
            (loosely, rates["at-least"]),
        ),
        figure("CPU of all", costs["exactly"], "µs", None, (loosely, costs["at-least"])),
    ]
