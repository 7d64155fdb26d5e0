"""Keys and hashes of alerts: Kafka's, which names an object's partition, and ours for audits."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from broker.encoder import text_length
from broker.memory import copy, load_u1, load_u4, store_i8
from broker.objects import put_bytes
from broker.records import ALERT, SURVEYS

_SEED = np.uint64(0x9E3779B97F4A7C15)
_PRIME = np.uint64(0x100000001B3)
_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_SHIFT = (np.uint64(30), np.uint64(27), np.uint64(31))
_WORD = 0xFFFFFFFF
#: What stands before the object in a key, a row of two words per survey, NUL behind it.
_PREFIXES = np.array([f"{s}:".encode() for s in SURVEYS], "S16").view("i8").reshape(-1, 2)
_PREFIX_LENGTHS = np.array([len(s) + 1 for s in SURVEYS], np.int64)
_NAME = ALERT["object"].itemsize
_TOPIC = ALERT["topic"].itemsize
_KEY = 16 + _NAME  #: bytes of a key at most


@njit(cache=True, nogil=True)
def murmur2(at: int, length: int) -> int:
    """Kafka's hash of the key at an address, 0 to 2^32 - 1 (...common.utils.Utils.murmur2)."""
    h: Any = 0x9747B28C ^ length
    stop = at + (length & ~3)
    while at < stop:
        k = (load_u4(at) * 0x5BD1E995) & _WORD
        k = ((k ^ (k >> 24)) * 0x5BD1E995) & _WORD
        h = ((h * 0x5BD1E995) & _WORD) ^ k
        at += 4
    for j in range(length & 3):
        h ^= load_u1(at + j) << (8 * j)
    if length & 3:
        h = (h * 0x5BD1E995) & _WORD
    h = ((h ^ (h >> 13)) * 0x5BD1E995) & _WORD
    found: int = h ^ (h >> 15)
    return found


@njit(cache=True, nogil=True)
def _put_key(to: int, survey: int, name: int) -> int:
    """Write a key from the survey's number and the object's column; its length."""
    n = _PREFIX_LENGTHS[survey]
    store_i8(to, _PREFIXES[survey, 0])
    store_i8(to + 8, _PREFIXES[survey, 1])
    m = text_length(name, _NAME)
    copy(to + n, name, m)
    length: int = n + m
    return length


@njit(cache=True, nogil=True)
def _partitions(
    survey: int,
    name: int,
    step: int,
    key: NDArray[np.uint8],
    count: int,
    found: NDArray[np.int32],
) -> None:
    """The columns are given by the addresses of their first rows, and the bytes between rows; `key`
    is room for one.
    """
    at: int = key.ctypes.data
    for i in range(len(found)):
        length = _put_key(at, load_u1(survey + i * step), name + i * step)
        found[i] = (murmur2(at, length) & 0x7FFFFFFF) % count


@njit(cache=True)
def _keys(survey: int, name: int, step: int, key: NDArray[np.uint8], n: int, values: int) -> None:
    """Keys into the list whose ``id`` is `values`; columns as for `_partitions`."""
    at: int = key.ctypes.data
    for i in range(n):
        length = _put_key(at, load_u1(survey + i * step), name + i * step)
        to = put_bytes(values, i, length)
        if to == 0:
            return
        copy(to, at, length)


@njit(cache=True, nogil=True)
def _mixed(h: np.uint64, value: int) -> np.uint64:
    """SplitMix64's finalizer (Steele, Lea & Flood 2014) over hash and value."""
    h = (h + _SEED) ^ np.uint64(value)
    h = (h ^ (h >> _SHIFT[0])) * _MIX[0]
    h = (h ^ (h >> _SHIFT[1])) * _MIX[1]
    return h ^ (h >> _SHIFT[2])


@njit(cache=True, nogil=True)
def _text(h: np.uint64, at: int, size: int) -> np.uint64:
    """FNV-1a over the string, then its length, so that two strings in a row cannot shift."""
    n = text_length(at, size)
    for i in range(n):
        h = (h ^ np.uint64(load_u1(at + i))) * _PRIME
    found: np.uint64 = _mixed(h, n)
    return found


@njit(cache=True, nogil=True)
def _alert_hashes(
    numbers: NDArray[np.int64], name: int, topic: int, step: int
) -> NDArray[np.uint64]:
    """Strings are given by the addresses of their first rows, and the bytes between rows."""
    found = np.empty(len(numbers), np.uint64)
    for i in range(len(numbers)):
        h = np.uint64(0)
        for j in range(numbers.shape[1]):
            h = _mixed(h, numbers[i, j])
        found[i] = _text(_text(h, name + i * step, _NAME), topic + i * step, _TOPIC)
    return found


def _columns(alerts: NDArray[np.void]) -> tuple[int, int, int, NDArray[np.uint8]]:
    """Addresses of the first survey and the first object, bytes from row to row, room for a key."""
    survey, name = alerts["survey"], alerts["object"]
    if len(survey) and int(survey.max()) >= len(SURVEYS):
        msg = f"survey {survey.max()} is none of {SURVEYS}"
        raise ValueError(msg)
    if name.dtype.itemsize != _NAME:
        msg = f"objects are {name.dtype}, not S{_NAME}"
        raise TypeError(msg)
    return survey.ctypes.data, name.ctypes.data, alerts.strides[0], np.empty(_KEY, np.uint8)


def keys(alerts: NDArray[np.void]) -> list[bytes]:
    """Kafka key of each alert's object, e.g. ``b"ztf:ZTF18aaiscil"``.

    Raises
    ------
    ValueError
        A survey that is none of ours.
    """
    values: list[Any] = [None] * len(alerts)
    _keys(*_columns(alerts), len(alerts), id(values))
    return values


def partitions(alerts: NDArray[np.void], count: int) -> NDArray[np.int32]:
    """Partition of each alert's object among `count`, as Kafka's Java client chooses it.

    Parameters
    ----------
    alerts
        (n,) rows with ``survey`` and ``object``, as in ALERT.

    Returns
    -------
    (n,) i4: (murmur2(key) & 0x7fffffff) % count of the key ``survey:object``.

    Raises
    ------
    ValueError
        A survey that is none of ours, or no partitions.
    """
    if count < 1:
        msg = f"{count} partitions"
        raise ValueError(msg)
    found = np.empty(len(alerts), np.int32)
    _partitions(*_columns(alerts), count, found)
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
    name, topic = (alerts[field].ctypes.data for field in ("object", "topic"))
    found: NDArray[np.uint64] = _alert_hashes(numbers, name, topic, alerts.strides[0])
    return found
