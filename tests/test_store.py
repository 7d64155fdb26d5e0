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
