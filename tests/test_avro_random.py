"""Avro read into rows and back against fastavro: random schemas, broken bytes, real packets."""

from __future__ import annotations

import io
import json
import struct
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import pytest
from fastavro.schema import load_schema
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker.avro import Reader, Rows, Table, explain
from broker.avro_writer import Writer
from broker.bytewise import utf8
from broker.records import SPAN

COLUMNS: Mapping[str, Any] = {
    "int": "i4",
    "long": "i8",
    "float": "f4",
    "double": "f8",
    "boolean": "u1",
    "string": "S40",
    "bytes": SPAN,
    "fixed": SPAN,
    "enum": "i2",
}
LEAVES = ["int", "long", "float", "double", "boolean", "string", "bytes"]
#: Unions of more than two branches, whose data fastavro writes without doubt.
WIDE = [
    ["string", "null", "long"],
    ["null", "boolean", "double", "bytes"],
    ["null", "long", "string"],
]


@st.composite
def schemas(draw: Any, *, plain: bool = False) -> Any:
    """A record of records, unions, arrays ...; `plain`: only what a Writer can write anew."""
    number = iter(range(10**6))

    def leaf() -> Any:
        kind = draw(
            st.sampled_from([*LEAVES, "enum", *([] if plain else ["fixed", "null", "date"])])
        )
        if kind == "enum":
            return {"type": "enum", "name": f"E{next(number)}", "symbols": ["a", "b", "c"]}
        if kind == "fixed":
            return {"type": "fixed", "name": f"F{next(number)}", "size": draw(st.integers(0, 5))}
        return {"type": "int", "logicalType": "no-such"} if kind == "date" else kind

    def value(depth: int, arrays: bool = True) -> Any:
        kinds = ["leaf", "leaf", "option", "option"]
        if depth:
            kinds += ["record", *(["array"] if arrays else [])]
        if not plain:
            kinds += ["wide", *(["map", "list", "option record"] if depth else [])]
        kind = draw(st.sampled_from(kinds))
        if kind.startswith("option"):
            inner = record(depth - 1, arrays) if "record" in kind else leaf()
            inner = "int" if inner == "null" else inner
            return ["null", inner] if draw(st.booleans()) else [inner, "null"]
        if kind == "record":
            return record(depth - 1, arrays)
        if kind == "array":
            item = record(depth - 1, False)
            # items that take no bytes are refused, see test_avro
            item["fields"].append({"name": "end", "type": "int"})
            array = {"type": "array", "items": item}
            return array if plain or draw(st.booleans()) else ["null", array]
        if kind == "list":
            return {"type": "array", "items": value(depth - 1, False)}
        if kind == "map":
            return {"type": "map", "values": value(depth - 1, False)}
        return draw(st.sampled_from(WIDE)) if kind == "wide" else leaf()

    def record(depth: int, arrays: bool) -> Any:
        n = draw(st.integers(1, 5))
        fields = [{"name": f"f{i}", "type": value(depth, arrays)} for i in range(n)]
        return {"type": "record", "name": f"R{next(number)}", "fields": fields}

    return record(3, True)


def data(schema: Any) -> st.SearchStrategy[Any]:
    if isinstance(schema, list):
        return st.one_of([data(s) for s in schema])
    kind = schema if isinstance(schema, str) else schema["type"]
    if kind == "record":
        return st.fixed_dictionaries({f["name"]: data(f["type"]) for f in schema["fields"]})
    if kind == "array":
        return st.lists(data(schema["items"]), max_size=4)
    if kind == "map":
        return st.dictionaries(st.text(max_size=3), data(schema["values"]), max_size=3)
    if kind == "enum":
        return st.sampled_from(schema["symbols"])
    if kind == "fixed":
        return st.binary(min_size=schema["size"], max_size=schema["size"])
    # No string that could be taken for a symbol of an enum.
    letters = st.characters(exclude_characters="\0abc", exclude_categories=["Cs"])
    return {
        "null": st.none(),
        "boolean": st.booleans(),
        "int": st.integers(-(1 << 31), (1 << 31) - 1),
        "long": st.integers(-(1 << 63), (1 << 63) - 1),
        "float": st.floats(width=32),
        "double": st.floats(),
        "string": st.text(letters, max_size=10),
        "bytes": st.binary(max_size=10),
    }[kind]


def option(schema: Any) -> Any:
    """x of [null, x] and [x, null], else the schema itself."""
    if isinstance(schema, list) and len(schema) == 2 and "null" in schema:
        return schema[1 - schema.index("null")]
    return schema


def tables_of(schema: Any, wanted: Any) -> dict[str, Table]:
    """Tables for all arrays of records, with the columns that `wanted` says yes to."""
    columns: dict[str, dict[str, Any]] = {"": {}}

    def visit(kind: Any, table: str, path: str) -> None:
        kind = option(kind)
        name = kind if isinstance(kind, str) else kind["type"] if isinstance(kind, dict) else "wide"
        if name == "record":
            for f in kind["fields"]:
                visit(f["type"], table, f"{path}.{f['name']}".lstrip("."))
        elif name == "array" and isinstance(kind["items"], dict) and not table:
            if kind["items"]["type"] == "record":
                columns[path] = {}
                visit(kind["items"], path, "")
        elif name in COLUMNS and wanted():
            columns[table][path] = COLUMNS[name]
        elif name == "wide" and wanted():
            columns[table][path] = "i8" if "long" in kind else "f8"

    visit(schema, "", "")
    columns = {t: c for t, c in columns.items() if c}
    return {
        t: Table(
            np.dtype([(p.replace(".", "_"), d) for p, d in c.items()]),
            {p.replace(".", "_"): p for p in c},
        )
        for t, c in columns.items()
    }


def at(datum: Any, path: str) -> Any:
    for name in path.split("."):
        datum = None if datum is None else datum.get(name)
    return datum


def expect(found: Rows, tables: Mapping[str, Table], data: list[Any], symbols: str = "abc") -> None:
    """The rows are what fastavro says of the same bytes."""
    for path, table in tables.items():
        items = data
        if path:
            lists = [at(d, path) or [] for d in data]
            items = [item for one in lists for item in one]
            assert np.diff(found.first[path]).tolist() == [len(one) for one in lists]
        rows = found.rows[path]
        assert len(rows) == len(items)
        for name, inner in table.fields.items():
            values = [at(item, inner) for item in items]
            column = rows[name]
            if column.dtype == SPAN:
                spans = [found.heap[s : s + n].tobytes() for s, n in column.tolist()]
                assert spans == [v.encode() if isinstance(v, str) else v or b"" for v in values]
            elif column.dtype.kind == "f":
                good = [v if isinstance(v, float | bool) else np.nan for v in values]
                with np.errstate(over="ignore"):
                    np.testing.assert_array_equal(column, np.array(good, column.dtype))
            elif column.dtype.kind == "S":
                assert column.tolist() == [(v or "").encode() for v in values]
            else:
                good = [symbols.index(v) if v in tuple(symbols) else v for v in values]
                assert column.tolist() == [int(v) if isinstance(v, int) else 0 for v in good]


def encode(schema: Any, datum: Any) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema, datum)
    return out.getvalue()


FEW = settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))


@FEW
@given(st.data())
def test_random_schemas_are_read_as_fastavro_reads_them(draw: Any) -> None:
    schema = draw.draw(schemas())
    values = [encode(schema, d) for d in draw.draw(st.lists(data(schema), max_size=4))]
    tables = tables_of(schema, lambda: draw.draw(st.booleans()))
    reader = Reader(schema, tables)
    found = reader.read(values)
    assert found.status.tolist() == [*range(len(values))]
    assert not any(reader.missing.values())
    parsed = fastavro.parse_schema(schema)
    read = [fastavro.schemaless_reader(io.BytesIO(v), parsed) for v in values]
    expect(found, tables, read)
    whole = b"".join(values)
    if all(values):
        assert np.diff(reader.split(whole, len(values))).tolist() == [len(v) for v in values] or (
            not values
        )


def without_zeros(schema: Any, datum: Any) -> Any:
    """The datum as rows can say it: in a union with null, 0, NaN and nothing are null."""
    if isinstance(schema, list):
        inner = option(schema)
        if isinstance(inner, dict):  # an enum: its first symbol is number 0
            return None if datum == inner["symbols"][0] else datum
        if isinstance(datum, float):
            return None if np.isnan(datum) else datum
        return datum or None
    if isinstance(schema, dict) and schema["type"] == "record":
        return {f["name"]: without_zeros(f["type"], datum[f["name"]]) for f in schema["fields"]}
    if isinstance(schema, dict) and schema["type"] == "array":
        return [without_zeros(schema["items"], d) for d in datum]
    return datum


@FEW
@given(st.data())
def test_random_rows_are_written_as_fastavro_writes_them(draw: Any) -> None:
    schema = draw.draw(schemas(plain=True))
    some = draw.draw(st.lists(data(schema), max_size=4))
    tables = tables_of(schema, lambda: True)
    found = Reader(schema, tables).read([encode(schema, d) for d in some])
    expected = [encode(schema, without_zeros(schema, d)) for d in some]
    if "" in tables or found.first:
        assert Writer(schema, tables).write(found.rows, found.first, found.heap) == expected


@given(st.one_of(st.binary(max_size=8), st.text(max_size=6).map(str.encode)))
@settings(deadline=None)
def test_utf8_as_python_has_it(text: bytes) -> None:
    try:
        text.decode()
        good = True
    except UnicodeDecodeError:
        good = False
    array = np.frombuffer(text, np.uint8)
    assert utf8(array.ctypes.data, array.ctypes.data + len(text)) == good


def test_broken_bytes_never_harm() -> None:
    """20,000 mutations: each is read as something, or refused for a reason with a name."""
    point = {
        "type": "record",
        "name": "P",
        "fields": [
            {"name": "x", "type": "long"},
            *({"name": f"f{i}", "type": ["null", "float"]} for i in range(4)),
            {"name": "s", "type": ["string", "null"]},
            {"name": "w", "type": WIDE[1]},
        ],
    }
    top = {
        "type": "record",
        "name": "T",
        "fields": [
            {"name": "id", "type": "string"},
            {"name": "points", "type": ["null", {"type": "array", "items": point}]},
            {"name": "m", "type": {"type": "map", "values": {"type": "array", "items": "int"}}},
            {"name": "b", "type": "bytes"},
        ],
    }
    tables = {
        "": Table(np.dtype([("id", "S12"), ("b", SPAN)]), {"id": "id", "b": "b"}),
        "points": Table(
            np.dtype([("x", "i8"), ("f1", "f4"), ("s", "S8")]), {n: n for n in ("x", "f1", "s")}
        ),
    }
    points = [{"x": i**9, "f1": i / 3, "s": "ab" if i % 2 else None, "w": True} for i in range(8)]
    datum = {"id": "ZTF18", "points": points, "m": {"k": [1, 2], "l": []}, "b": b"x" * 20}
    good = np.frombuffer(encode(top, datum), np.uint8)
    random = np.random.default_rng(5)
    values = []
    for _ in range(20_000):
        value = good.copy()
        places = random.integers(0, len(value), random.integers(1, 4))
        value[places] = random.choice(
            [0, 1, 2, 3, 127, 128, 255, random.integers(256)], len(places)
        )
        values.append(value[: random.integers(len(value) // 2, len(value) + 1)].tobytes())
    found = Reader(top, tables).read(values)
    n_good = np.count_nonzero(found.status >= 0)
    assert 0 < n_good < len(values)
    assert len({explain(code) for code in np.unique(found.status[found.status < 0])}) > 5
    assert len(found.rows[""]) == n_good
    assert found.first["points"][-1] == len(found.rows["points"])
    compared = 0
    for i in random.choice(np.flatnonzero(found.status >= 0), 500):
        try:
            read = fastavro.schemaless_reader(io.BytesIO(values[i]), top)
        except (EOFError, UnicodeDecodeError, IndexError):  # in what we skip by its length
            continue
        a, b = found.first["points"][found.status[i] :][:2]
        assert found.rows["points"]["x"][a:b].tolist() == [p["x"] for p in read["points"] or []]
        compared += 1
    assert compared > 450


# Real packets.

NUMBERS = {
    "int": "i4",
    "long": "i8",
    "float": "f4",
    "double": "f8",
    "boolean": "u1",
    "string": SPAN,
}


def everything(schema: Any, named: dict[str, Any] | None = None) -> dict[str, Table]:
    """Tables of every number and string of a survey's schema, arrays of records included."""
    named = {} if named is None else named
    columns: dict[str, dict[str, str]] = {"": {}}

    def visit(kind: Any, table: str, path: str) -> None:
        kind = option(kind)
        kind = named.get(kind, kind) if isinstance(kind, str) else kind
        if isinstance(kind, str):
            if kind in NUMBERS:
                columns[table][path] = NUMBERS[kind]
            return
        if kind["type"] == "record":
            named[kind["name"]] = named[kind["name"].split(".")[-1]] = kind
            for f in kind["fields"]:
                visit(f["type"], table, f"{path}.{f['name']}".lstrip("."))
        elif kind["type"] == "array" and not table:
            columns[path] = {}
            visit(kind["items"], path, "")
        elif kind["type"] in NUMBERS:
            columns[table][path] = NUMBERS[kind["type"]]

    visit(schema, "", "")
    return {
        t: Table(
            np.dtype([(p.replace(".", "_"), d) for p, d in c.items()]),
            {p.replace(".", "_"): p for p in c},
        )
        for t, c in columns.items()
        if c
    }


def equal_to_fastavro(schema: Any, values: list[bytes]) -> None:
    tables = everything(schema)
    found = Reader(schema, tables).read(values)
    assert found.status.tolist() == [*range(len(values))]
    parsed = fastavro.parse_schema(schema)
    read = [fastavro.schemaless_reader(io.BytesIO(v), parsed) for v in values]
    expect(found, tables, read, symbols="")


def containers(folder: Path) -> Iterator[bytes]:
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".avro":
            yield path.read_bytes()
        elif path.name.endswith(".tar.gz"):
            with tarfile.open(path) as tar:
                for member in tar:
                    if member.name.endswith(".avro"):
                        file = tar.extractfile(member)
                        assert file is not None
                        yield file.read()


def test_ztf_packets(shared_data: Path) -> None:
    by_schema: dict[str, list[bytes]] = {}
    for container in containers(shared_data / "alerts" / "ztf"):
        try:
            blocks = fastavro.block_reader(io.BytesIO(container))
        except ValueError:  # an error page that an archive served as a packet
            continue
        for block in blocks:
            assert block.num_records == 1
            schema = blocks.metadata["avro.schema"]
            by_schema.setdefault(schema, []).append(block.bytes_.getvalue())
    assert len(by_schema) > 5
    for schema, values in by_schema.items():
        equal_to_fastavro(json.loads(schema), values)


@pytest.mark.parametrize("version", ["9/0", "10/0"])
def test_lsst_packets(shared_data: Path, version: str) -> None:
    folder = shared_data / "alerts" / "lsst"
    name = f"lsst.v{version.replace('/', '_')}.alert.avsc"
    schema = load_schema(str(folder / "schemas" / version / name), _write_hint=False)
    files = folder.glob("wire_v10/*.bin" if version == "10/0" else "wire_v9_*.bin")
    values = [path.read_bytes()[5:] for path in sorted(files)]
    assert values
    equal_to_fastavro(schema, sorted(values, key=len)[:12])


def test_elasticc_packets(shared_data: Path) -> None:
    folder = shared_data / "alerts" / "elasticc"
    (path,) = folder.glob("schemas/*.alert.avsc")
    values = []
    for file in sorted(folder.glob("*.lenpfx")):
        content, i = file.read_bytes(), 0
        while i < len(content):
            (n,) = struct.unpack_from("<I", content, i)
            values.append(content[i + 9 : i + 4 + n])
            i += 4 + n
    equal_to_fastavro(load_schema(str(path), _write_hint=False), values[:400])
