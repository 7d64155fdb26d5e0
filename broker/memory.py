"""Loads, stores and copies at raw addresses, for kernels that work on bytes they do not own.

Nothing here checks a bound: the caller has done so. Integers are loaded as int64. Addresses are
int64; byte order is the machine's (little-endian, as Avro's and as all that Numba serves).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray


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


load_u1: Callable[[int], int] = _load(types.uint8)
load_i1: Callable[[int], int] = _load(types.int8)
load_u2: Callable[[int], int] = _load(types.uint16)
load_i2: Callable[[int], int] = _load(types.int16)
load_u4: Callable[[int], int] = _load(types.uint32)
load_i4: Callable[[int], int] = _load(types.int32)
load_i8: Callable[[int], int] = _load(types.int64)
load_f4: Callable[[int], float] = _load(types.float32)
load_f8: Callable[[int], float] = _load(types.float64)
store_u1, store_i2 = _store(types.uint8), _store(types.int16)
store_i4, store_i8 = _store(types.int32), _store(types.int64)
store_f4, store_f8 = _store(types.float32), _store(types.float64)


def _differ(words: int) -> Any:
    @intrinsic
    def differ(typing: Any, at: Any, mask: Any, bits: Any) -> Any:
        """Whether the bytes at `at` are others than `bits` under `mask`."""

        def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            vector = ir.VectorType(ir.IntType(64), words)
            at, mask, bits = (
                builder.load(builder.inttoptr(a, vector.as_pointer()), align=1) for a in args
            )
            rest = builder.and_(builder.xor(at, bits), mask)
            function = ir.FunctionType(ir.IntType(64), [vector])
            reduce = cgutils.get_or_insert_function(
                builder.module, function, f"llvm.vector.reduce.or.v{words}i64"
            )
            some = builder.call(reduce, [rest])
            return builder.icmp_unsigned("!=", some, some.type(0))

        return types.boolean(types.int64, types.int64, types.int64), build

    return differ


differ16, differ32 = _differ(2), _differ(4)


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
def copy32(typing: Any, to: Any, source: Any) -> Any:
    """Copy 32 bytes, in two instructions where a call would take longer."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = ir.VectorType(ir.IntType(64), 4).as_pointer()
        to, source = (builder.inttoptr(a, pointer) for a in args)
        builder.store(builder.load(source, align=1), to, align=1)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), build


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


@njit(cache=True, nogil=True, forceinline=True)
def load_word(address: int, i: int) -> int:
    """Word `i` of the int64s that begin at an address."""
    return load_i8(address + 8 * i)


@njit(cache=True, nogil=True, forceinline=True)
def store_word(address: int, i: int, value: int) -> None:
    """Set word `i` of the int64s that begin at an address."""
    store_i8(address + 8 * i, value)


@njit(cache=True, nogil=True)
def address_of(array: NDArray[Any]) -> int:
    """Where an array begins; Numba's own is unsigned, and a float when anything is added."""
    address: int = np.int64(array.ctypes.data)  # type: ignore[assignment]
    return address
