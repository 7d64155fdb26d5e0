"""The store on disk: what was put is there after a kill, and what is not right is never used."""

from __future__ import annotations

import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from workers.errors import Failed
from workers.state import DiskStore


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "slot" / "3"


@pytest.fixture
def store(folder: Path) -> Iterator[DiskStore]:
    store = DiskStore(folder)
    store.put({b"a": b"1", b"b": b"22"}, note=b"first")
    yield store
    store.close()


def elsewhere(folder: Path, code: str) -> int:
    """Run code in another process, with `store` on the same folder; its exit code."""
    begin = (
        "import os, signal, sys; from pathlib import Path; from workers.state import DiskStore\n"
        "store = DiskStore(Path(sys.argv[1]))\n"
    )
    return subprocess.run([sys.executable, "-c", begin + code, str(folder)], check=False).returncode


def test_what_was_put_is_there_when_it_is_opened_again(store: DiskStore, folder: Path) -> None:
    store.put({b"a": b"333"}, note=b"second")
    store.put({b"c": b"4"}, gone=[b"b", b"nobody"])
    assert elsewhere(folder, "assert store.get([b'a', b'b', b'c']) == [b'333', None, b'4']") == 0
    assert store.get([b"c", b"b", b"a"]) == [b"4", None, b"333"]
    assert (len(store), store.note) == (2, b"second")
    store.clear()
    assert (len(store), store.note, store.get([b"a"])) == (0, b"", [None])


def test_pages_are_no_objects(store: DiskStore) -> None:
    store.put({b"b#0": b"page", b"b": b"waits", b"c#0": b"page", b"c#12": b"page", b"c": b"waits"})
    store.put({b"c#0": b"again"})
    assert len(store) == 3
    store.put({b"c": b"merged"}, gone=[b"c#0", b"c#12", b"c#13"])
    assert len(store) == 3
    store.put({}, gone=[b"b#0", b"b"])
    assert len(store) == 2


def test_the_file_grows_by_itself(store: DiskStore, folder: Path) -> None:
    before = store.nbytes
    items = {b"%d" % i: bytes([i]) * 1_000_000 for i in range(100)}
    store.put(items)
    assert store.get(list(items)) == list(items.values())
    assert 100e6 < store.nbytes - before < 101e6
    # every block is there: no hole that a full disk could refuse while it is written into
    file = (folder / "data.mdb").stat()
    assert file.st_blocks * 512 >= file.st_size


def test_a_full_disk_is_told_and_nothing_is_lost(store: DiskStore) -> None:
    """A limit on file sizes stands for it: the blocks are refused in the same way."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8 << 20, limits[1]))
    try:
        with pytest.raises(Failed, match=r"cannot be written: .*[Mm]ake room"):
            store.put({b"a": bytes(10 << 20)}, note=b"second")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (store.get([b"a"]), store.note) == ([b"1"], b"first")
    store.put({b"a": bytes(10 << 20)})


def test_a_store_that_another_process_wrote_into_is_refused(store: DiskStore, folder: Path) -> None:
    assert elsewhere(folder, "store.put({b'a': b'theirs'})") == 0
    with pytest.raises(Failed, match="another process wrote into it"):
        store.put({b"a": b"ours"})
    assert store.get([b"a"]) == [b"theirs"]


def test_another_file_in_its_place_is_refused(store: DiskStore, folder: Path) -> None:
    copy = folder.parent / "copy"
    shutil.copy(folder / "data.mdb", copy)
    copy.rename(folder / "data.mdb")
    with pytest.raises(Failed, match="another file stands in its place"):
        store.put({b"a": b"ours"})


def test_a_deleted_folder_does_no_harm(
    store: DiskStore, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(folder.parent)
    store.put({b"a": b"333"})
    store.put({b"big": bytes(20 << 20)})
    assert store.get([b"a", b"b"]) == [b"333", b"22"]
    assert capsys.readouterr().err.count("was deleted") == 1
    again = DiskStore(folder)
    assert (len(again), again.note) == (0, b"")
    with pytest.raises(Failed, match="another file"):
        store.put({b"a": b"4444"})
    again.close()


@pytest.mark.parametrize("harm", ["garbage", "cut off", "empty", "overwritten"])
def test_a_corrupt_file_is_thrown_away(
    folder: Path, harm: str, capsys: pytest.CaptureFixture[str]
) -> None:
    store = DiskStore(folder)
    items = {b"%06d" % i: bytes(1000) for i in range(10_000)}
    store.put(items, note=b"first")
    store.close()
    path = folder / "data.mdb"
    with path.open("r+b") as file:
        if harm == "garbage":
            file.write(b"x" * 8192)
        elif harm == "cut off":
            file.truncate(2 << 20)
        elif harm == "empty":
            file.truncate(0)
        else:
            file.seek(6 << 20)
            file.write(bytes(4 << 20))
    store = DiskStore(folder)
    if harm == "overwritten":  # no start looks at every page
        with pytest.raises(Failed, match=r"corrupt .* thrown away"):
            store.get(list(items))
        store.close()
        store = DiskStore(folder)
    elif harm != "empty":
        assert capsys.readouterr().err.count("store discarded") == 1
    assert (len(store), store.note) == (0, b"")
    store.put(items)
    assert len(store) == 10_000
    store.close()


def test_killed_within_a_put(folder: Path) -> None:
    """The process dies when all values are in the map, but for the last step."""
    store = DiskStore(folder)
    store.put({b"a": b"1", b"b": b"22"}, note=b"first")
    store.close()
    kill = (
        "class Kills(list):\n"
        "    def __iter__(self):\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "store.put({b'a': b'new', **{b'%d' % i: bytes(1000) for i in range(2000)}}, Kills(), b'n')"
    )
    assert elsewhere(folder, kill) == -signal.SIGKILL
    store = DiskStore(folder)
    assert (store.get([b"a", b"b"]), len(store), store.note) == ([b"1", b"22"], 2, b"first")
    store.put({b"a": b"new"})
    assert store.get([b"a"]) == [b"new"]
    store.close()
