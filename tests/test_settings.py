"""Settings: one tree, three ways in; a wrong one says which, what was expected, what was meant."""

from __future__ import annotations

import dataclasses
import os
import tomllib
from pathlib import Path
from typing import Any

import pytest

from workers import cli
from workers.errors import Misused
from workers.settings import (
    Kafka,
    Settings,
    Source,
    flag,
    leaves,
    read_environment,
    read_file,
    variable,
)

HOUSE = Path(__file__).parents[1]
#: A value for each setting that is not its default, as text.
OTHER = {
    "namespace": "other",
    "partitions": "7",
    "commit_ms": "21",
    "state_dir": "/elsewhere",
    "kafka.bootstrap_servers": "broker:1,broker:2",
    "kafka.security": "security.protocol=SASL_SSL,sasl.password=file:/a,b=c",
    "kafka.replication": "3",
    "source.bootstrap_servers": "survey:9092",
    "source.security": "ssl.ca.location=/ca",
    "source.topics": "night,morning",
    "source.nights": "3",
    "source.survey": "lsst",
    "source.registry": "https://registry",
    "source.start": "latest",
    "source.public_only": "false",
    "classify.models": "other,another",
    "classify.shadow": "third",
    "classify.start": "earliest",
    "classify.prior": "other.EW=0.5,other.EA=0.5",
    "classify.device": "cuda:1",
    "classify.precision": "bf16",
    "classify.max_batch": "64",
    "metrics.host": "0.0.0.0",
    "metrics.port": "9100",
    "log.format": "json",
    "log.level": "debug",
    "local_kafka.port": "19092",
    "local_kafka.data_dir": "/data",
    "local_kafka.mode": "test",
}
WORDS = {
    "kafka.security": ("security.protocol=SASL_SSL", "sasl.password=file:/a,b=c"),
    "source.security": ("ssl.ca.location=/ca",),
    "source.topics": ("night", "morning"),
    "classify.models": ("other", "another"),
    "classify.shadow": ("third",),
    "classify.prior": ("other.EW=0.5", "other.EA=0.5"),
}


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Settings]:
    """The settings that `nightjar labels` was given last; labels themselves are not read."""
    monkeypatch.chdir(tmp_path)
    for name in [n for n in os.environ if n.startswith("NIGHTJAR_")]:
        monkeypatch.delenv(name)
    seen: list[Settings] = []

    def note(settings: Settings, *_: Any) -> list[Any]:
        seen.append(settings)
        return []

    monkeypatch.setattr("workers.labels.read_labels", note)
    monkeypatch.setattr("workers.commands.reading.entered", lambda settings: settings)
    return seen


def text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def test_the_commented_file_holds_each_setting_with_its_default() -> None:
    def flat(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
        rows: dict[str, Any] = {}
        for key, value in table.items():
            rows |= (
                flat(value, f"{prefix}{key}.")
                if isinstance(value, dict)
                else {prefix + key: tuple(value) if isinstance(value, list) else value}
            )
        return rows

    stands = flat(tomllib.loads((HOUSE / "deploy" / "nightjar.toml").read_text()))
    defaults = {
        path: str(value) if isinstance(value, Path) else value for path, value in leaves(Settings())
    }
    assert stands == defaults


def test_the_example_here_covers_each_setting() -> None:
    defaults = dict(leaves(Settings()))
    assert OTHER.keys() == defaults.keys()
    assert not [p for p in OTHER if text(defaults[p]) == OTHER[p]]


@pytest.mark.parametrize("path", OTHER)
def test_each_setting_is_a_flag_a_variable_and_a_key(
    path: str, given: list[Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = WORDS.get(path, (OTHER[path],))

    def value() -> Any:
        return dict(leaves(given[-1]))[path]

    def is_other() -> bool:
        return value() == words if path in WORDS else text(value()) == OTHER[path]

    flags = [f"{flag(path)}={word}" for word in words]
    assert cli.run(["labels", *flags]) == 0
    assert is_other()

    monkeypatch.setenv(variable(path), OTHER[path])
    assert cli.run(["labels"]) == 0
    assert is_other()
    monkeypatch.delenv(variable(path))

    table, _, key = path.rpartition(".")
    quoted = str(list(words)) if path in WORDS else repr(OTHER[path])
    if isinstance(value(), int):
        quoted = OTHER[path]
    Path("nightjar.toml").write_text(f"{f'[{table}]' if table else ''}\n{key} = {quoted}\n")
    assert cli.run(["labels"]) == 0
    assert is_other()


def test_flag_before_variable_before_file(
    given: list[Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("nightjar.toml").write_text("partitions = 2\ncommit_ms = 20\n[source]\ntopics = ['f']\n")
    monkeypatch.setenv("NIGHTJAR_PARTITIONS", "3")
    monkeypatch.setenv("NIGHTJAR_NAMESPACE", "env")
    monkeypatch.setenv("NIGHTJAR_SOURCE_TOPICS", "")
    assert cli.run(["labels", "--namespace", "flag"]) == 0
    assert (given[-1].namespace, given[-1].partitions, given[-1].commit_ms) == ("flag", 3, 20)
    assert given[-1].source.topics == ()


def test_another_file_by_flag_and_by_variable(
    given: list[Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("a.toml").write_text("partitions = 5")
    Path("b.toml").write_text("partitions = 6")
    monkeypatch.setenv("NIGHTJAR_CONFIG", "a.toml")
    assert cli.run(["labels"]) == 0
    assert given[-1].partitions == 5
    assert cli.run(["labels", "--config", "b.toml"]) == 0
    assert given[-1].partitions == 6


def test_proportions_may_be_a_table_for_each_network(given: list[Settings]) -> None:
    Path("nightjar.toml").write_text("[classify.prior.crts-rows]\nEW = 0.6\n'SN Ib/c' = 2\n")
    assert cli.run(["labels"]) == 0
    assert given[-1].classify.prior == ("crts-rows.EW=0.6", "crts-rows.SN Ib/c=2")


def test_security_may_be_a_table(given: list[Settings]) -> None:
    Path("nightjar.toml").write_text(
        "[kafka.security]\nsecurity.protocol = 'SASL_SSL'\n'sasl.username' = 'me'\n"
        "'enable.ssl.certificate.verification' = false\n"
    )
    assert cli.run(["labels", "--kafka.bootstrap-servers", "b:1"]) == 0
    assert given[-1].kafka.client() == {
        "bootstrap.servers": "b:1",
        "security.protocol": "SASL_SSL",
        "sasl.username": "me",
        "enable.ssl.certificate.verification": "false",
    }


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("partition = 3", ["nightjar.toml: partition;", "did you mean partitions?"]),
        ("[kafka]\nbootstrap_server = 'a'", ["did you mean kafka.bootstrap_servers?"]),
        ("kafka = 3", ["no such setting", "kafka"]),
        ("[namespace]\na = 1", ["namespace", "expected one value"]),
        ("partitions = 'many'", ["partitions", "nightjar.toml", "many", "int"]),
        ("partitions = 0", ["partitions", ">= 1"]),
        ("[log]\nlevel = 'loud'", ["log.level", '"debug"', '"error"']),
        ("[source]\ntopics = 'a'", ["source.topics = 'a'", "expected a list"]),
        ("[metrics]\nport = 70000", ["metrics.port", "65535"]),
        ("namespace = 'a b'", ["namespace = 'a b'", "expected letters"]),
        ("[classify]\nmodels = []", ["classify.models", "nightjar.toml", "at least one"]),
        (
            "[classify]\nmodel = 'a'",
            ["classify.model;", f"mean classify.models = {list(Settings().classify.models)}?"],
        ),
        ("a = = b", ["nightjar.toml is not TOML", "line 1"]),
    ],
)
def test_a_wrong_file_says_what_and_where(
    file: str, words: list[str], given: list[Settings], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("nightjar.toml").write_text(file)
    assert cli.run(["labels"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert [w for w in words if w not in said] == [], said
    assert not given


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("NIGHTJAR_PARTITION", "3", ["NIGHTJAR_PARTITION;", "did you mean NIGHTJAR_PARTITIONS?"]),
        ("NIGHTJAR_CLASSIFY_MODEL", "a", ["did you mean NIGHTJAR_CLASSIFY_MODELS?"]),
        ("NIGHTJAR_CLASSIFY_MODELS", "", ["NIGHTJAR_CLASSIFY_MODELS", "at least one"]),
        ("NIGHTJAR_PARTITIONS", "x", ["NIGHTJAR_PARTITIONS", "environment", "int"]),
        ("NIGHTJAR_SOURCE_SURVEY", "zft", ["NIGHTJAR_SOURCE_SURVEY", '"ztf"']),
        ("NIGHTJAR_CONFIG", "none.toml", ["none.toml", "No such file"]),
    ],
)
def test_a_wrong_variable_says_which(
    name: str,
    value: str,
    words: list[str],
    given: list[Settings],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(name, value)
    assert cli.run(["labels"]) == 2
    said = capsys.readouterr().err
    assert [w for w in words if w not in said] == [], said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--partition", "3"], ["--partition", "Did you mean --partitions?"]),
        (["--classify.model", "a"], ["Did you mean --classify.models?"]),
        (["--partitions", "x"], ["--partitions", "int"]),
        (["--source.start", "now"], ["--source.start", '"earliest"']),
        (["--namespace", "a/b"], ["namespace = 'a/b'", "expected letters"]),
        (["--config"], ["--config", "TOML"]),
    ],
)
def test_a_wrong_flag_says_which(
    arguments: list[str],
    words: list[str],
    given: list[Settings],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.run(["labels", *arguments]) == 2
    said = capsys.readouterr().err
    assert [w for w in words if w not in said] == [], said


def test_variables_that_kubernetes_sets_are_no_mistakes() -> None:
    links = {
        "NIGHTJAR_SERVICE_HOST": "10.0.0.1",
        "NIGHTJAR_SERVICE_PORT_HTTP": "80",
        "NIGHTJAR_PORT": "tcp://10.0.0.1:80",
        "NIGHTJAR_PAGE_PORT_80_TCP_ADDR": "10.0.0.1",
    }
    assert read_environment(links) == {}


def test_security_must_be_name_and_value() -> None:
    settings = dataclasses.replace(Settings(), source=Source("survey:1", ("SASL_SSL",)))
    with pytest.raises(Misused, match=r"source\.security: expected name=value.*word 1"):
        settings.source_client()


def test_secrets_are_not_shown_with_the_settings(tmp_path: Path) -> None:
    words = ("sasl.username=me", "sasl.password=hunter2")
    given = Settings(kafka=Kafka("a:1", words), source=Source("b:1", words))
    assert given.kafka.client()["sasl.password"] == "hunter2"
    assert "a:1" in repr(given)
    assert "hunter2" not in f"{given!r} {given}"
    file = tmp_path / "nightjar.toml"
    file.write_text('[kafka]\nsecurity = "sasl.password=hunter2"')
    with pytest.raises(Misused, match=r"kafka\.security in .*expected a list") as told:
        read_file(file)
    assert "hunter2" not in str(told.value)


def test_words_of_security_part_at_properties_names_alone() -> None:
    words = ["sasl.password=a,b=c,d", "debug=security,broker", "ssl.ca.location=/x"]
    given = read_environment({"NIGHTJAR_SOURCE_SECURITY": ",".join(words)})
    assert given == {"source.security": words}


def test_a_namespace_is_no_way_out_of_the_state_directory(given: list[Settings]) -> None:
    for name in ("..", ".", "../x", "-x", "a/b", ""):
        assert cli.run(["labels", f"--namespace={name}"]) == 2
    assert not given


def test_the_source_is_the_surveys_cluster_or_ours() -> None:
    ours = Settings().using("ours:1")
    assert ours.source_client() == {"bootstrap.servers": "ours:1"}
    survey = dataclasses.replace(ours, source=Source("survey:1", ("sasl.username=me",), ("t",)))
    assert survey.source_client() == {"bootstrap.servers": "survey:1", "sasl.username": "me"}
    assert survey.reading("a").source_client() == {"bootstrap.servers": "ours:1"}
    assert survey.reading("a").source.topics == ("a",)


def test_a_worker_gets_the_same_settings_whatever_file_it_finds(
    given: list[Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (
        cli.run(["labels", *[f"{flag(p)}={w}" for p in OTHER for w in WORDS.get(p, (OTHER[p],))]])
        == 0
    )
    parent = given[-1]
    Path("nightjar.toml").write_text("partitions = 99\n[source]\ntopics = ['x']\n")
    for name, value in parent.environment().items():
        monkeypatch.setenv(name, value)
    assert cli.run(["labels"]) == 0
    assert given[-1] == parent
    for name, value in parent.environment(namespace="replay", topics=["packets"]).items():
        monkeypatch.setenv(name, value)
    assert cli.run(["labels"]) == 0
    assert given[-1] == dataclasses.replace(parent, namespace="replay").reading("packets")


def test_an_unreadable_file_is_a_misuse(tmp_path: Path) -> None:
    with pytest.raises(Misused, match="cannot be read"):
        read_file(tmp_path)
