"""The commands that read packets and labels, or make them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from workers.commands.beginning import Survey, begun, entered, located
from workers.errors import Misused
from workers.process import set_kernel_cache, tune_malloc
from workers.settings import Settings


def replay(
    *sources: str,
    out: Path | None = None,
    warm_up: Annotated[tuple[str, ...], Parameter(consume_multiple=True)] = (),
    settings: Settings | None = None,
) -> None:
    """Walk an archive again, to a Parquet file or to a namespace of its own.

    Parameters
    ----------
    sources
        Folders, .avro files, nightly .tar.gz, length-prefixed files, or finished topics.
    out
        A Parquet file for the labels; needs no Kafka. Without it, --namespace names one that is
        not in use: the same workers as live, with topics of their own.
    warm_up
        Sources of earlier nights: light curves without labels.
    """
    tune_malloc()
    set_kernel_cache()
    given = located(begun(settings))
    if not sources or (out is None and given.namespace == Settings().namespace):
        msg = "replay: expected SOURCE... and either --out FILE.parquet or --namespace NAME"
        raise Misused(msg)
    from workers import replay as replays

    if out is not None:
        summary = replays.to_parquet(given, sources, warm_up, out)
    else:
        summary = replays.to_namespace(entered(given), sources, warm_up)
    print(summary.text())


def inspect(*files: Path, json: bool = False) -> int | None:
    """Show the alerts of packets in files: one line each.

    Parameters
    ----------
    files
        .avro containers, LSST packets, .tar.gz, or folders of them.
    json
        Whole JSON lines instead of one readable line per alert.
    """
    set_kernel_cache()
    from broker.inspection import inspect_files
    from workers.show import alert_line, json_line

    if not files:
        msg = "inspect: expected one or more files"
        raise Misused(msg)
    bad = False
    for alert in inspect_files(files):
        bad |= "error" in alert
        print(json_line(alert) if json else alert_line(alert))
    return 1 if bad else None


def simulate(
    *,
    out: str,
    survey: Literal["ztf", "lsst"] = "ztf",
    objects: int = 300,
    nights: int = 120,
    seed: int = 0,
    cutouts: bool = True,
    solar_system: float = 0.03,
    bogus: float = 0.05,
    repeated: float = 0.01,
    late: float = 0.01,
    corrupt: float = 0.002,
    settings: Settings | None = None,
) -> None:
    """Make packets as a survey sends them, with the truth beside them.

    Parameters
    ----------
    out
        A folder (a name with a slash, or one that is there), else a topic to publish to; then the
        truth is written to TOPIC.truth.parquet.
    survey
        Whose wire format and sizes.
    objects
        Variable stars and transients.
    nights
        Length of the survey.
    seed
        The same arguments with the same seed give the same bytes.
    cutouts
        With stamps of compressed noise, in real sizes.
    solar_system
        Share of alerts of moving objects.
    bogus
        Share of alerts of nothing.
    repeated
        Share of packets that come twice.
    late
        Share of packets that come after later ones.
    corrupt
        Share of packets that cannot be decoded.
    """
    set_kernel_cache()
    from broker.packets import Shares, Simulation, write

    try:
        shares = Shares(solar_system, bogus, repeated, late, corrupt)
        simulation = Simulation(survey, objects, nights, seed, cutouts, shares)
    except ValueError as error:
        raise Misused(str(error)) from None
    if "/" in out or Path(out).is_dir():
        count = write(simulation, Path(out))
        print(f"{count:,} packets in {out}, their truth in {Path(out) / 'truth.parquet'}")
        return
    from workers.publish import publish

    there = entered(begun(settings))
    count, truth = publish(there, out, simulation)
    print(f"{count:,} packets in topic {out}, their truth in {truth}")


def labels(
    *,
    follow: bool = False,
    class_: Annotated[str | None, Parameter(name="--class")] = None,
    min_probability: float = 0.0,
    survey: Survey | None = None,
    model: str | None = None,
    shadow: bool = False,
    json: bool = False,
    settings: Settings | None = None,
) -> None:
    """Print the labels topic: all that is there, or what comes from now on.

    Parameters
    ----------
    follow
        Start at the end and go on until Ctrl-C.
    class_
        Only labels whose likeliest class is this, or lies in it: RRab, or RR Lyrae (`nightjar
        taxonomy` prints all), or comes of it in a tree of networks.
    min_probability
        Only labels that give that class at least so much.
    survey
        Only alerts of this survey.
    model
        Only labels of this classifier, where there are several.
    shadow
        The labels of networks on trial, which stand in a topic of their own.
    json
        Whole labels as JSON lines.
    """
    from models.tree_cards import branches
    from workers.labels import Wanted, read_labels
    from workers.show import json_line, label_line
    from workers.topics import SHADOW

    wanted = Wanted(class_, min_probability, survey, model, branches())
    say = json_line if json else label_line
    kind = SHADOW if shadow else "labels"
    for label in read_labels(entered(begun(settings)), wanted, follow, kind):
        print(say(label), flush=follow)


def taxonomy(*, json: bool = False) -> None:
    """Print the tree of classes: DESC's numbers, our kinds, which networks name them.

    Parameters
    ----------
    json
        A JSON line for each class, with all that it lies in.
    """
    from broker.taxonomy import IDS, TREE, lineage
    from models import tree_cards
    from workers.show import json_line

    every = tree_cards.shipped()
    naming = {name: [c.name for c in every if name in c.classes] for name in TREE}
    if not json:
        for name in sorted(TREE, key=lambda n: [(TREE[x].id or 9999, x) for x in lineage(n)[::-1]]):
            node, indent = TREE[name], "  " * (len(lineage(name)) - 1)
            models = f"  ({', '.join(naming[name])})" if naming[name] else ""
            print(f"{indent}{'' if node.id is None else f'{node.id} '}{name}{models}")
        return
    for node in TREE.values():
        row = {"name": node.name, "id": node.id, "desc_id": IDS.get(node.name, node.id)}
        print(json_line(row | {"lineage": lineage(node.name), "models": naming[node.name]}))
