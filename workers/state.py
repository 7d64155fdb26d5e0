"""Light curves beside the worker, an LMDB file for each partition: a cache of the `curves` topic.

Nothing is synced: a process that is killed loses nothing, as the kernel has every page, and a file
that lived through a crash of the machine is known by the machine's boot id (`workers.standing`) and
thrown away.
"""

from __future__ import annotations

import os
import shutil
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import lmdb

from workers.errors import Failed
from workers.log import logger

_FIRST_BYTES = 4 << 20
_GROW_BYTES = 16 << 20
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
#: Key of what the store says of itself; it sorts before any object.
_ITSELF = b"\0"
#: A mark that each `put` sets anew, and the number of pages; the note stands behind them.
_HEAD = struct.Struct("<8sQ")
#: How LMDB says that a file is not what it should be.
_CORRUPT = (
    lmdb.BadTxnError,
    lmdb.CorruptedError,
    lmdb.InvalidError,
    lmdb.PageNotFoundError,
    lmdb.PanicError,
    lmdb.VersionMismatchError,
)


class DiskStore:
    """A `broker.store.Store` in `folder`, which is made if need be, for one thread.

    A file that cannot be read is thrown away, aloud, and an empty one takes its place. Every method
    may raise Failed: the disk is full or does not answer.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "data.mdb"
        try:
            self._open()
        except _CORRUPT as exc:
            logger().error("store discarded", at=str(folder), why=f"it cannot be read: {exc}")
            shutil.rmtree(folder)
            self._open()

    def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Values of the keys in their order; None where there is none."""
        with self._errors_told(), self._env.begin() as txn:
            get = txn.get
            return [get(key) for key in keys]

    def put(
        self, items: Mapping[bytes, bytes], gone: Sequence[bytes] = (), note: bytes | None = None
    ) -> None:
        """Keep all of these, delete the keys in `gone`, replace the note unless it is None.

        Raises
        ------
        Failed
            The file is not as this object left it, or the disk is full. Nothing was kept.
        """
        self._refuse_another_file()
        pages = {key: value for key, value in items.items() if b"#" in key}
        objects = items if not pages else {k: v for k, v in items.items() if k not in pages}
        # each may copy its page, and split it
        room = sum(map(len, items.values())) + 2 * _PAGE_BYTES * (len(items) + len(gone) + 8)
        if self._free() < room:
            self._grow(room)
        while True:
            try:
                with self._errors_told(), self._env.begin(write=True) as txn:
                    itself = self._write(
                        txn, objects, pages, gone, self.note if note is None else note
                    )
            except lmdb.MapFullError:
                self._grow(room)
            else:
                self._itself = itself
                return

    @property
    def note(self) -> bytes:
        """What the last `put` with a note said; b"" at first."""
        return self._itself[_HEAD.size :]

    def clear(self) -> None:
        """Forget everything, the note too, and give the disk its room back."""
        self.close()
        shutil.rmtree(self._path.parent, ignore_errors=True)
        self._open()

    def close(self) -> None:
        """Let go of the file; what was put is in it."""
        self._env.close()
        os.close(self._file)

    def __len__(self) -> int:
        """How many objects it holds; pages are not counted."""
        return int(self._env.stat()["entries"]) - self._n_pages() - 1

    @property
    def nbytes(self) -> int:
        """Bytes of the file's pages that are in use."""
        stat = self._env.stat()
        pages = stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
        return int(pages * _PAGE_BYTES)

    def _open(self) -> None:
        """Open the file, or make it."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            size = self._path.stat().st_size if self._path.exists() else 0
            # The map is written in place: 5 us a put of 1.4 kB and 7 of 9 kB, against 10 and 15
            # where each page goes through pwrite (1 million objects, 1,500 a transaction).
            self._env = lmdb.open(
                str(self._path.parent),
                map_size=max(size, _FIRST_BYTES),
                sync=False,
                metasync=False,
                writemap=True,
                readahead=False,
                max_spare_txns=1,
            )
        except _CORRUPT:
            raise
        except (OSError, lmdb.Error) as exc:
            raise self._unable(exc) from exc
        self._file = os.open(self._path, os.O_RDWR)
        self._deleted = False
        try:
            info = self._env.info()
            if 0 < size < (info["last_pgno"] + 1) * _PAGE_BYTES:
                msg = "it was cut off"
                raise lmdb.CorruptedError(msg)
            self._reserve(info["map_size"])
            with self._env.begin(write=True) as txn:
                self._itself = txn.get(_ITSELF, b"")
                if not self._itself:
                    self._itself = _HEAD.pack(os.urandom(8), 0)
                    txn.put(_ITSELF, self._itself)
        except BaseException:
            self.close()
            raise

    def _write(
        self,
        txn: lmdb.Transaction,
        objects: Mapping[bytes, bytes],
        pages: Mapping[bytes, bytes],
        gone: Sequence[bytes],
        note: bytes,
    ) -> bytes:
        """All of a `put`; what the store says of itself from now on."""
        if txn.get(_ITSELF) != self._itself:
            self._refuse("another process wrote into it")
        cursor = txn.cursor()
        cursor.putmulti(objects.items())
        before = txn.stat()["entries"]
        cursor.putmulti(pages.items())
        n_pages = self._n_pages() + txn.stat()["entries"] - before
        for key in gone:
            n_pages -= txn.delete(key) and b"#" in key
        itself = _HEAD.pack(os.urandom(8), n_pages) + note
        txn.put(_ITSELF, itself)
        return itself

    def _n_pages(self) -> int:
        return int(_HEAD.unpack_from(self._itself)[1])

    def _free(self) -> int:
        """Bytes behind the last page that was ever in use; those between may be free as well."""
        info = self._env.info()
        return int(info["map_size"] - info["last_pgno"] * _PAGE_BYTES)

    def _grow(self, room: int) -> None:
        """Grow before a put, not within it: that would have to be done again."""
        size = self._env.info()["map_size"]
        size += -(-max(size // 4, room) // _GROW_BYTES) * _GROW_BYTES
        self._reserve(size)
        self._env.set_mapsize(size)

    def _reserve(self, size: int) -> None:
        """Have the disk give the whole map its blocks: a write into a hole that it has no room for
        would kill the process."""
        try:
            os.posix_fallocate(self._file, 0, size)
        except OSError as exc:
            raise self._unable(exc) from exc

    def _refuse_another_file(self) -> None:
        here = os.fstat(self._file)
        try:
            there = os.stat(self._path)
        except FileNotFoundError:
            if not self._deleted:
                self._deleted = True
                logger().warning(
                    "the store's file was deleted; goes on, and will restore at the next start",
                    at=str(self._path),
                )
            return
        if (here.st_dev, here.st_ino) != (there.st_dev, there.st_ino):
            self._refuse("another file stands in its place")

    @contextmanager
    def _errors_told(self) -> Iterator[None]:
        """LMDB's errors in our words."""
        try:
            yield
        except lmdb.MapFullError:
            raise
        except _CORRUPT as exc:
            shutil.rmtree(self._path.parent, ignore_errors=True)
            msg = f"the store {self._path} is corrupt ({exc}): it was thrown away; start again"
            raise Failed(msg) from exc
        except lmdb.Error as exc:
            raise self._unable(exc) from exc

    def _refuse(self, why: str) -> NoReturn:
        msg = (
            f"the store {self._path} no longer stands where the batch began: {why}. Nothing is "
            "lost: what was committed is in Kafka; start again"
        )
        raise Failed(msg)

    def _unable(self, exc: Exception) -> Failed:
        return Failed(
            f"the store {self._path} cannot be written: {exc}. Nothing is lost: what was committed "
            "is in Kafka. Make room, or name another folder with --state-dir, and start again"
        )
