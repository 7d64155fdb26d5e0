"""What every test may ask for: the shared real data, and one Kafka for the whole session."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import structlog

from workers.errors import Failed
from workers.local_kafka import LocalKafka
from workers.process import set_kernel_cache

if TYPE_CHECKING:
    from rewritten import Run

HOUSE = Path(__file__).parents[1]
# Before any test imports numba: the kernels that were compiled at installation serve here too.
set_kernel_cache()


# Files that take minutes, the longest first: begun last, one of them would keep all waiting.
LONGEST = (
    "test_readme",
    "test_dead",
    "test_up",
    "test_campaign",
    "test_slowdowns",
    "test_demo",
    "test_replay",
    "test_carry",
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    begins = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: begins.get(item.path.stem, len(begins)))
    if not config.getoption("--long"):
        for item in items:
            if item.get_closest_marker("long"):
                item.add_marker(pytest.mark.skip(reason="of half a minute: make long"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--faults", type=int, default=4, help="faults of the crash campaign")
    parser.addoption("--long", action="store_true", help="run what is marked as long, too")
    parser.addoption("--kind", default="", help="a word in the names of its faults")
    parser.addoption("--rate", type=int, default=300, help="packets a second meanwhile")
    parser.addoption("--plan-seed", type=int, default=1, help="seed of its plan")


@pytest.fixture(autouse=True)
def plain_log() -> None:
    """As at a process's start, whatever another test has set."""
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real packets and light curves; they stand beside the repository, not in it."""
    folder = Path(os.environ.get("NIGHTJAR_SHARED_DATA", HOUSE.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(
            "real packets and light curves are not beside this clone (NIGHTJAR_SHARED_DATA)"
        )
    return folder


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalKafka]:
    """One real Kafka for all tests of this run; each test keeps to its `namespace`.

    A test that stops or kills Kafka starts one of its own.
    """
    local = LocalKafka(tmp_path_factory.mktemp("kafka") / "data")
    try:
        local.start()
    except Failed as error:
        pytest.fail(f"no Kafka for the tests: {error}", pytrace=False)
    yield local
    local.stop()


@pytest.fixture(scope="session")
def audited(kafka: LocalKafka, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One replay that went well, for whoever tests what tells of it."""
    from rewritten import Run

    return Run(kafka, tmp_path_factory.mktemp("audited"))


@pytest.fixture
def namespace(request: pytest.FixtureRequest) -> str:
    """A name for topics and groups that no other test has."""
    test = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[:40]
    return f"{test}-{uuid.uuid4().hex[:8]}"
