from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

from workers import slots


def test_the_first_free_slot_is_taken_and_comes_back(tmp_path: Path) -> None:
    with (
        slots.take(tmp_path, "n", "curves") as first,
        slots.take(tmp_path, "n", "curves") as second,
        slots.take(tmp_path, "n", "decode") as other,
    ):
        assert [s.folder.name for s in (first, second, other)] == ["0", "1", "0"]
        assert len({first.name, second.name, other.name}) == 3
        first.release()
        with slots.take(tmp_path, "n", "curves") as again:
            assert again.name == first.name


def test_a_killed_process_leaves_its_slot(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from workers import slots\n"
        "slot = slots.take(Path(sys.argv[1]), 'n', 'curves'); print(slot.name, flush=True)\n"
        "time.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    with process, process.stdout:
        name = process.stdout.readline().strip()
        with slots.take(tmp_path, "n", "curves") as held:
            assert held.name != name
        process.kill()
    with slots.take(tmp_path, "n", "curves") as again:
        assert again.name == name


def test_workers_that_start_at_once_agree_where_they_are(tmp_path: Path) -> None:
    """As threads, too: `work curves,classify` is one process."""
    for attempt in range(50):
        barrier = Barrier(4)

        def begin(span: str, folder: Path = tmp_path / str(attempt), go: Barrier = barrier) -> str:
            go.wait()
            with slots.take(folder, "n", span) as slot:
                return slot.name.split(".")[2]

        with ThreadPoolExecutor(4) as threads:
            assert len(set(threads.map(begin, "abcd"))) == 1


def test_two_state_directories_are_two_members(tmp_path: Path) -> None:
    with (
        slots.take(tmp_path / "a", "n", "curves") as one,
        slots.take(tmp_path / "b", "n", "curves") as two,
    ):
        assert one.name != two.name
