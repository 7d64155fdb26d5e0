"""What every test may ask for: the shared real data, and one Kafka for the whole session."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

HOUSE = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real packets and light curves; they stand beside the repository, not in it."""
    folder = Path(os.environ.get("NIGHTJAR_SHARED_DATA", HOUSE.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(
            "real packets and light curves are not beside this clone (NIGHTJAR_SHARED_DATA)"
        )
    return folder
