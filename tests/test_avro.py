"""Avro read into rows and back, case by case: what the format allows and what a wire may lie."""

from __future__ import annotations

import io
import struct
import tracemalloc
from typing import Any

import fastavro
import numpy as np
import pytest

from broker import bytewise as ops
from broker.avro import TRUNCATED, Reader, SchemaError, Table, explain
from broker.avro_write import BESIDE
from broker.avro_writer import Writer
from broker.records import SPAN


def record(*fields: tuple[str, Any], name: str = "Top") -> dict[str, Any]:
    return {
        "type": "record",
        "name": name,
        "fields": [{"name": n, "type": t} for n, t in fields],
    }


def encode(schema: Any, *data: Any) -> list[bytes]:
    values = []
    for datum in data:
        out = io.BytesIO()
        fastavro.schemaless_writer(out, schema, datum)
        values.append(out.getvalue())
    return values


def table(**columns: str | np.dtype) -> Table:
    return Table(np.dtype(list(columns.items())), {name: name for name in columns})


def zigzag(value: int) -> bytes:
    bits, out = (value << 1) ^ (value >> 63), bytearray()
    while bits > 127:
        out.append(bits & 127 | 128)
        bits >>= 7
    return bytes([*out, bits])


ITEM = record(("x", "long"), ("y", ["null", "float"]), name="Item")
POINTS = record(("id", "long"), ("points", {"type": "array", "items": ITEM}), ("end", "int"))
TABLES = {"": table(id="i8", end="i4"), "points": table(x="i8", y="f4")}
DATUM = {"id": 7, "points": [{"x": i, "y": i / 2 if i % 3 else None} for i in range(9)], "end": -5}


def test_a_record_with_an_array() -> None:
    (value,) = encode(POINTS, DATUM)
    found = Reader(POINTS, TABLES).read([value, value])
    assert found.status.tolist() == [0, 1]
    assert found.rows[""].tolist() == [(7, -5)] * 2
    assert found.first["points"].tolist() == [0, 9, 18]
    assert found.rows["points"]["x"].tolist() == [*range(9)] * 2
    expected = [np.nan if p["y"] is None else p["y"] for p in DATUM["points"]]
    np.testing.assert_array_equal(found.rows["points"]["y"][9:], expected)


def test_every_truncation_is_seen_and_harms_no_neighbour() -> None:
    (value,) = encode(POINTS, DATUM)
    reader = Reader(POINTS, TABLES)
    values = [value[:n] for n in range(len(value))]
    found = reader.read([value, *values, value])
    assert found.status.tolist() == [0, *[TRUNCATED] * len(value), 1]
    assert len(found.rows["points"]) == 18
    assert found.first["points"].tolist() == [0, 9, 18]


def test_a_datum_ends_exactly_at_its_end() -> None:
    (value,) = encode(POINTS, DATUM)
    found = Reader(POINTS, TABLES).read([value + b"\0"])
    assert explain(found.status[0]) == "bytes left over at the end"
    assert len(found.rows[""]) == len(found.rows["points"]) == 0


def test_parts_of_one_object() -> None:
    values = encode(POINTS, DATUM, {"id": 8, "points": [], "end": 1})
    whole = b"head" + b"".join(values) + b"tail"
    edge = 4 + len(values[0])
    start, end = np.array([4, edge]), np.array([edge, len(whole) - 4])
    found = Reader(POINTS, TABLES).read([whole, whole], start, end)
    assert found.rows[""]["id"].tolist() == [7, 8]
    for bad in ([-1, 4], [5, 4], [4, len(whole) + 1]):
        with pytest.raises(ValueError, match="inside"):
            Reader(POINTS, TABLES).read([whole], np.array(bad[:1]), np.array(bad[1:]))
    with pytest.raises(TypeError, match="bytes"):
        Reader(POINTS, TABLES).read([memoryview(whole)])  # type: ignore[list-item]


def test_a_container_block_is_split_into_its_data() -> None:
    values = encode(POINTS, *({**DATUM, "id": i} for i in range(5)))
    whole = b"".join(values)
    reader = Reader(POINTS, TABLES)
    edges = reader.split(whole, 5)
    assert np.diff(edges).tolist() == [len(v) for v in values]
    broken = reader.split(b"**" + whole[:-3], 5, 2)
    found = reader.read([b"**" + whole[:-3]] * 5, broken[:-1], broken[1:])
    assert found.status.tolist() == [0, 1, 2, 3, TRUNCATED]
    left_over = reader.split(whole, 4)
    assert left_over[-1] == len(whole)
    assert len(reader.split(whole, 1 << 62)) == 7  # five data and an empty sixth
    assert reader.split(b"", 1).tolist() == [0, 0]


@pytest.mark.parametrize("size_is_right", [True, False])
def test_blocks_may_say_their_size(size_is_right: bool) -> None:
    one = zigzag(5) + b"\0"  # x = 5, y null
    size = zigzag(2 * len(one) + (0 if size_is_right else 1))
    value = zigzag(7) + zigzag(-2) + size + one * 2 + zigzag(1) + one + b"\0" + zigzag(1)
    found = Reader(POINTS, TABLES).read([value])
    if size_is_right:
        assert found.rows["points"]["x"].tolist() == [5, 5, 5]
        assert Reader(POINTS, {"": TABLES[""]}).read([value]).rows[""].tolist() == [(7, 1)]
    else:
        assert explain(found.status[0]).startswith("array block")


@pytest.mark.parametrize(("count", "size"), [(-1, -1), (-1, -(1 << 63)), (-(1 << 63), 2)])
def test_no_length_is_negative(count: int, size: int) -> None:
    value = zigzag(7) + zigzag(count) + zigzag(size) + zigzag(5) + b"\0" * 2 + zigzag(1)
    for tables in (TABLES, {"": TABLES[""]}):
        assert explain(Reader(POINTS, tables).read([value]).status[0]) == "negative length"


@pytest.mark.parametrize("count", [1 << 62, -(1 << 63), -(1 << 62), 1 << 20, -(1 << 20)])
@pytest.mark.parametrize("items", ["Item", "null", "long", "double"])
def test_a_lying_count_allocates_nothing(count: int, items: str) -> None:
    schema = record(("a", {"type": "array", "items": ITEM if items == "Item" else items}))
    tables = {"a": table(x="i8")} if items == "Item" else {"": table(end="i4")}
    value = zigzag(count) + (zigzag(20) if count < 0 else b"") + b"\x02\0" * 300
    Reader(schema, tables).read([value])  # compiles what a cold cache lacks
    reader = Reader(schema, tables)
    reader.read([b"\0"])
    tracemalloc.start()
    found = reader.read([value])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.status[0] < 0
    assert peak < 1 << 20


def test_a_table_of_items_without_bytes_is_refused() -> None:
    empty = record(name="Empty")
    with pytest.raises(SchemaError, match="no bytes"):
        Reader(record(("a", {"type": "array", "items": empty})), {"a": table(x="i4")})


@pytest.mark.parametrize(
    ("kind", "value", "status"),
    [
        ("long", zigzag(-(1 << 63)), 0),
        ("long", zigzag((1 << 63) - 1), 0),
        ("long", b"\xff" * 9 + b"\x02", ops.OVERLONG),
        ("long", b"\x80" * 10 + b"\0", ops.OVERLONG),
        ("long", b"\x80" * 9, TRUNCATED),
        ("int", zigzag((1 << 31) - 1), 0),
        ("int", zigzag(1 << 31), ops.OUT_OF_RANGE),
        ("int", zigzag(-(1 << 31) - 1), ops.OUT_OF_RANGE),
        ({"type": "enum", "name": "E", "symbols": ["a", "b"]}, zigzag(1), 0),
        ({"type": "enum", "name": "E", "symbols": ["a", "b"]}, zigzag(2), ops.OUT_OF_RANGE),
        ({"type": "enum", "name": "E", "symbols": ["a", "b"]}, zigzag(-1), ops.OUT_OF_RANGE),
        ("boolean", b"\2", ops.NOT_BOOLEAN),
        (["null", "long"], zigzag(2), ops.BRANCH),
        (["null", "long"], zigzag(-1), ops.BRANCH),
        (["null", "long", "string"], zigzag(3), ops.BRANCH),
        (["null", "long", "string"], zigzag(-1), ops.BRANCH),
    ],
)
def test_numbers_at_their_limits(kind: Any, value: bytes, status: int) -> None:
    schema = record(("x", kind))
    found = Reader(schema, {"": table(x="i8")}).read([value])
    assert found.status.tolist() == [status]
    if status == 0:
        names = {"a": 0, "b": 1}
        expected = fastavro.schemaless_reader(io.BytesIO(value), schema)["x"]
        assert found.rows[""]["x"][0] == names.get(expected, expected)
    skipped = Reader(schema, {"": table(other="i8")}).read([value])
    assert skipped.status[0] == (
        status if status not in (-7, -9) else 0
    )  # values are not looked at


@pytest.mark.parametrize("size", ["i1", "i2", "i4", "u1", "u2", "u4"])
def test_a_number_must_fit_its_column(size: str) -> None:
    reader = Reader(record(("x", "long")), {"": table(x=size)})
    low, high = np.iinfo(size).min, np.iinfo(size).max
    found = reader.read([zigzag(int(v)) for v in (low - 1, low, high, high + 1)])
    assert found.status.tolist() == [ops.OUT_OF_RANGE, 0, 1, ops.OUT_OF_RANGE]
    assert found.rows[""]["x"].tolist() == [low, high]


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (b"", 0),
        (b"abcd", 0),
        ("ä€".encode(), ops.TOO_LONG),
        ("€a".encode(), 0),
        (b"abcde", ops.TOO_LONG),
        (b"ab\0", ops.NUL),
        (b"a\0b", 0),
        (b"\xc3", ops.NOT_UTF8),
    ],
)
def test_strings(text: bytes, status: int) -> None:
    schema = record(("s", ["null", "string"]))
    value = zigzag(1) + zigzag(len(text)) + text
    found = Reader(schema, {"": table(s="S4")}).read([value])
    assert found.status.tolist() == [status]
    if status == 0:
        assert found.rows[""]["s"].tolist() == [text]
    spans = Reader(schema, {"": table(s=SPAN)}).read([value])
    assert spans.status.tolist() == [ops.NOT_UTF8 if status == ops.NOT_UTF8 else 0]
    if spans.status[0] == 0:
        assert spans.heap.tobytes() == text
    for length in (-1, len(text) + 1, (1 << 63) - 1):
        lie = Reader(schema, {"": table(s="S4")}).read([zigzag(1) + zigzag(length) + text])
        assert lie.status[0] == (ops.NEGATIVE if length < 0 else TRUNCATED)


def test_what_is_wanted_may_lie_deep_and_feed_several_columns() -> None:
    inner = record(("a", "int"), ("b", ["double", "null"]), name="Inner")
    schema = record(
        ("one", ["null", inner]),
        ("m", {"type": "map", "values": {"type": "array", "items": "Inner"}}),
        ("two", "Inner"),
        ("flag", ["null", "boolean"]),
        ("when", {"type": "long", "logicalType": "timestamp-millis"}),
    )
    dtype = np.dtype(
        [("a", "i4"), ("again", "f8"), ("when", "i8"), ("in", [("b", "f8")]), ("f", "f8")]
    )
    fields = {"a": "two.a", "again": "two.a", "when": "when", "in.b": "one.b", "f": "flag"}
    default = np.zeros(1, dtype)[0]
    default["in"]["b"], default["f"] = -1, -2
    reader = Reader(schema, {"": Table(dtype, fields, default)})
    data = [
        {"one": {"a": 1, "b": 2.5}, "m": {"k": [{"a": 1, "b": None}]}, "flag": True},
        {"one": None, "m": {}, "flag": None},
    ]
    rest = {"two": {"a": 9, "b": None}, "when": 77}
    found = reader.read(encode(schema, *({**d, **rest} for d in data)))
    assert found.rows[""].tolist() == [(9, 9.0, 77, (2.5,), 1.0), (9, 9.0, 77, (-1.0,), -2.0)]
    assert reader.missing == {"": ()}
    older = Reader(record(("two", inner)), {"": Table(dtype, fields, default)})
    assert older.missing == {"": ("when", "in.b", "f")}


def test_a_string_leaves_nothing_of_the_default() -> None:
    dtype = np.dtype([("s", "S6")])
    reader = Reader(
        record(("s", ["null", "string"])),
        {"": Table(dtype, {"s": "s"}, np.array([(b"absent",)], dtype)[0])},
    )
    assert reader.read([b"\0", b"\x02\x02x"]).rows[""]["s"].tolist() == [b"absent", b"x"]


@pytest.mark.parametrize("behind", [0, 100])  # near the datum's end tags are passed with more care
def test_a_run_of_options_is_passed_tag_by_tag(behind: int) -> None:
    kinds = (["float", "null"] if i > 7 else ["null", "float"] for i in range(12))
    schema = record(*((f"f{i}", kind) for i, kind in enumerate(kinds)), ("rest", "bytes"))
    reader = Reader(schema, {"": table(other="i4")})
    datum = {f"f{i}": None if i % 3 else 1.5 for i in range(12)}
    (value,) = encode(schema, {**datum, "rest": bytes(behind)})
    assert reader.read([value]).status.tolist() == [0]
    at = 0
    for i in range(12):
        for tag in (1, 4, 255):
            broken = value[:at] + bytes([tag]) + value[at + 1 :]
            assert reader.read([broken]).status.tolist() == [ops.BRANCH]
        at += 1 if i % 3 else 5


def test_unions_of_many_branches_are_read_where_they_fit() -> None:
    schema = record(("x", ["string", "null", "long", {"type": "array", "items": "int"}, "double"]))
    values = encode(schema, {"x": "no"}, {"x": None}, {"x": 5}, {"x": [1, 2]}, {"x": 0.5})
    numbers = Reader(schema, {"": table(x="i8")}).read(values)
    assert numbers.rows[""]["x"].tolist() == [0, 0, 5, 0, 0]
    texts = Reader(schema, {"": table(x="S4")}).read(values)
    assert texts.rows[""]["x"].tolist() == [b"no", b"", b"", b"", b""]


NESTED: Any = "int"
for _ in range(100):
    NESTED = {"type": "array", "items": NESTED}
DOUBLING = record(("x", "string"), name="D0")
for i in range(1, 40):
    DOUBLING = record(("a", DOUBLING), ("b", f"D{i - 1}"), name=f"D{i}")


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        (record(("next", ["null", "Top"])), "holds itself"),
        (record(("x", "Unheard")), "before it defines"),
        (record(("x", NESTED)), "types deep"),
        (DOUBLING, "too large"),
        (record(("x", "int"), ("x", "int")), "two fields"),
        (record(("x", {"type": "fixed", "name": "F", "size": 1 << 40})), "size"),
        ({"type": "record"}, "not an Avro schema"),
        ({"type": "record", "name": "R", "fields": 3}, "not an Avro schema"),
        (None, "not an Avro schema"),
        (record(("end", "string")), r"'end' is string .* int32"),
        (record(("end", ["null", "double"])), "'end' is double"),
        (record(("end", ["null", "string", "double"])), "'end' is null or string or double"),
        (record(("end", {"type": "array", "items": "int"})), "'end' is array"),
    ],
)
def test_schemas_that_are_refused(schema: Any, words: str) -> None:
    with pytest.raises(SchemaError, match=words):
        Reader(schema, {"": table(end="i4")})


def test_columns_that_are_refused() -> None:
    with pytest.raises(TypeError, match="no field 'y'"):
        Reader(record(("x", "int")), {"": Table(np.dtype([("x", "i4")]), {"y": "x"})})
    with pytest.raises(TypeError, match="of type"):
        Reader(record(("x", "int")), {"": table(x="M8[s]")})


# The writer.


def test_what_is_written_equals_fastavro() -> None:
    rows = {"": np.array([(7, -5), (8, 0)], TABLES[""].dtype)}
    rows["points"] = np.array([(1, np.nan), (2, 0.0), (3, -1.5)], TABLES["points"].dtype)
    first = {"points": np.array([0, 0, 3])}
    points = [{"x": 1, "y": None}, {"x": 2, "y": 0.0}, {"x": 3, "y": -1.5}]
    expected = encode(
        POINTS, {"id": 7, "points": [], "end": -5}, {"id": 8, "points": points, "end": 0}
    )
    writer = Writer(POINTS, TABLES)
    assert writer.write(rows, first) == expected
    framed = Writer(POINTS, TABLES, before=b"**", behind=b"-", sized=True)
    assert framed.write(rows, first) == [
        b"**" + encode("long", len(v))[0] + v + b"-" for v in expected
    ]
    late = {"points": first["points"][1:]}
    assert writer.write({**rows, "": rows[""][1:]}, late) == expected[1:]
    strided = {k: np.repeat(v, 2)[::2] for k, v in rows.items()}
    assert writer.write(strided, first) == expected


def test_constants_defaults_and_nulls() -> None:
    schema = record(
        ("name", "string"),
        ("flag", ["null", "boolean"]),
        ("kind", {"type": "enum", "name": "E", "symbols": ["a", "b"]}),
        ("inner", ["null", record(("n", ["null", "long"]), ("k", "E"), name="I")]),
        ("blob", ["null", "bytes"]),
        ("text", ["string", "null"]),
    )
    schema["fields"].append({"name": "extra", "type": ["null", "int"], "default": None})
    dtype = np.dtype([("flag", "u1"), ("n", "i8"), ("k", "u1"), ("blob", SPAN), ("text", "S3")])
    default = np.zeros(1, dtype)[0]
    default["flag"] = 2
    fields = {"flag": "flag", "n": "inner.n", "k": "inner.k", "blob": "blob", "text": "text"}
    writer = Writer(schema, {"": Table(dtype, fields, default)}, {"name": "Nightjar", "kind": "b"})
    rows = np.array([(2, 0, 0, (0, 0), b""), (0, 5, 1, (1, 2), b"\xc3\xa4")], dtype)
    expected = encode(
        schema,
        {"name": "Nightjar", "flag": None, "kind": "b", "inner": {"n": None, "k": "a"}},
        {
            "name": "Nightjar",
            "flag": False,
            "kind": "b",
            "inner": {"n": 5, "k": "b"},
            "blob": b"bc",
            "text": "ä",
        },
    )
    assert writer.write({"": rows}, {}, np.frombuffer(b"abcd", np.uint8)) == expected


def test_numbers_of_every_length_equal_fastavro() -> None:
    edges = [
        sign * (1 << bits) + step for bits in range(63) for sign in (1, -1) for step in (-1, 0, 1)
    ]
    numbers = [*edges, (1 << 63) - 1, -(1 << 63)]
    rows = np.array([(n, 1) for n in numbers], [("x", "i8"), ("y", "i8")])
    schema = record(("x", "long"), ("y", "long"))
    expected = encode(schema, *({"x": n, "y": 1} for n in numbers))
    assert (
        Writer(schema, {"": Table(rows.dtype, {"x": "x", "y": "y"})}).write({"": rows}, {})
        == expected
    )


def test_what_stands_beside_and_what_is_avro_already() -> None:
    kind = {"type": "array", "items": "long"}
    schema = record(("x", "long"), ("list", kind), ("y", "int"))
    beside = table(list=SPAN, y="i4")
    heap = np.frombuffer(b"".join(encode(kind, [1, 500], [])), np.uint8)
    rows = {"": np.array([(7,), (8,)], [("x", "i8")])}
    rows[BESIDE] = np.array([((0, len(heap) - 1), -5), ((len(heap) - 1, 1), 6)], beside.dtype)
    writer = Writer(schema, {"": table(x="i8"), BESIDE: beside})
    expected = encode(schema, {"x": 7, "list": [1, 500], "y": -5}, {"x": 8, "list": [], "y": 6})
    assert writer.write(rows, {}, heap) == expected
    with pytest.raises(ValueError, match="1 rows beside 2"):
        writer.write({**rows, BESIDE: rows[BESIDE][:1]}, {}, heap)
    rows[BESIDE]["list"]["length"][1] = 2
    with pytest.raises(ValueError, match="value 1 lies outside the heap"):
        writer.write(rows, {}, heap)


def test_what_cannot_be_written_is_said() -> None:
    tables = {"": table(x="i8", s="S4", b=SPAN)}
    writer = Writer(record(("x", "int"), ("s", "string"), ("b", "bytes")), tables)
    heap = np.zeros(4, np.uint8)
    for row, words in [
        ((1 << 31, b"", (0, 0)), "value 1 .* range"),
        ((0, b"\xff", (0, 0)), "value 1 .* UTF-8"),
        ((0, b"", (0, 5)), "outside the heap"),
        ((0, b"", (5, 0)), "outside the heap"),
        ((0, b"", (0, -1)), "outside the heap"),
        ((0, b"", (1, (1 << 63) - 1)), "outside the heap"),
    ]:
        rows = np.array([(0, b"", (0, 0)), row], tables[""].dtype)
        with pytest.raises(ValueError, match=words):
            writer.write({"": rows}, {}, heap)
    with pytest.raises(TypeError, match="are"):
        writer.write({"": rows[["x"]]}, {}, heap)
    points = Writer(POINTS, TABLES)
    one = {"": np.zeros(1, TABLES[""].dtype), "points": np.zeros(2, TABLES["points"].dtype)}
    for first in ([0, 3], [-1, 2], [2, 1], [0, 1, 2]):
        with pytest.raises(ValueError, match="does not divide"):
            points.write(one, {"points": np.array(first)})


@pytest.mark.parametrize(
    ("fields", "constants", "words"),
    [
        ({"x": "x"}, {}, "'y' has neither"),
        ({"x": "x"}, {"y": "text"}, "'text' is no"),
        ({"x": "x", "y": "nothing"}, {"y": 0}, "no nothing"),
        ({"x": "x", "y": "y"}, {}, "column 'y' is float64"),
        ({"x": "x", "y": "x"}, {"y": 0}, "two columns"),
    ],
)
def test_writers_that_are_refused(fields: dict[str, str], constants: Any, words: str) -> None:
    schema = record(("x", "long"), ("y", ["null", "int"]))
    with pytest.raises(SchemaError, match=words):
        Writer(schema, {"": Table(np.dtype([("x", "i8"), ("y", "f8")]), fields)}, constants)


def test_floats_keep_their_bits() -> None:
    schema = record(("a", "double"), ("b", "float"), ("c", "float"))
    tables = {"": table(a="f8", b="f8", c="f4")}
    values = [struct.pack("<dff", v, v, v) for v in (0.1, -0.0, np.inf, 5e-324, 3.4e38)]
    found = Reader(schema, tables).read(values)
    assert Writer(schema, tables).write(found.rows, {}) == values
