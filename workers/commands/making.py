"""The commands that make a network, and measure the house."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from workers.commands.beginning import Survey, begun
from workers.errors import Failed, Misused
from workers.process import set_kernel_cache, tune_malloc
from workers.settings import Settings


def train(
    data: Path,
    *,
    out: Path = Path("weights"),
    name: Literal[
        "crts-rows",
        "crts-shallow",
        "crts-periodic",
        "transients-ztf",
        "transients-lsst",
        "gate-ztf",
        "gate-lsst",
    ] = "crts-rows",
    epochs: int | None = None,
    seed: int = 0,
    device: str = "auto",
    typical: bool = False,
) -> None:
    """Train a network on labelled light curves; writes weights and card.

    Parameters
    ----------
    data
        Folder with crts_south.npz; for transients with ztf_bts.npz or snpcc.npz, and slsn.npz.
    out
        Folder for the weights and the card.
    name
        Of the network and its card: the stream's, the paper's, the one with a periodogram; those
        that name supernovae, and the gates that tell them from variables, for ZTF and LSST.
    epochs
        Passes over the data; the recipe's own if not given.
    seed
        The same seed on the same kind of device gives the same weights.
    device
        cpu, cuda, or auto.
    typical
        Leave the weights in OUT as they are, and learn only what is typical of known objects.
    """
    tune_malloc()
    set_kernel_cache()
    try:
        from models.known import rewrite
        from models.train import train as fit
        from models.training import Epoch
    except ModuleNotFoundError as error:
        msg = f"training needs {error.name}: pip install 'nightjar[models]'"
        raise Failed(msg) from None
    from workers.show import epoch_line

    def say(epoch: Epoch) -> None:
        print(epoch_line(epoch), flush=True)

    try:
        if typical:
            card = rewrite(data, out, name, seed)
        else:
            card = fit(data, out, name, epochs, seed, device, say, say=partial(print, flush=True))
    except ValueError as error:
        raise Failed(str(error)) from error
    print(f"{card.classifier} in {card.weights}")


def evaluate(
    data: Path,
    *,
    model: str | None = None,
    labels: Literal["crts-south", "crts-north", "transients"] | None = None,
    split: Literal["unseen", "test", "all"] = "unseen",
    device: str = "auto",
    tau: float = 0.0,
    json: bool = False,
) -> None:
    """Hold a network against labelled light curves, whole and by their first points.

    Parameters
    ----------
    data
        An .npz of flat arrays: t (MJD), m (magnitude) or f (flux), e (its error), b (band), off
        (object i is rows off[i] to off[i + 1]), ids, lab (class numbers).
    model
        Name of a shipped network, or the path of a card; if not given, the shipped one that knows
        most of the objects.
    labels
        Whose class numbers the file holds; its name tells where it can.
    split
        unseen: all objects whose light curves training did not use (all of a file that no
        training saw); test: those with crc32(id) % 5 == 1; all: all.
    device
        cpu, cuda, or auto.
    tau
        Name rare classes more readily: probabilities are divided by the class proportions that the
        card states, to this power; 0 leaves them honest.
    json
        One JSON object instead of the table.
    """
    tune_malloc()
    set_kernel_cache()
    from models import curve_files

    told = "by --labels" if labels else "by the file's name"
    whose: str | None = labels or curve_files.labels_by_name(data)
    if whose is None:
        msg = f"{data}: its name does not tell whose class numbers it holds: --labels crts-south, "
        raise Misused(msg + "crts-north or transients")
    try:
        from models import cards
        from models.examine import best_known, examine
    except ModuleNotFoundError as error:
        msg = f"evaluation needs {error.name}: pip install 'nightjar[models]'"
        raise Failed(msg) from None
    from workers.evaluated import show
    from workers.show import json_line

    try:
        file = curve_files.read(data)
        card = cards.find(model) if model else best_known(cards.shipped(), file, whose)
        result = examine(card, file, whose, split, device, tau)
    except ValueError as error:
        raise Failed(str(error)) from error
    if json:
        print(json_line(result.to_dict() | {"labels_from": told}))
    else:
        show(result, told)


def study(
    name: Literal["exercise", "paper", "periodic", "transients"],
    *parts: str,
    data: Path | None = None,
    out: Path = Path("study"),
    quick: bool = False,
    steps: int | None = None,
    seed: int = 0,
    device: Literal["cpu", "cuda"] = "cpu",
) -> None:
    """Reproduce the paper of the method and its exercise, or our figures.

    Parameters
    ----------
    name
        exercise: two toy classes, a small CNN, its mistakes (minutes); paper: Mahabal et al. 2017
        on the Catalina surveys (hours; what is done stays done, so it may be interrupted);
        periodic: the network of periodic stars beside one that is told more, one that saw another
        survey only, and in bands of a third (an hour);
        transients: the hard tests of the networks that name supernovae (minutes).
    parts
        Only the parts of these names, as 'seven/*' or 'pair/north/shallow/*' of the paper, 'north'
        or 'band/*' of periodic, 'bts' or 'gate/*' of transients.
    data
        Folder with crts_south.npz, crts_north.npz, crts_nontransients.npz and, if it is there,
        s82_rrlyrae.npz, for the paper and periodic; with ztf_bts.npz, snpcc.npz, slsn.npz,
        crts_south.npz, for transients, and with mallorn.npz, tde_ztf.npz, elasticc2_sample.npz
        for its checks.
    out
        Folder for the report (as paper.html) and the results of its parts.
    quick
        A small version of everything, to see that it works: its figures mean nothing.
    steps
        Batches that a network of seven classes sees; 3,000 if not given.
    seed
        Of stars, splits and networks.
    device
        cpu or cuda.
    """
    tune_malloc()
    set_kernel_cache()
    if name != "exercise" and data is None:
        msg = f"study {name}: expected --data FOLDER, with the light curves"
        raise Misused(msg)

    def say(words: str) -> None:
        print(words, file=sys.stderr, flush=True)

    try:
        from models import reports
        from models.studies.run import exercise, paper, periodic, transients

        reports.check()
    except ModuleNotFoundError as error:
        msg = f"a study needs {error.name}: pip install 'nightjar[models,reports]'"
        raise Failed(msg) from None
    from workers.evaluated import show_section

    try:
        if data is None or name == "exercise":
            title, sections = exercise(seed, quick, say)
        elif name != "paper":
            ours = {"periodic": periodic, "transients": transients}[name]
            title, sections = ours(data, out, parts, quick, seed, device, say)
        else:
            title, sections = paper(data, out, parts, quick, steps, seed, device, say)
    except ValueError as error:
        raise Failed(str(error)) from error
    for section in sections:
        show_section(section)
    report = out / f"{name}.html"
    reports.write(report, title, sections)
    print(f"{report}: {len(sections)} sections, {report.stat().st_size / 1e6:.1f} MB")


def bench(
    *stages: str,
    json: bool = False,
    seed: int = 1,
    rounds: int = 3,
    alerts: int | None = None,
    objects: int | None = None,
    survey: Survey | None = None,
    packets: Annotated[tuple[Path, ...], Parameter(consume_multiple=True)] = (),
    plot: Path | None = None,
    light_curves: Path | None = None,
    model: str | None = None,
    settings: Settings | None = None,
) -> None:
    """Measure each stage beside what it is compared with, in turns, on this machine.

    Parameters
    ----------
    stages
        decode, labels, dmdt, network, curves, consume, route, latency, burst, start, memory, audit
        or restart; all of them (some minutes) if none is named.
    json
        One JSON object instead of the table.
    seed
        Another seed is another night.
    rounds
        Turns of each figure and its comparison.
    alerts
        How many alerts a stage with Kafka takes, instead of its own number.
    objects
        How many light curves the stage restart keeps.
    survey
        Only this survey's packets.
    packets
        Packet files to measure with instead of a simulated night.
    plot
        A CSV file for the cost of an alert against the length of its light curve.
    light_curves
        Folder with crts_south.npz: the network's modes are compared on its test split.
    model
        Network of the workers. If not given crts-rows, of which the targets are; and in the stages
        network, curves and route the stream's own beside it.
    """
    tune_malloc()
    set_kernel_cache()
    from workers import log
    from workers.bench.bench import FIRST, Bench
    from workers.bench.run import run

    def say(words: str) -> None:
        print(words, file=sys.stderr, flush=True)

    sizes = (seed, rounds, alerts, objects, survey)
    settings = begun(settings)
    log.configure("console", "error")  # what waits at a start is no news here
    models = (model,) if model else tuple(dict.fromkeys([FIRST, *settings.classify.models]))
    one = Bench(settings, *sizes, packets, plot, light_curves, say, models)
    run(one, stages, json)
