"""Compares our description of an interface with the vendor's own document.

Ours may leave out what Northing does not use. What it has must be in the vendor's, with a type that the
vendor's allows, and must be as strict: what the vendor requires or limits, ours requires or limits too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.support.exchanges import EVERYWHERE
from tests.support.vendor_api import Description, Json, Operation

# Of `format`, those that a check looks at.
FORMATS = frozenset({"uri", "date-time", "email"})
LIMITS = ("pattern", "minLength", "maxLength", "minimum", "maximum", "minItems", "maxItems", "uniqueItems")
OF_VALUES = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}


def contradictions(ours: Description, theirs: Description) -> list[str]:
    """Where ours says something else than the vendor's, as sentences that begin with the place."""
    return list(dict.fromkeys(_Comparison(ours, theirs).operations()))


class _Comparison:
    def __init__(self, ours: Description, theirs: Description) -> None:
        self.ours, self.theirs = ours, theirs

    def operations(self) -> Iterator[str]:
        counterparts = {(one.method, one.path): one for one in self.theirs.operations}
        for one in self.ours.operations:
            where = f"{one.method.upper()} {one.path}"
            other = counterparts.get((one.method, one.path))
            if other is None:
                yield f"{where}: theirs has no such operation"
                continue
            yield from self._parameters(where, one, other)
            yield from self._body(where, one.body, other.body)
            for status, response in one.responses.items():
                yield from self._response(f"{where} -> {status}", status, response, other)

    def _parameters(self, where: str, one: Operation, other: Operation) -> Iterator[str]:
        theirs = {(entry["in"], entry["name"]): entry for entry in other.parameters}
        for entry in one.parameters:
            found = theirs.get((entry["in"], entry["name"]))
            here = f"{where} {entry['in']} {entry['name']}"
            if found is None:
                yield f"{here}: theirs has no such parameter"
                continue
            if found.get("required") and not entry.get("required"):
                yield f"{here}: theirs is required"
            yield from self._schemas(here, entry["schema"], found["schema"])

    def _body(self, where: str, one: Json | None, other: Json | None) -> Iterator[str]:
        if one is None or other is None:
            if one is not other:
                yield f"{where} body: only {'ours' if other is None else 'theirs'} has one"
            return
        if other.get("required") and not one.get("required"):
            yield f"{where} body: theirs is required"
        yield from self._schemas(f"{where} body", _json_of(one), _json_of(other))

    def _response(self, where: str, status: str, response: Json, other: Operation) -> Iterator[str]:
        found = other.responses.get(status)
        if found is None:
            if int(status) not in EVERYWHERE:
                yield f"{where}: theirs has no such answer"
            return
        schema, theirs = _json_of(response), _json_of(found)
        if schema is None and theirs:
            yield f"{where}: only theirs has a body"
        elif schema is not None and theirs is not None:
            yield from self._schemas(where, schema, theirs)

    def _schemas(self, where: str, one: Any, other: Any) -> Iterator[str]:
        yield from self._shapes(where, _shapes(self.ours, one), _shapes(self.theirs, other))

    def _shapes(self, where: str, ours: list[Json], theirs: list[Json]) -> Iterator[str]:
        if any(not _types(shape) for shape in theirs):
            return  # theirs takes anything here
        for shape in ours:
            kinds = _types(shape)
            fitting = [one for one in theirs if kinds and kinds <= _types(one) | _whole(one)]
            if fitting:
                yield from self._limits(where, shape, fitting)
                yield from self._parts(where, shape, fitting)
            else:
                yield f"{where}: theirs is never {' or '.join(sorted(kinds)) or 'anything'}"

    def _limits(self, where: str, shape: Json, theirs: list[Json]) -> Iterator[str]:
        enums = [one["enum"] for one in theirs if "enum" in one]
        if enums and len(enums) == len(theirs):
            values = [value for enum in enums for value in enum]
            if "enum" not in shape:
                yield f"{where}: theirs takes certain values alone"
            for value in shape.get("enum", ()):
                if value not in values:
                    yield f"{where}: theirs has no value {value!r}"
        for name in (*LIMITS, "format"):
            limits = {one.get(name) for one in theirs}
            [limit] = limits if len(limits) == 1 else [None]
            checked = limit is not None and (name != "format" or limit in FORMATS)
            if checked and shape.get(name) != limit and "enum" not in shape:
                yield f"{where}: theirs has {name} {limit!r}"

    def _parts(self, where: str, shape: Json, theirs: list[Json]) -> Iterator[str]:
        if "items" in shape:
            items = [entry for one in theirs for entry in _shapes(self.theirs, one.get("items", {}))]
            yield from self._shapes(f"{where}[]", _shapes(self.ours, shape["items"]), items)
        others = [entry for one in theirs for entry in self._other_members(one)]
        if isinstance(shape.get("additionalProperties"), dict) and others:
            entries = _shapes(self.ours, shape["additionalProperties"])
            yield from self._shapes(f"{where}.*", entries, others)
        for name, part in shape.get("properties", {}).items():
            named = [one["properties"][name] for one in theirs if name in one.get("properties", {})]
            found = [entry for one in named for entry in _shapes(self.theirs, one)] or others
            if not found:
                yield f"{where}.{name}: theirs has no such member"
            else:
                yield from self._shapes(f"{where}.{name}", _shapes(self.ours, part), found)
        if theirs and "properties" in shape:  # else ours says nothing of the members
            needed = set.intersection(*(set(one.get("required", ())) for one in theirs))
            for name in sorted(needed - set(shape.get("required", ()))):
                yield f"{where}.{name}: theirs is required"

    def _other_members(self, shape: Json) -> list[Json]:
        """What a member may be that the vendor's does not name; nothing where it may not be there.

        OpenAPI lets an object have any member unless it forbids that. An object whose members are listed is
        taken for closed all the same.
        """
        more = shape.get("additionalProperties", not shape.get("properties"))
        return _shapes(self.theirs, more) if isinstance(more, dict) else [{}] if more else []


def _json_of(node: Json) -> Any:
    return node.get("content", {}).get("application/json", {}).get("schema")


def _shapes(api: Description, node: Json) -> list[Json]:
    """What a schema may be, without references, choices and compositions."""
    node = api.resolve(node)
    found = [{key: value for key, value in node.items() if key not in {"allOf", "anyOf", "oneOf"}}]
    for part in node.get("allOf", ()):
        found = [_merged(one, other) for one in found for other in _shapes(api, part)]
    choices = [*node.get("anyOf", ()), *node.get("oneOf", ())]
    if choices:
        parts = [other for one in choices for other in _shapes(api, one)]
        found = [_merged(one, other) for one in found for other in parts]
    return found


def _merged(one: Json, other: Json) -> Json:
    made = {**one, **other}
    for key, empty in (("properties", {}), ("required", [])):
        if key in one and key in other:
            made[key] = {**one[key], **other[key]} if empty == {} else [*one[key], *other[key]]
    return made


def _types(shape: Json) -> set[str]:
    """The types that a shape allows; empty if it allows all."""
    if "type" in shape:
        return {shape["type"]} if isinstance(shape["type"], str) else set(shape["type"])
    if "enum" in shape:
        return {OF_VALUES[type(value)] for value in shape["enum"]}
    return {"object"} if "properties" in shape or "additionalProperties" in shape else set()


def _whole(shape: Json) -> set[str]:
    """A number may be whole."""
    return {"integer"} if "number" in _types(shape) else set()
