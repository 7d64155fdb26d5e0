"""Every setting, once: a flag, an environment variable NIGHTJAR_... and a TOML key each."""

from __future__ import annotations

import dataclasses
import difflib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from cyclopts import Parameter
from cyclopts.validators import Number

from workers.errors import Misused
from workers.ports import HOST
from workers.security import properties

PREFIX = "NIGHTJAR_"
#: Variables of ours that are no settings: the file's name, a worker's tie to its parent, tests.
NOT_SETTINGS = {f"{PREFIX}CONFIG", f"{PREFIX}CREW", f"{PREFIX}SHARED_DATA"}
#: What Kubernetes sets in every pod for a service called nightjar or nightjar-something.
SERVICE_LINK = re.compile(r"_(SERVICE_(HOST|PORT)(_\w+)?|PORT(_\d+_(TCP|UDP)(_\w+)?)?)$")

Positive = Annotated[int, Parameter(validator=Number(gte=1))]
Port = Annotated[int, Parameter(validator=Number(gte=0, lte=65535))]
#: Given by repeating the flag; in an environment variable, parted by commas.
Words = Annotated[tuple[str, ...], Parameter(negative=(), consume_multiple=False)]


@dataclass(frozen=True, slots=True)
class Kafka:
    bootstrap_servers: str = ""
    """Our cluster, host:port,host:port; empty: the local Kafka."""
    security: Words = field(default=(), repr=False)
    """librdkafka properties, name=value, secrets as name=file:PATH or env:NAME; in TOML a table."""
    replication: Positive = 1
    """Copies of each new topic; 3 on a cluster of three brokers or more."""

    def client(self) -> dict[str, Any]:
        """What every client of our cluster is made with."""
        return _client(self.bootstrap_servers, self.security, "kafka.security")


@dataclass(frozen=True, slots=True)
class Source:
    bootstrap_servers: str = ""
    """The survey's cluster, only read from; empty: ours."""
    security: Words = field(default=(), repr=False)
    """The same for the survey's cluster."""
    topics: Words = ()
    """Topics with packets; {date} in a name stands for a night's UTC date, YYYYMMDD. `up` makes one
    called alerts if none is named."""
    nights: Positive = 7
    """Nights, with today's, that a topic with {date} is read of: as many as the survey keeps."""
    survey: Literal["auto", "ztf", "lsst", "elasticc"] = "auto"
    """Whose packets they are; auto: each packet's framing tells."""
    registry: str = ""
    """Schema registry, https://..., for LSST's schemas that are newer than those shipped; empty:
    their packets are dead letters until the schema is in schemas/lsst under state_dir."""
    start: Literal["earliest", "latest"] = "earliest"
    """Where a new namespace begins to read a topic."""
    public_only: bool = True
    """Drop rows that are not public (ZTF programid 2 and 3) before any topic."""


@dataclass(frozen=True, slots=True)
class Classify:
    models: Words = ("sky",)
    """Names of the networks' cards, or their paths: each labels every alert. sky is a tree of
    networks, one label for stars and supernovae; crts-periodic is the one for periodic stars alone;
    crts-rows does without each star's own period and takes a third of its time; crts-shallow is the
    paper's network."""
    shadow: Words = ()
    """The same, of networks on trial: their labels go to the topic labels-shadow."""
    start: Literal["latest", "earliest"] = "latest"
    """Where a network that is new to a stream with labels begins: with its next image, or with the
    earliest that is still kept."""
    prior: Words = ()
    """Proportions of the classes in this stream, NETWORK.CLASS=SHARE each; in TOML a table for each
    network. Of a tree of networks they are of the classes at its root. Empty: those that each
    network's card says its probabilities assume."""
    device: str = "auto"
    """cpu, cuda, cuda:N, or auto: the GPU where there is one."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16 is faster on CPUs with AMX; probabilities differ by up to 0.01 then."""
    max_batch: Positive = 256
    """Images in one device batch."""


@dataclass(frozen=True, slots=True)
class Metrics:
    host: str = HOST
    """Address that /metrics is served on; 0.0.0.0 for a cluster."""
    port: Port = 0
    """0: a free one, said in the log."""


@dataclass(frozen=True, slots=True)
class Log:
    format: Literal["console", "json"] = "console"
    """Lines for people or JSON lines for machines."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least that is shown."""


@dataclass(frozen=True, slots=True)
class Local:
    port: Port = 9092
    """Port of the local Kafka on loopback; 0: a free one."""
    data_dir: Path = Path(".nightjar/kafka")
    """Its data."""
    mode: Literal["test", "measure"] = "measure"
    """measure: full speed in 1 GB; test: small and quick to start."""


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Settings:
    """One tree; a leaf's path is its TOML key, its flag and, in capitals, its variable."""

    namespace: str = "nightjar"
    """First part of our topics' and groups' names; every replay has its own."""
    partitions: Positive = 4
    """Partitions of a new namespace; fixed for its life."""
    commit_ms: Positive = 50
    """From one commit of a worker to its next, at least; it is longer where commits are slow."""
    state_dir: Path = Path(".nightjar")
    """Folder of the workers' slots and state."""
    kafka: Kafka = field(default_factory=Kafka)
    source: Source = field(default_factory=Source)
    classify: Classify = field(default_factory=Classify)
    metrics: Metrics = field(default_factory=Metrics)
    log: Log = field(default_factory=Log)
    local_kafka: Local = field(default_factory=Local)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}", self.namespace):
            msg = (
                f"namespace = {self.namespace!r}: expected letters, digits, dots, dashes and "
                "underscores (it becomes part of names of topics and folders), at most 100, no "
                "dot or dash at first"
            )
            raise Misused(msg)

    def source_client(self) -> dict[str, Any]:
        """What every client of the survey's cluster is made with."""
        source = self.source
        if not source.bootstrap_servers:
            return self.kafka.client()
        return _client(source.bootstrap_servers, source.security, "source.security")

    def using(self, bootstrap_servers: str) -> Self:
        """With our cluster at another address."""
        kafka = dataclasses.replace(self.kafka, bootstrap_servers=bootstrap_servers)
        return dataclasses.replace(self, kafka=kafka)

    def reading(self, *topics: str) -> Self:
        """With packets from topics of our own cluster."""
        source = dataclasses.replace(
            self.source, bootstrap_servers="", security=(), topics=tuple(topics)
        )
        return dataclasses.replace(self, source=source)

    def within(self, state_dir: Path) -> Self:
        """With the workers' state in another folder."""
        return dataclasses.replace(self, state_dir=state_dir)

    def environment(
        self, namespace: str | None = None, topics: Sequence[str] | None = None
    ) -> dict[str, str]:
        """Variables that give another process these settings, whatever file it finds; `namespace`
        and `topics` (of our own cluster) take the place of those here."""
        settings = dataclasses.replace(self, namespace=namespace or self.namespace)
        if topics is not None:
            settings = settings.reading(*topics)
        return {variable(path): _text(value) for path, value in leaves(settings)}


def leaves(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Each setting's path and value: ("kafka.bootstrap_servers", "")."""
    for part in dataclasses.fields(tree):
        value, name = getattr(tree, part.name), f"{path}{part.name}"
        if dataclasses.is_dataclass(value):
            yield from leaves(value, f"{name}.")
        else:
            yield name, value


def variable(path: str) -> str:
    """The environment variable of a setting.

    >>> variable("kafka.bootstrap_servers")
    'NIGHTJAR_KAFKA_BOOTSTRAP_SERVERS'
    """
    return PREFIX + path.replace(".", "_").upper()


def flag(path: str) -> str:
    """The flag of a setting.

    >>> flag("kafka.bootstrap_servers")
    '--kafka.bootstrap-servers'
    """
    return "--" + path.replace("_", "-")


def read_environment(environ: Mapping[str, str] = os.environ) -> dict[str, list[str]]:
    """Settings by path that the environment gives.

    Raises
    ------
    Misused
        A variable with our prefix that is no setting.
    """
    defaults = {variable(path): (path, value) for path, value in leaves(Settings())}
    given = {}
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name in NOT_SETTINGS:
            continue
        if name in defaults:
            path, default = defaults[name]
            many = isinstance(default, tuple)
            given[path] = _words(path, environ[name]) if many else [environ[name]]
            _refuse_none(path, given[path], default, f"environment variable {name}")
        elif not SERVICE_LINK.search(name):
            raise Misused(_unknown("environment variable", name, dict.fromkeys(defaults)))
    return given


def read_file(path: Path) -> dict[str, list[str]]:
    """Settings by path that a TOML file gives.

    Raises
    ------
    Misused
        It cannot be read, or has a key that is no setting or holds the wrong kind of value.
    """
    try:
        tree = tomllib.loads(path.read_text())
    except OSError as error:
        msg = f"the settings file {path} cannot be read: {error.strerror}"
        raise Misused(msg) from None
    except ValueError as error:
        msg = f"the settings file {path} is not TOML: {error}"
        raise Misused(msg) from None
    defaults = dict(leaves(Settings()))
    given: dict[str, list[str]] = {}

    def walk(table: Mapping[str, Any], prefix: str) -> None:
        for key, value in table.items():
            name = f"{prefix}{key}"
            many = isinstance(defaults.get(name), tuple)
            if isinstance(value, dict) and any(d.startswith(f"{name}.") for d in defaults):
                walk(value, f"{name}.")
            elif name not in defaults:
                raise Misused(_unknown(f"setting in {path}", name, defaults))
            elif isinstance(value, dict) and many:
                given[name] = [f"{k}={_text(v)}" for k, v in _flat(value)]
            elif isinstance(value, list) == many and not isinstance(value, dict):
                given[name] = [_text(v) for v in (value if many else [value])]
                _refuse_none(name, given[name], defaults[name], str(path))
            else:
                expected = "a list of strings" if many else f"one value, e.g. {defaults[name]!r}"
                shown = "" if name.endswith(".security") else f" = {value!r}"
                msg = f"{name}{shown} in {path}: expected {expected}"
                raise Misused(msg)

    walk(tree, "")
    return given


def _refuse_none(name: str, words: list[str], default: Any, where: str) -> None:
    """An empty list would silently be the default."""
    if not words and default:
        msg = f"{name} in {where} is empty: expected at least one, e.g. {default[0]}"
        raise Misused(msg)


def _words(path: str, text: str) -> list[str]:
    """Parted by commas; a password may hold one, but not right before a property's name and `=`."""
    if not path.endswith(".security") or "=" not in text:
        return text.split(",") if text else []
    return re.split(r",(?=(?:[a-z][a-z0-9]*(?:\.[a-z0-9]+)+|debug|log_level)=)", text)


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """`security.protocol = "SSL"` in TOML is a table in a table: back to the dotted name."""
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _client(servers: str, security: tuple[str, ...], path: str) -> dict[str, Any]:
    return {"bootstrap.servers": servers, **properties(security, path)}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(value) if isinstance(value, tuple) else str(value)


def _unknown(what: str, name: str, known: Mapping[str, Any]) -> str:
    """Words for a name that is none of the `known`; one that is like a list's shows how to write
    that (classify.models was classify.model, one name, before there could be several)."""
    hint = f"there are: {', '.join(known)}"
    for meant in difflib.get_close_matches(name, known, n=1, cutoff=0.5):
        value = known[meant]
        like = f" = {list(value)}" if isinstance(value, tuple) and value else ""
        hint = f"did you mean {meant}{like}?"
    return f"no such {what}: {name}; {hint}"
