"""The command `nightjar`: what it can do, and how an error is said.

Nothing heavy is imported before a command runs, so that `--help` answers at once.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, CycloptsError, Parameter, Token

from workers import settings as sources
from workers.errors import Failed, Misused
from workers.process import set_kernel_cache, tune_malloc
from workers.settings import Settings

DONE, FAILED, MISUSED = 0, 1, 2
HELP = """Nightjar: survey alerts in, light curves kept, names out.

Settings come from flags, then from environment variables (--kafka.bootstrap-servers is
NIGHTJAR_KAFKA_BOOTSTRAP_SERVERS), then from a TOML file: --config FILE, else nightjar.toml here.
"""

app = App(
    name="nightjar",
    help=HELP,
    # Not Markdown, the default: its parser alone costs 50 ms of the time to an answer.
    help_format="plaintext",
    version_flags=["--version"],
    version=lambda: _version(),
)
Survey = Literal["ztf", "lsst", "elasticc"]


@app.command
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


@app.command
def inspect(*files: Path, json: bool = False) -> int:
    """Show alerts of packets in files: one line each, with every point as it was decoded.

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
    return FAILED if bad else DONE


@app.command
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

    there = _cluster(_given(settings))
    count, truth = publish(there, out, simulation)
    print(f"{count:,} packets in topic {out}, their truth in {truth}")


@app.command
def labels(
    *,
    follow: bool = False,
    class_: Annotated[str | None, Parameter(name="--class")] = None,
    min_probability: float = 0.0,
    survey: Survey | None = None,
    json: bool = False,
    settings: Settings | None = None,
) -> None:
    """Print the labels topic: all that is there, or with --follow what comes from now on.

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
    for label in read_labels(_cluster(_given(settings)), wanted, follow):
        print(say(label), flush=follow)


@app.command
def train(
    data: Path,
    *,
    out: Path = Path("weights"),
    epochs: int = 24,
    seed: int = 0,
    device: str = "auto",
) -> None:
    """Train the network on labelled light curves; writes weights and card.

    Parameters
    ----------
    data
        Folder with crts_south.npz.
    out
        Folder for the weights and the card.
    epochs
        Passes over the data.
    seed
        The same seed on the same kind of device gives the same weights.
    device
        cpu, cuda, or auto.
    """
    tune_malloc()
    set_kernel_cache()
    try:
        from models.train import train as fit
    except ModuleNotFoundError as error:
        msg = f"training needs {error.name}: pip install 'nightjar[models]'"
        raise Failed(msg) from None
    from workers.show import epoch_line

    card = fit(data, out, epochs, seed, device, lambda epoch: print(epoch_line(epoch), flush=True))
    print(f"{card.classifier} in {card.weights}")


def main() -> None:
    """Run the command line; the process's exit code is 0 done, 1 failed, 2 misused."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command; returns its exit code, and says an expected error as one line on stderr."""
    try:
        arguments, file = _config_file(arguments)
        app.config = [_Given(file)]
        result = app(
            arguments, exit_on_error=False, print_error=False, result_action="return_value"
        )
    except (CycloptsError, Misused) as error:
        return _say(error, MISUSED)
    except KeyboardInterrupt:
        return _say("interrupted", FAILED)
    except BrokenPipeError:  # `nightjar labels | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except Exception as error:
        expected = _expected(error)
        if expected is None:
            raise
        return _say(expected, FAILED)
    return result if isinstance(result, int) else DONE


def _expected(error: Exception) -> str | None:
    """The words of an error that is no fault in the program."""
    if isinstance(error, Failed | LookupError | FileNotFoundError | PermissionError):
        return f"{error.strerror}: {error.filename}" if isinstance(error, OSError) else str(error)
    if type(error).__name__ == "KafkaException":  # without importing its library for `--help`
        return f"Kafka: {error.args[0].str()}"
    return None


def _say(what: object, code: int) -> int:
    print(f"nightjar: {what}", file=sys.stderr)
    return code


def _config_file(arguments: list[str]) -> tuple[list[str], Path | None]:
    """Take `--config FILE` out of the arguments."""
    rest, file = [], os.environ.get(f"{sources.PREFIX}CONFIG")
    left = iter(arguments)
    for word in left:
        if word == "--config":
            file = next(left, None)
            if file is None:
                msg = "--config: expected the name of a TOML file"
                raise Misused(msg)
        elif word.startswith("--config="):
            file = word.removeprefix("--config=")
        else:
            rest.append(word)
    if file is None:
        return rest, Path(sources.FILE) if Path(sources.FILE).is_file() else None
    return rest, Path(file)


class _Given:
    """Puts what the environment and the file give under what the flags give (cyclopts' `config`).

    Not cyclopts' own Env and Toml: Env passes over a misspelt variable in silence, and Toml does
    not say what was meant.
    """

    def __init__(self, file: Path | None) -> None:
        self.file = file

    def __call__(self, app: App, commands: tuple[str, ...], arguments: Any) -> None:
        by_flag = {argument.name: argument for argument in arguments}
        if sources.flag("kafka.bootstrap_servers") not in by_flag:
            return  # a command without settings
        environment = sources.read_environment()
        file = sources.read_file(self.file) if self.file else {}
        for path, words in (file | environment).items():
            argument = by_flag[sources.flag(path)]
            if argument.tokens:  # a flag comes first
                continue
            here = path in environment
            name = sources.variable(path) if here else f"{path} in {self.file}"
            for word in words:
                argument.append(Token(keyword=name, value=word, source="settings"))


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


def _version() -> str:
    from importlib.metadata import version

    return version("nightjar")
