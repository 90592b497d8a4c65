"""Our descriptions do not contradict the vendors' own documents and recordings, where those are here."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.adf import our_adf_problems, vendors_adf_problems
from tests.support.beside import needs_fixtures
from tests.support.recorded import RECORDED
from tests.support.schema_comparison import contradictions
from tests.support.vendor_api import (
    NAMES,
    Description,
    Json,
    adf_schema,
    openapi_for,
    vendors_openapi,
)

# --- the vendors' own documents -----------------------------------------------------------------

# What another release of the same vendor has. The routes are in its whole document, and not in the part of it
# that is here: what ours says of them is from the pages at https://docs.github.com/rest alone.
CUT_OUT = {
    f"GET {path}: theirs has no such operation"
    for path in ("/user/repos", "/repos/{owner}/{repo}/collaborators/{username}/permission")
}
DIFFERENCES = {"github": ["GET /meta -> 200.installed_version: theirs has no such member"]}


@needs_fixtures
def test_ours_does_not_contradict_the_vendors() -> None:
    """Each route, parameter, member and value of ours is in the vendor's, of a type that it allows."""
    found = {}
    for name in NAMES:
        theirs = vendors_openapi(name)
        assert theirs is not None
        found[name] = [one for one in contradictions(openapi_for(name), theirs) if one not in CUT_OUT]
    assert found == {name: DIFFERENCES.get(name, []) for name in NAMES}


SMALL: Json = {
    "paths": {
        "/things/{id}": {
            "get": {
                "parameters": [
                    {"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}},
                    {"name": "sort", "in": "query", "schema": {"type": "string", "enum": ["name"]}},
                ],
                "responses": {"200": {"content": {"application/json": {"schema": {
                    "type": "object", "required": ["name"],
                    "properties": {
                        "name": {"type": "string", "maxLength": 9},
                        "link": {"type": "string", "format": "uri"},
                        "parts": {"type": "array", "items": {"type": "integer"}},
                    },
                }}}}},
            },
        },
    },
    "components": {"schemas": {"Error": {"type": "object"}}},
}  # fmt: skip


def small(change: Callable[[Json, Json], object] | None = None) -> Description:
    """The description above; `change` gets its operation and the schema of its answer."""
    raw = copy.deepcopy(SMALL)
    operation = raw["paths"]["/things/{id}"]["get"]
    if change is not None:
        change(operation, operation["responses"]["200"]["content"]["application/json"]["schema"])
    return Description("github", raw, "Error", is_vendors=True)


def member(schema: Json, name: str, value: Json) -> None:
    schema["properties"][name] = value


CONTRADICTIONS: list[tuple[str, Callable[[Json, Json], object]]] = [
    ("query page: theirs has no such parameter",
     lambda o, s: o["parameters"].append({"name": "page", "in": "query", "schema": {}})),
    ("theirs has no value 'size'", lambda o, s: o["parameters"][1]["schema"]["enum"].append("size")),
    ("theirs takes certain values alone", lambda o, s: o["parameters"][1]["schema"].pop("enum")),
    ("path id: theirs is required", lambda o, s: o["parameters"][0].pop("required")),
    ("path id: theirs is never string", lambda o, s: o["parameters"][0]["schema"].update(type="string")),
    ("body: only ours has one", lambda o, s: o.update(requestBody={"content": {}})),
    ("-> 202: theirs has no such answer", lambda o, s: o["responses"].update({"202": {}})),
    ("200.size: theirs has no such member", lambda o, s: member(s, "size", {"type": "integer"})),
    ("200.name: theirs is required", lambda o, s: s.pop("required")),
    ("200.name: theirs has maxLength 9", lambda o, s: s["properties"]["name"].pop("maxLength")),
    ("200.link: theirs has format 'uri'", lambda o, s: s["properties"]["link"].pop("format")),
    ("200.link: theirs is never null", lambda o, s: s["properties"]["link"].update(nullable=True)),
    ("200.parts[]: theirs is never string",
     lambda o, s: member(s, "parts", {"type": "array", "items": {"type": "string"}})),
    ("200.parts: theirs is never anything", lambda o, s: member(s, "parts", {})),
]  # fmt: skip


@pytest.mark.parametrize(("problem", "change"), CONTRADICTIONS, ids=[row[0] for row in CONTRADICTIONS])
def test_a_contradiction_would_be_found(problem: str, change: Callable[[Json, Json], object]) -> None:
    assert contradictions(small(), small()) == []
    (found,) = contradictions(small(change), small())
    assert problem in found


def test_a_route_that_the_vendor_does_not_have_would_be_found() -> None:
    lonely: Json = {"paths": {}, "components": {"schemas": {"Error": {}}}}
    (found,) = contradictions(small(), Description("github", lonely, "Error", is_vendors=True))
    assert found == "GET /things/{id}: theirs has no such operation"


@needs_fixtures
def test_what_an_enterprise_server_lacks_is_absent_in_its_document() -> None:
    theirs = vendors_openapi("ghes-3.19")
    assert theirs is not None
    here = {(one.method, one.path) for one in openapi_for("github").operations}
    lacking = here - {(one.method, one.path) for one in openapi_for("ghes-3.19").operations}
    assert len(lacking) == 4
    assert not lacking & {(one.method, one.path) for one in theirs.operations}


# --- webhooks -----------------------------------------------------------------------------------

# The objects of a body that are a webhook's own; the others are compared with the vendor's document already.
OWN_OBJECTS = {
    "github": ("", "changes", "repository", "organization"),
    "jira-cloud-v3": ("", "user", "issue", "comment", "comment author", "changelog", "changelog items"),
}
# Younger than the recordings, or in none of the kind that was recorded.
UNRECORDED = {
    "github": {
        *(("", name) for name in ("type", "issue_field", "parent_issue", "parent_issue_id")),
        *(("", name) for name in ("parent_issue_repo", "sub_issue", "sub_issue_id", "sub_issue_repo")),
        *(("changes", name) for name in ("title", "name", "due_on")),
    },
    "jira-cloud-v3": set(),
}


def recordings(name: str) -> dict[str, list[Any]]:
    """By event, the bodies that the vendor sent."""
    by_event: dict[str, list[Any]] = {}
    if name == "github":
        for event, body in RECORDED.github_webhooks():
            by_event.setdefault(event, []).append(body)
        return by_event
    for body in RECORDED.jira_webhooks().values():
        by_event.setdefault(body["webhookEvent"], []).append(body)
    return by_event


def objects_at(body: Any, place: str) -> list[Json]:
    found = [body]
    for name in place.split():
        values = [one[name] for one in found if name in one]
        found = [one for value in values for one in (value if isinstance(value, list) else [value])]
    return [one for one in found if isinstance(one, dict)]


def described_at(api: Description, schema: Json, place: str) -> Json:
    """The members that our description has at a place; none where the event has no such object."""
    for name in place.split():
        schema = api.resolve(api.resolve(schema).get("properties", {}).get(name, {}))
        schema = schema.get("items", schema)
    members: Json = api.resolve(schema).get("properties", {})
    return members


@needs_fixtures
def test_the_members_of_webhooks_are_those_that_the_vendors_sent() -> None:
    assert {name: members_never_sent(name) for name in OWN_OBJECTS} == UNRECORDED


def members_never_sent(name: str) -> set[tuple[str, str]]:
    """Place and name of each member of our description that no recording has."""
    api, recorded = openapi_for(name), recordings(name)
    bodies = [body for event in api.events for body in recorded.get(event, ())]
    unknown = set()
    for schema in api.events.values():
        for place in OWN_OBJECTS[name]:
            known = {member for body in bodies for one in objects_at(body, place) for member in one}
            unknown |= {(place, member) for member in set(described_at(api, schema, place)) - known}
    return unknown


# --- documents ----------------------------------------------------------------------------------


def instances(node: Json, schema: Json, within: tuple[str, ...] = ()) -> Iterator[Any]:
    """Values that fit a schema, the plainest first: each choice, value and optional member once."""
    if "$ref" in node:
        name = node["$ref"].rpartition("/")[2]
        yield from instances(schema["definitions"][name], schema, (*within, name))
    elif "anyOf" in node:
        for one in node["anyOf"]:
            if one["$ref"].rpartition("/")[2] not in within:
                yield from instances(one, schema, within)
    elif "enum" in node:
        yield from node["enum"]
    elif node["type"] == "object":
        members = {name: list(instances(part, schema, within)) for name, part in node["properties"].items()}
        plain = {name: members[name][0] for name in node.get("required", ())}
        yield plain
        yield from ({**plain, name: value} for name, values in members.items() for value in values)
    elif node["type"] == "array":
        made = [[one] for one in instances(node["items"], schema, within)]
        yield from ([], *made) if not node.get("minItems") else made
    else:
        yield {"string": node.get("example", "x"), "integer": node.get("minimum", 1)}[node["type"]]


@needs_fixtures
def test_every_document_that_ours_allows_is_one_of_atlassians() -> None:
    made = list(instances(adf_schema(), adf_schema()))
    assert len(made) > 500
    for document in made:
        assert our_adf_problems(document) == [], document
        assert vendors_adf_problems(document) == [], document
