"""Loads, stores and copies at raw addresses, for kernels that work on bytes they do not own.

Nothing here checks a bound: the caller has done so. Integers are loaded as int64. Addresses are
int64; byte order is the machine's (little-endian, as Avro's and as all that Numba serves).
"""

from __future__ import annotations

from typing import Any

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic


def _load(kind: Any) -> Any:
    wide = types.int64 if kind in types.integer_domain else kind

    @intrinsic
    def load(typing: Any, address: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            pointer = builder.inttoptr(args[0], context.get_data_type(kind).as_pointer())
            value = builder.load(pointer)
            value.align = 1
            return context.cast(builder, value, kind, wide)

        return wide(types.int64), build

    return load


def _store(kind: Any) -> Any:
    @intrinsic
    def store(typing: Any, address: Any, value: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            pointer = builder.inttoptr(args[0], context.get_data_type(kind).as_pointer())
            builder.store(args[1], pointer).align = 1
            return context.get_dummy_value()

        return types.void(types.int64, kind), build

    return store


load_u1, load_i2 = _load(types.uint8), _load(types.int16)
load_i4, load_u4, load_i8 = _load(types.int32), _load(types.uint32), _load(types.int64)
load_i1, load_u2 = _load(types.int8), _load(types.uint16)
load_f4, load_f8 = _load(types.float32), _load(types.float64)
store_u1, store_i2 = _store(types.uint8), _store(types.int16)
store_i4, store_i8 = _store(types.int32), _store(types.int64)
store_f4, store_f8 = _store(types.float32), _store(types.float64)


@intrinsic
def copy(typing: Any, to: Any, source: Any, length: Any) -> Any:
    """Copy `length` bytes from address `source` to address `to`; they do not overlap."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        byte = context.get_data_type(types.uint8).as_pointer()
        to, source = (builder.inttoptr(a, byte) for a in args[:2])
        cgutils.raw_memcpy(builder, to, source, args[2], 1)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), build


@intrinsic
def clear(typing: Any, to: Any, length: Any) -> Any:
    """Set `length` bytes from address `to` on to zero."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        byte = context.get_data_type(types.uint8).as_pointer()
        cgutils.memset(builder, builder.inttoptr(args[0], byte), args[1], 0)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), build


@intrinsic
def word(typing: Any, array: Any, i: Any) -> Any:
    """``array[i]`` for i >= 0, without the test for i < 0 that Numba puts before each."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(array)(context, builder, args[0]).data
        return builder.load(builder.gep(data, [args[1]], inbounds=True))

    return array.dtype(array, types.int64), build
