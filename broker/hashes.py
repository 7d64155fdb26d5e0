"""Hashes of alerts: Kafka's, which names an object's partition, and ours, which audits add up."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from broker.records import SURVEYS

_SEED = np.uint64(0x9E3779B97F4A7C15)
_PRIME = np.uint64(0x100000001B3)
_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_SHIFT = (np.uint64(30), np.uint64(27), np.uint64(31))
_WORD = 0xFFFFFFFF
#: What stands before the object in a key, a row per survey, NUL behind it.
_PREFIXES = np.array([f"{s}:".encode() for s in SURVEYS], "S16").view("u1").reshape(-1, 16)


@njit(cache=True, nogil=True)
def murmur2(data: NDArray[np.uint8], length: int) -> int:
    """Kafka's hash of a key, 0 to 2^32 - 1 (org.apache.kafka.common.utils.Utils.murmur2)."""
    h: Any = 0x9747B28C ^ length
    whole = length & ~3
    for i in range(0, whole, 4):
        k: Any = 0
        for j in range(4):
            k |= np.int64(data[i + j]) << (8 * j)
        k = (k * 0x5BD1E995) & _WORD
        k = ((k ^ (k >> 24)) * 0x5BD1E995) & _WORD
        h = ((h * 0x5BD1E995) & _WORD) ^ k
    for j in range(length - whole):
        h ^= np.int64(data[whole + j]) << (8 * j)
    if length > whole:
        h = (h * 0x5BD1E995) & _WORD
    h = ((h ^ (h >> 13)) * 0x5BD1E995) & _WORD
    found: int = h ^ (h >> 15)
    return found


@njit(cache=True, nogil=True)
def _used(text: NDArray[np.uint8]) -> int:
    """Length of an S column's string."""
    n = len(text)
    while n > 0 and text[n - 1] == 0:
        n -= 1
    return n


@njit(cache=True, nogil=True)
def _partitions(
    survey: NDArray[np.uint8],
    name: NDArray[np.uint8],
    prefixes: NDArray[np.uint8],
    count: int,
) -> NDArray[np.int32]:
    key = np.empty(prefixes.shape[1] + name.shape[1], np.uint8)
    found = np.empty(len(survey), np.int32)
    for i in range(len(survey)):
        prefix = prefixes[survey[i]]
        n, m = _used(prefix), _used(name[i])
        key[:n] = prefix[:n]
        key[n : n + m] = name[i, :m]
        found[i] = (murmur2(key, n + m) & 0x7FFFFFFF) % count
    return found


@njit(cache=True, nogil=True)
def _mixed(h: np.uint64, value: int) -> np.uint64:
    """SplitMix64's finalizer (Steele, Lea & Flood 2014) over hash and value."""
    h = (h + _SEED) ^ np.uint64(value)
    h = (h ^ (h >> _SHIFT[0])) * _MIX[0]
    h = (h ^ (h >> _SHIFT[1])) * _MIX[1]
    return h ^ (h >> _SHIFT[2])


@njit(cache=True, nogil=True)
def _text(h: np.uint64, text: NDArray[np.uint8]) -> np.uint64:
    """FNV-1a over the string, then its length, so that two strings in a row cannot shift."""
    n = _used(text)
    for i in range(n):
        h = (h ^ np.uint64(text[i])) * _PRIME
    found: np.uint64 = _mixed(h, n)
    return found


@njit(cache=True, nogil=True)
def _alert_hashes(
    numbers: NDArray[np.int64], name: NDArray[np.uint8], topic: NDArray[np.uint8]
) -> NDArray[np.uint64]:
    found = np.empty(len(numbers), np.uint64)
    for i in range(len(numbers)):
        h = np.uint64(0)
        for j in range(numbers.shape[1]):
            h = _mixed(h, numbers[i, j])
        found[i] = _text(_text(h, name[i]), topic[i])
    return found


def _characters(column: NDArray[np.bytes_]) -> NDArray[np.uint8]:
    """(n, width) u1 of an S column."""
    width = column.dtype.itemsize
    return np.ascontiguousarray(column).view(np.uint8).reshape(len(column), width)


def partitions(alerts: NDArray[np.void], count: int) -> NDArray[np.int32]:
    """Partition of each alert's object among `count`, as Kafka's Java client chooses it.

    Parameters
    ----------
    alerts
        (n,) rows with ``survey`` and ``object``.

    Returns
    -------
    (n,) i4: (murmur2(key) & 0x7fffffff) % count of the key ``survey:object``.
    """
    survey = np.ascontiguousarray(alerts["survey"])
    if len(survey) and int(survey.max()) >= len(SURVEYS):
        msg = f"survey {survey.max()} is none of {SURVEYS}"
        raise ValueError(msg)
    if count < 1:
        msg = f"{count} partitions"
        raise ValueError(msg)
    found: NDArray[np.int32] = _partitions(survey, _characters(alerts["object"]), _PREFIXES, count)
    return found


def alert_hashes(alerts: NDArray[np.void]) -> NDArray[np.uint64]:
    """64 bits that name an alert and where its packet stood; the same on every machine.

    Of (survey, alert_id, partition, offset, record, object, topic): sums mod 2^64 of these tell
    whether two hops saw the same set of alerts.
    """
    fields = ("survey", "alert_id", "partition", "offset", "record")
    numbers = np.empty((len(alerts), len(fields)), np.int64)
    for j, field in enumerate(fields):
        numbers[:, j] = alerts[field]
    found: NDArray[np.uint64] = _alert_hashes(
        numbers, _characters(alerts["object"]), _characters(alerts["topic"])
    )
    return found
