"""Every command in the README is run here, in its order, and its code as it stands there."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from commands import HOUSE, Standing, environment, nightjar

from workers.ports import free_port

README = (HOUSE / "README.md").read_text()
COMMANDS = [
    line
    for block in re.findall(r"```sh\n(.*?)```", README, re.S)
    for line in block.replace("\\\n", " ").splitlines()
    if line.strip()
]
#: Those that stay up until Ctrl-C, and the words that tell that they stand.
STANDING = {
    "nightjar up": "share",
    "nightjar kafka": "Kafka on",
    "nightjar work decode --source.topics alerts": "share",
    "nightjar work curves,classify": "share",
    "nightjar labels --follow": "",
}
CODE = re.findall(r"```python\n(.*?)```", README, re.S)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("readme")


@pytest.fixture(scope="module")
def port() -> str:
    return str(free_port())


def test_commands_in_their_order(place: Path, port: str) -> None:
    settings = {"local_kafka_port": port}
    standing: list[Standing] = []
    try:
        for command in COMMANDS:
            assert command.startswith("nightjar "), f"{command}: not run by this test"
            words = shlex.split(command)[1:]
            if words[0] == "kafka":  # workers by hand follow: what stands now makes room
                while standing:
                    assert standing.pop().interrupt(30)[0] in (0, 1, -2)
            if words[0] in ("train", "evaluate", "study"):
                continue  # test_train_and_evaluate_as_in_the_readme, tests/test_studies.py
            if command in STANDING:
                standing.append(Standing(*words, cwd=place, **settings))
                standing[-1].wait_for(STANDING[command])
                continue
            if words[0] == "labels":
                wait_for_labels(place, settings)
            if words[:2] == ["replay", "night/"] and "--namespace" in words:
                assert standing
            done = nightjar(*words, cwd=place, **settings)
            assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
            assert done.stdout.strip(), command
        code = CODE[0].replace("127.0.0.1:9092", f"127.0.0.1:{port}")
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=environment(),
            cwd=place,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert len(done.stdout.splitlines()) > 50
        assert "EW" in done.stdout
    finally:
        for one in standing:
            one.__exit__()


def wait_for_labels(place: Path, settings: dict[str, str]) -> None:
    for _ in range(60):
        done = nightjar("labels", "--json", cwd=place, **settings)
        if done.returncode == 0 and len(done.stdout.splitlines()) > 100:
            return
    pytest.fail(f"no labels: {done.stderr}")


@pytest.fixture
def light_curves(tmp_path: Path) -> Path:
    """A folder of labelled light curves as the README describes it: 70 sine waves."""
    rng = np.random.default_rng(1)
    n, points = 70, 50
    t = np.sort(rng.uniform(0, 2000, (n, points)), axis=1)
    period = rng.uniform(0.3, 3, (n, 1))
    m = 16 + 0.4 * np.sin(2 * np.pi * t / period) + rng.normal(0, 0.05, (n, points))
    np.savez(
        tmp_path / "crts_south.npz",
        t=t.ravel(),
        m=m.ravel().astype(np.float32),
        e=np.full(n * points, 0.05, np.float32),
        off=np.arange(0, n * points + 1, points),
        ids=np.arange(n) + 10**12,
        lab=np.tile([5, 6, 1, 2, 3, 7, 8], 10),
        period=period.ravel(),
    )
    return tmp_path


def test_train_and_evaluate_as_in_the_readme(light_curves: Path) -> None:
    (command,) = [c for c in COMMANDS if c.startswith("nightjar train")]
    words = shlex.split(command.replace("LIGHTCURVES", str(light_curves)))[1:]
    done = nightjar(*words, "--epochs", "1", cwd=light_curves)
    assert done.returncode == 0, done.stdout + done.stderr
    cards = list((light_curves / "weights").glob("*.toml"))
    assert len(cards) == 1
    assert tomllib.loads(cards[0].read_text())["classes"]
    assert list((light_curves / "weights").glob("*.safetensors"))
    (command,) = [c for c in COMMANDS if c.startswith("nightjar evaluate")]
    words = shlex.split(command.replace("LIGHTCURVES", str(light_curves)))[1:]
    done = nightjar(*words, "--model", str(cards[0]), cwd=light_curves)
    assert done.returncode == 0, done.stdout + done.stderr
    assert 0 <= json.loads(done.stdout)["balanced_accuracy"] <= 1


def test_make_has_the_two_commands() -> None:
    """`make demo` runs the demo that tests/test_demo.py runs; `make test` is this run."""
    for verb, part in (("demo", "nightjar demo"), ("test", "-m pytest"), ("up", "nightjar up")):
        done = subprocess.run(
            ["make", "--dry-run", verb], cwd=HOUSE, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert part in done.stdout
    for line in re.findall(r"^    (make \w+)", README, re.M):
        assert line in ("make demo", "make test")


def test_files_that_the_readme_points_to_are_there() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (HOUSE / target).exists(), target
