"""An Avro schema as a tree of types: names resolved, sizes known, excess refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from broker.interpreter import MAX_DEPTH

PRIMITIVES = {"null": 0, "boolean": 1, "float": 4, "double": 8}
PRIMITIVES_OF_ANY_SIZE = ("int", "long", "string", "bytes")
MAX_TYPES = 2500  #: in a schema, 20 us each; the largest survey schema has 840
MAX_FIXED = 1 << 31  #: bytes that a type of fixed size may take


class SchemaError(ValueError):
    """A schema that is not Avro, or one that cannot be read or written as wanted."""


@dataclass(frozen=True, slots=True, eq=False)
class Type:
    """One type of a schema. `size` is the bytes that each value takes, None if that varies.

    `parts` are a record's fields, a union's branches, an array's items or a map's values; `names`
    a record's fields or an enum's symbols. `defaults` holds the fields' defaults where the schema
    has them; `schema` says the type again without references to names outside it.
    """

    kind: str
    size: int | None
    schema: Any
    parts: tuple[Type, ...] = ()
    names: tuple[str, ...] = ()
    defaults: tuple[tuple[str, Any], ...] = ()
    depth: int = 1


def parse(schema: Any) -> Type:
    """The tree of a schema as JSON gives it (or fastavro, which has put full names in).

    Raises
    ------
    SchemaError
        Not Avro; a type that holds itself; more than 64 types deep, or than MAX_TYPES in all.
    """
    try:
        return _Parser().parse(schema, "", 0)
    except (KeyError, TypeError, AttributeError) as error:
        msg = f"not an Avro schema: {type(error).__name__}: {error}"
        raise SchemaError(msg) from error


class _Parser:
    def __init__(self) -> None:
        self.named: dict[str, Type | None] = {}  # None while it is being read
        self.types = 0

    def parse(self, schema: Any, space: str, depth: int) -> Type:
        self.types += 1
        if self.types > MAX_TYPES:
            msg = f"the schema has more than {MAX_TYPES} types"
            raise SchemaError(msg)
        if depth > MAX_DEPTH:
            msg = f"the schema is more than {MAX_DEPTH} types deep"
            raise SchemaError(msg)
        if isinstance(schema, str):
            return self.named_type(schema, space)
        if isinstance(schema, list):
            branches = [self.parse(s, space, depth + 1) for s in schema]
            return _type("union", None, [b.schema for b in branches], branches)
        kind = schema["type"]
        if kind in ("record", "error", "enum", "fixed"):
            return self.definition(schema, space, depth)
        if kind == "array" or kind == "map":
            key = "items" if kind == "array" else "values"
            part = self.parse(schema[key], space, depth + 1)
            return _type(kind, None, {"type": kind, key: part.schema}, [part])
        return self.parse(kind, space, depth + 1)  # {"type": "long", "logicalType": ...}

    def named_type(self, name: str, space: str) -> Type:
        if name in PRIMITIVES or name in PRIMITIVES_OF_ANY_SIZE:
            return _type(name, PRIMITIVES.get(name), name)
        full = name if "." in name or not space else f"{space}.{name}"
        full = full if full in self.named else name
        if full not in self.named:
            msg = f"the schema uses the type {name!r} before it defines it"
            raise SchemaError(msg)
        found = self.named[full]
        if found is None:
            msg = f"the type {full!r} holds itself; recursive schemas are not supported"
            raise SchemaError(msg)
        return found

    def definition(self, schema: Any, space: str, depth: int) -> Type:
        kind, name = schema["type"], schema["name"]
        if "." not in name:
            space = schema.get("namespace", space) or ""
            name = f"{space}.{name}" if space else name
        space = name.rpartition(".")[0]
        self.named[name] = None
        if kind == "enum":
            symbols = tuple(schema["symbols"])
            whole = {"type": "enum", "name": name, "symbols": list(symbols)}
            found = _type("enum", None, whole, names=symbols)
        elif kind == "fixed":
            size = schema["size"]
            if not isinstance(size, int) or not 0 <= size < MAX_FIXED:
                msg = f"the fixed type {name!r} has the size {size!r}"
                raise SchemaError(msg)
            found = _type("fixed", size, {"type": "fixed", "name": name, "size": size})
        else:
            fields = schema["fields"]
            names = tuple(str(f["name"]) for f in fields)
            if len(set(names)) < len(names):
                msg = f"the record {name!r} has two fields of one name"
                raise SchemaError(msg)
            parts = [self.parse(f["type"], space, depth + 1) for f in fields]
            inner = [{"name": n, "type": p.schema} for n, p in zip(names, parts, strict=True)]
            found = _type(
                "record",
                _sum([p.size for p in parts]),
                {"type": "record", "name": name, "fields": inner},
                parts,
                names,
                tuple((f["name"], f["default"]) for f in fields if "default" in f),
            )
        self.named[name] = found
        return found


def _sum(sizes: list[int | None]) -> int | None:
    known = [s for s in sizes if s is not None]
    if len(known) < len(sizes):
        return None
    if sum(known) >= MAX_FIXED:
        msg = f"a record of {sum(known)} bytes"
        raise SchemaError(msg)
    return sum(known)


def _type(
    kind: str,
    size: int | None,
    schema: Any,
    parts: list[Type] | tuple[()] = (),
    names: tuple[str, ...] = (),
    defaults: tuple[tuple[str, Any], ...] = (),
) -> Type:
    depth = 1 + max((p.depth for p in parts), default=0)
    if depth > MAX_DEPTH:
        msg = f"the schema is more than {MAX_DEPTH} types deep"
        raise SchemaError(msg)
    return Type(kind, size, schema, tuple(parts), names, defaults, depth)
