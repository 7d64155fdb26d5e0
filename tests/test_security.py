"""Secrets stay where they are, what packets say does no harm, and nobody listens to the world."""

from __future__ import annotations

import ast
import base64
import json
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import certifi
import pytest
from commands import HOUSE, Standing, nightjar
from guarded import OURS, REFUSED, TAKEN, THEIRS, VARIABLE, House, listening

from workers import security
from workers.errors import Misused
from workers.settings import Settings

#: All that a state directory may hold, whatever objects are called.
SPANS = rf"(decode|curves|classify(/{Settings().classify.models[0]})?)"
STATE = rf"(place|nightjar(/{SPANS}(/\d+(/lock|(/\d+)?(/(data|lock)\.mdb)?)?)?)?)"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, THEIRS)
        with House(tmp_path_factory.mktemp("guarded")) as house:
            house.wait()
            yield house


def seen(text: str) -> str:
    """`text`, which holds nothing that a terminal would obey."""
    assert [c for c in text if not c.isprintable() and c != "\n"] == []
    return text


def test_the_route_runs_over_tls_with_two_users(house: House) -> None:
    done = house.nightjar("labels", "--json")
    labels = [json.loads(line) for line in done.stdout.splitlines()]
    ids = [label["alertId"] for label in labels]
    assert len(ids) == len(set(ids)) > 100
    assert {label["object"] for label in labels} >= set(TAKEN)
    audit = house.nightjar("audit")
    assert audit.returncode == 0, audit.stdout


def test_no_secret_is_seen_anywhere(house: House) -> None:
    pages = house.pages()
    assert len(pages) == 3
    places = {"metrics": "".join(pages).encode()}
    workers = house.workers()
    assert len(workers) == 3
    assert house.kafka.process is not None
    for pid in (house.standing.process.pid, house.kafka.process.pid, *workers):
        places[f"arguments of {pid}"] = Path(f"/proc/{pid}/cmdline").read_bytes()
    for topic, values in house.records().items():
        places[topic] = b"\0".join(values)
    for words in (["labels", "--help"], ["dead", "ls", "--json"]):
        done = house.nightjar(*words)
        places[" ".join(words)] = (done.stdout + done.stderr).encode()
    for file in house.folder.rglob("*"):
        if file.is_file() and file not in (house.password,):
            places[str(file)] = file.read_bytes()
    assert len(places["nightjar.ledger"]) > 1000
    assert len(places["nightjar.dead-letters"]) > 1000
    assert len(house.standing.output.read_text()) > 1000
    for secret in (OURS, THEIRS):
        # a backslash is written twice by some, so only what stands before it is looked for
        plain, coded = secret.partition("\\")[0], base64.b64encode(secret.encode())
        for shape in (plain.encode(), quote(plain).encode(), coded):
            assert [place for place, text in places.items() if shape in text] == []


def test_everything_listens_on_loopback_alone(house: House) -> None:
    assert house.kafka.process is not None
    assert listening(house.kafka.process.pid) == {"127.0.0.1"}
    for worker in house.workers():
        assert listening(worker) == {"127.0.0.1"}


def test_metrics_listen_elsewhere_only_when_told(tmp_path: Path) -> None:
    given = {"kafka_bootstrap_servers": "127.0.0.1:9", "metrics_host": "0.0.0.0"}
    with Standing("work", "decode", cwd=tmp_path, **given) as worker:
        worker.wait_for("http://0.0.0.0:")
        assert listening(worker.process.pid) == {"0.0.0.0"}


def test_a_wrong_password_is_said_at_the_start(house: House, tmp_path: Path) -> None:
    """Ours for a command, the survey's for a worker, an authority that never signed for another."""
    ours = house.security("nightjar", "env:WRONG")
    theirs = house.security("survey", "Wr0ng")
    other = house.settings["kafka_security"].replace(str(house.guard.certificate), certifi.where())
    wrong = {
        "kafka.security": (["labels"], {"kafka_security": ours}),
        "source.security": (["work", "decode"], {"source_security": theirs, "namespace": "b"}),
        "ssl.ca.location": (["audit"], {"kafka_security": other}),
    }
    said: dict[str, tuple[int, str]] = {}

    def ask(name: str, words: list[str], other: dict[str, str]) -> None:
        given = house.settings | other
        done = nightjar(*words, cwd=tmp_path, seconds=200, **given)
        said[name] = done.returncode, done.stdout + done.stderr

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WRONG", "Wr0ng")
        threads = [threading.Thread(target=ask, args=(k, *v)) for k, v in wrong.items()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for name, (code, text) in said.items():
        assert code == 1, text
        (line,) = (row for row in text.splitlines() if row.startswith("nightjar: "))
        assert "refuses us" in line
        assert name in line
        assert "See that" in line
        assert "Wr0ng" not in text
    assert len(said) == 3


def test_what_packets_say_is_no_path_no_label_and_no_command(house: House) -> None:
    state = house.folder / ".nightjar"
    inside = [path.relative_to(state).as_posix() for path in state.rglob("*")]
    assert len(inside) > 8
    assert [name for name in inside if not re.fullmatch(STATE, name)] == []
    assert not list(house.folder.parent.glob("x*"))
    values = {v for page in house.pages() for v in re.findall(r'="((?:[^"\\]|\\.)*)"', page)}
    assert len(values) > 50
    assert [v for v in values if not re.fullmatch(r"[A-Za-z0-9_.+ -]*", v)] == []
    lines = seen(house.nightjar("labels").stdout).splitlines()
    assert [name for name in TAKEN if not any(name in line for line in lines)] == []
    assert TAKEN[1] in seen(house.nightjar("trace", TAKEN[1]).stdout)
    letters = seen(house.nightjar("dead", "ls").stdout).splitlines()
    assert len(letters) >= len(REFUSED) + 1
    assert any("before it defines it" in line for line in letters)
    seen(house.nightjar("dead", "show", letters[-1].split()[0]).stdout)
    exported = house.nightjar("dead", "export", "letters")
    assert exported.returncode == 0, exported.stderr
    names = [file.name for file in (house.folder / "letters").iterdir()]
    assert [name for name in names if not re.fullmatch(r"\d+-\d+\.bin|letters\.csv", name)] == []
    seen(house.standing.output.read_text())


def test_what_packets_say_in_an_archive(house: House, tmp_path: Path) -> None:
    night = tmp_path / "night"
    night.mkdir()
    for number, value in enumerate(house.hostile):
        (night / f"{number}\x1b[2J.avro").write_bytes(value)
    done = nightjar("replay", "night", "--out", "out/labels.parquet", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    seen(done.stdout + done.stderr)
    assert sorted(os.listdir(tmp_path)) == ["night", "out"]
    assert sorted(os.listdir(tmp_path / "out")) == ["labels.dead.parquet", "labels.parquet"]
    looked = nightjar("inspect", "night", cwd=tmp_path)
    assert TAKEN[0] in seen(looked.stdout)
    assert "\ufffd[2J.avro: schema_mismatch" in looked.stdout


def test_secrets_from_files_and_variables(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "word"
    file.write_text(" hunter2, b=c \n")
    file.chmod(0o640)
    words = (f"sasl.password=file:{file}", "sasl.username=me")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORD", "two\nlines")
        found = security.properties([*words, "ssl.key.pem=env:WORD"], "kafka.security")
    assert found == {
        "sasl.password": " hunter2, b=c ",
        "sasl.username": "me",
        "ssl.key.pem": "two\nlines",
    }
    assert capsys.readouterr().err == ""
    file.chmod(0o644)
    for _ in range(2):
        security.properties(words, "kafka.security")
    said = capsys.readouterr().err
    assert said.count("chmod 600") == 1
    assert str(file) in said


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("sasl.password:hunter2", ["expected name=value", "word 1"]),
        ("Sasl.password=hunter2", ["expected name=value"]),
        ("sasl.password=file:hunter", ["the file hunter", "No such file", "sasl.password"]),
        ("sasl.password=file:", ["cannot be read"]),
        ("sasl.password=file:/dev/null", ["which is empty"]),
        ("sasl.password=env:HUNTER_3", ["variable HUNTER_3", "not set", "file:PATH"]),
        ("sasl.password=env:hunter2 two", ["environment variable, which is not set"]),
    ],
)
def test_a_wrong_reference_says_what_to_do(word: str, words: list[str]) -> None:
    with pytest.raises(Misused) as told:
        security.properties([word], "source.security")
    said = str(told.value)
    assert said.startswith("source.security: ")
    assert [w for w in words if w not in said] == [], said
    assert "hunter2" not in said


def test_a_secret_among_the_arguments_is_refused(tmp_path: Path) -> None:
    words = ("labels", "--source.security", "sasl.password=hunter2")
    done = nightjar(*words, cwd=tmp_path, seconds=60)
    assert done.returncode == 2
    assert "sasl.password=file:PATH" in done.stderr
    assert "hunter2" not in done.stderr


def called(function: ast.expr) -> str:
    """`eval` or `os.system`; empty for what is deeper."""
    if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
        return f"{function.value.id}.{function.attr}"
    return function.id if isinstance(function, ast.Name) else ""


def test_the_house_has_no_pickle_and_no_shell() -> None:
    """What runs code that comes with data: modules, functions and flags by name."""
    modules = {"pickle", "cPickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"}
    calls = {"eval", "exec", "compile", "os.system", "os.popen", "torch.load", "yaml.load"}
    flags = {"shell", "allow_pickle"}
    found = []
    files = [
        p
        for top in ("broker", "models", "workers", "schemas")
        for p in HOUSE.glob(f"{top}/**/*.py")
    ]
    assert len(files) > 120
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            where = f"{file.relative_to(HOUSE)}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [a.name for a in node.names] + [getattr(node, "module", None) or ""]
                found += [f"{where} {n}" for n in names if n.split(".")[0] in modules]
            elif isinstance(node, ast.Call):
                found += [f"{where} {name}" for name in calls if name == called(node.func)]
                found += [
                    f"{where} {k.arg}"
                    for k in node.keywords
                    if k.arg in flags and ast.unparse(k.value) != "False"
                ]
    assert found == []
