"""What each command of `nightjar` does; heavy parts are imported by the command that needs them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from workers.errors import Failed, Misused
from workers.process import set_kernel_cache, tune_malloc
from workers.settings import Settings

Survey = Literal["ztf", "lsst", "elasticc"]


def kafka(*, settings: Settings | None = None) -> None:
    """Run the local Kafka alone, until Ctrl-C."""
    import signal

    from workers.local_kafka import LocalKafka

    local = _given(settings).local_kafka
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

    show(_given(settings), objects, nights, seed)


def up(*, settings: Settings | None = None) -> None:
    """Run Kafka (ours unless one is given) and all workers, until Ctrl-C."""
    set_kernel_cache()
    from workers.up import up as run

    run(_given(settings))


def work(spans: str, *, instead_of: int | None = None, settings: Settings | None = None) -> None:
    """Run one worker: decode, curves, classify, or curves,classify together.

    Parameters
    ----------
    spans
        What it does; two names with a comma between share the process.
    instead_of
        Process id of a worker of this machine with the same spans: when this one has loaded all
        that it needs, that one is asked to end, and this one takes its place within a second.
    """
    tune_malloc()
    set_kernel_cache()
    from workers.work import work as run

    run(_cluster(_given(settings)), spans.split(","), instead_of)


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
    given = _cluster(_given(settings))
    if not sources or (out is None and given.namespace == Settings().namespace):
        msg = "replay: expected SOURCE... and either --out FILE.parquet or --namespace NAME"
        raise Misused(msg)
    from workers import replay as replays

    if out is not None:
        summary = replays.to_parquet(given, sources, warm_up, out)
    else:
        summary = replays.to_namespace(_entered(given), sources, warm_up)
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

    there = _entered(_given(settings))
    count, truth = publish(there, out, simulation)
    print(f"{count:,} packets in topic {out}, their truth in {truth}")


def labels(
    *,
    follow: bool = False,
    class_: Annotated[str | None, Parameter(name="--class")] = None,
    min_probability: float = 0.0,
    survey: Survey | None = None,
    json: bool = False,
    settings: Settings | None = None,
) -> None:
    """Print the labels topic: all that is there, or what comes from now on.

    Parameters
    ----------
    follow
        Start at the end and go on until Ctrl-C.
    class_
        Only labels whose likeliest class is this.
    min_probability
        Only labels that give that class at least so much.
    survey
        Only alerts of this survey.
    json
        Whole labels as JSON lines.
    """
    from workers.labels import Wanted, read_labels
    from workers.show import json_line, label_line

    wanted = Wanted(class_, min_probability, survey)
    say = json_line if json else label_line
    for label in read_labels(_entered(_given(settings)), wanted, follow):
        print(say(label), flush=follow)


def audit(
    *, deep: bool = False, json: bool = False, settings: Settings | None = None
) -> int | None:
    """Prove that every alert has its outcome: from the ledger and the labels alone.

    Parameters
    ----------
    deep
        Match every single alert with its label, and name those that have none or two.
    json
        One JSON object instead of the table.
    """
    set_kernel_cache()
    from workers.audit.audit import audit as prove
    from workers.audit.show import text
    from workers.show import json_line

    report = prove(_entered(_given(settings)), deep)
    print(json_line(report.row()) if json else text(report))
    return None if report.good else 1


def trace(
    name: str,
    *,
    json: bool = False,
    settings: Settings | None = None,
) -> None:
    """Tell what became of one alert, or of all alerts of one object.

    Parameters
    ----------
    name
        An alert's id, or an object's: ZTF18aaiscil, or with its survey ztf:ZTF18aaiscil.
    json
        One JSON object for each alert instead of the lines for people.
    """
    set_kernel_cache()
    from workers.show import json_line
    from workers.trace.show import said
    from workers.trace.trace import trace as follow

    for alert in follow(_entered(_given(settings)), name):
        print(json_line(alert) if json else said(alert))


def dead(
    what: Literal["ls", "show", "retry", "export"],
    *names: str,
    reason: Annotated[tuple[str, ...], Parameter(negative=(), consume_multiple=False)] = (),
    since: str | None = None,
    until: str | None = None,
    json: bool = False,
    settings: Settings | None = None,
) -> int | None:
    """Dead letters: ls them, show one, export their bytes, retry them.

    Parameters
    ----------
    what
        ls: a line for each letter. show LETTER: headers, and what can be read of the bytes.
        export DIR: the bytes as files, and a table. retry [LETTER...]: to their hop again, once.
    names
        Letters by partition:offset of the dead-letter topic, as ls prints them; or DIR.
    reason
        Only letters of this reason; may be repeated.
    since
        Only letters that died then or later: 2026-11-21T08:00 (UTC), or 90m, 12h, 2d ago.
    until
        Only letters that died before then.
    json
        For ls: JSON lines.
    """
    set_kernel_cache()
    from broker.clock import now_ms
    from workers.dead import dead as run
    from workers.letters import Wanted, moment

    given = _entered(_given(settings))
    wanted = Wanted(
        reason or None,
        moment(since, now_ms()) if since else None,
        moment(until, now_ms()) if until else None,
        names if what in ("show", "retry") and names else None,
    )
    return run(given, what, names, wanted, json)


def curves(
    what: Literal["export", "import"],
    file: Path,
    *,
    take_up: bool = False,
    settings: Settings | None = None,
) -> None:
    """Light curves to a file, or from a file into a new namespace.

    Parameters
    ----------
    what
        export: those of the namespace, whose workers may go on. import: into a namespace that is
        not in use, of any number of partitions; its workers restore them like a predecessor's.
    file
        A Parquet file; for an export also a folder, then the name is made.
    take_up
        For an import: begin to read the survey's topics where the file says, and not at
        --source.start.
    """
    set_kernel_cache()
    given = _cluster(_given(settings))
    if what == "export":
        from workers.carry.export import export

        file, held = export(given, file)
        print(f"{held.text()} of namespace {held.namespace} in {file}")
    else:
        from workers.carry.bring import bring

        held = bring(given, file, take_up)
        print(f"{held.text()} of namespace {held.namespace} in namespace {given.namespace}")
    for topic, places in held.survey.items():
        at = ", ".join(f"[{partition}] at {offset}" for partition, offset in places.items())
        print(f"the survey's {topic} is to be taken up: {at}")


def skip(
    topic: str,
    partition: int,
    start: int,
    end: int,
    *,
    yes: bool = False,
    settings: Settings | None = None,
) -> None:
    """Move a stopped span past offsets that it cannot take; it stands in the ledger.

    Parameters
    ----------
    topic
        The survey's topic, or our detections or images.
    partition
        Of the topic.
    start
        FROM: the offset at which the span's group stands.
    end
        TO: the offset at which it is to go on.
    yes
        It is meant: alerts between are lost.
    """
    from workers.skip import skip as move

    given = _entered(_given(settings))
    print(move(given, topic, partition, start, end, yes))


def namespaces(
    what: Literal["ls", "drop"],
    *names: str,
    yes: bool = False,
    json: bool = False,
    settings: Settings | None = None,
) -> None:
    """Namespaces: ls what each holds and who works there, drop one whole.

    Parameters
    ----------
    what
        ls: a line for each. drop NAME: delete its topics, groups and state on this machine, for
        ever; not while workers live in it, and never a survey's topics.
    names
        For drop: its name.
    yes
        It is meant; otherwise its name is to be typed again.
    json
        For ls: JSON lines.
    """
    from workers.drop import drop
    from workers.namespaces import find, text
    from workers.show import json_line

    if len(names) != (what == "drop"):
        msg = f"namespaces {what}: expected {'one name' if what == 'drop' else 'no names'}"
        raise Misused(msg)
    given = _entered(_given(settings))
    if what == "ls":
        found = find(given)
        print("\n".join(json_line(one.row()) for one in found) if json else text(found))
        return

    def confirmed(words: str) -> bool:
        if yes:
            return True
        print(f"{words}\nType its name to drop it for ever: ", end="", file=sys.stderr, flush=True)
        return sys.stdin.readline().strip() == names[0]

    print(drop(given, names[0], confirmed))


def train(
    data: Path,
    *,
    out: Path = Path("weights"),
    name: Literal["crts-rows", "crts-shallow"] = "crts-rows",
    epochs: int | None = None,
    seed: int = 0,
    device: str = "auto",
) -> None:
    """Train a network on labelled light curves; writes weights and card.

    Parameters
    ----------
    data
        Folder with crts_south.npz.
    out
        Folder for the weights and the card.
    name
        Of the network and its card: the stream's, or the paper's.
    epochs
        Passes over the data; the recipe's own if not given.
    seed
        The same seed on the same kind of device gives the same weights.
    device
        cpu, cuda, or auto.
    """
    tune_malloc()
    set_kernel_cache()
    try:
        from models.train import Epoch
        from models.train import train as fit
    except ModuleNotFoundError as error:
        msg = f"training needs {error.name}: pip install 'nightjar[models]'"
        raise Failed(msg) from None
    from workers.show import epoch_line

    def say(epoch: Epoch) -> None:
        print(epoch_line(epoch), flush=True)

    card = fit(data, out, name, epochs, seed, device, say)
    print(f"{card.classifier} in {card.weights}")


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
    """
    tune_malloc()
    set_kernel_cache()
    from workers import log
    from workers.bench.bench import Bench
    from workers.bench.run import run

    def say(words: str) -> None:
        print(words, file=sys.stderr, flush=True)

    sizes = (seed, rounds, alerts, objects, survey)
    settings = _given(settings)
    log.configure("console", "error")  # what waits at a start is no news here
    one = Bench(settings, *sizes, packets, plot, light_curves, say)
    run(one, stages, json)


def _given(settings: Settings | None) -> Settings:
    """The settings, and the log set up as they say."""
    from workers import log

    settings = settings or Settings()
    log.configure(settings.log.format, settings.log.level)
    return settings


def _cluster(settings: Settings) -> Settings:
    """With the address of the local Kafka where no cluster is named."""
    from workers.ports import HOST

    if settings.kafka.bootstrap_servers:
        return settings
    return settings.using(f"{HOST}:{settings.local_kafka.port}")


def _entered(settings: Settings) -> Settings:
    """The same, once the cluster has let us in."""
    from workers.admission import enter

    settings = _cluster(settings)
    enter(settings.kafka.client(), "kafka.security")
    return settings
