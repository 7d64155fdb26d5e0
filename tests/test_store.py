"""A store keeps the last value of each key, and knows how much it holds."""

from __future__ import annotations

from broker.store import MemoryStore


def test_the_memory_store() -> None:
    store = MemoryStore()
    store.put({b"a": b"12", b"b": b"345"})
    store.put({b"a": b"6789"})
    assert store.get([b"b", b"c", b"a"]) == [b"345", None, b"6789"]
    assert (len(store), store.nbytes) == (2, 7)
    store.clear()
    assert (len(store), store.nbytes, store.get([b"a"])) == (0, 0, [None])


def test_pages_are_no_objects_and_go_with_the_put_that_says_so() -> None:
    store = MemoryStore()
    store.put({b"ztf:a": b"1", b"ztf:a#0": b"22", b"ztf:a#1": b"333"})
    assert (len(store), store.nbytes) == (1, 6)
    store.put({b"ztf:a": b"55555"}, gone=[b"ztf:a#0", b"ztf:a#1", b"ztf:a#9"])
    assert (len(store), store.nbytes, store.get([b"ztf:a#0"])) == (1, 5, [None])


def test_the_note_stands_until_another() -> None:
    store = MemoryStore()
    assert store.note == b""
    store.put({}, note=b"at 7")
    store.put({b"a": b"1"})
    assert store.note == b"at 7"
    store.put({}, note=b"")
    assert store.note == b""
    store.put({}, note=b"at 9")
    store.clear()
    assert store.note == b""
