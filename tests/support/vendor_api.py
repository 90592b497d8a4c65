"""What the vendors' interfaces look like: our compact descriptions, and the vendors' own documents.

`openapi_for("jira-cloud-v3")` is our description, from `tests/fixtures/schemas`: the routes that Northing
calls and the simulated trackers serve, and the webhooks it handles. `vendors_openapi` is the vendor's own
document, from ../shared/fixtures, or None where that folder is absent.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import yaml

from tests.support.beside import FIXTURES

SCHEMAS = Path(__file__).parents[1] / "fixtures" / "schemas"
Json = dict[str, Any]

METHODS = ("get", "put", "post", "patch", "delete")
ROOT = "urn:description"
ADF = "urn:adf"
# Per description: our file, and the schema of an error in the vendor's own document.
NAMES = {
    "jira-cloud-v3": ("jira", "ErrorCollection"),
    "github": ("github", "basic-error"),
    "ghes-3.19": ("github", "basic-error"),
}
JIRA_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:?\d\d)")


@dataclass(frozen=True)
class Operation:
    path: str
    method: str
    pattern: re.Pattern[str]
    parameters: tuple[Json, ...]
    body: Json | None
    responses: Json


class Description:
    """One OpenAPI document, ready for checking. `error` names its schema of an error.

    `is_vendors` is False for ours. The document may refer to the Atlassian Document Format as `urn:adf`.
    """

    def __init__(self, name: str, raw: Json, error: str, *, is_vendors: bool) -> None:
        self.name, self.is_vendors = name, is_vendors
        self.document = _as_json_schema(raw)
        self.registry = jsonschema_rs.Registry([(ROOT, self.document), (ADF, adf_schema())])
        self.operations = sorted(self._operations(), key=lambda one: one.path.count("{"))
        self.events: Json = self.document.get("x-webhooks", {})
        self.error = {"$ref": f"{ROOT}#/components/schemas/{error}"}
        self._validators: dict[int, tuple[Json, Any]] = {}

    def _operations(self) -> Iterator[Operation]:
        for path, item in self.document["paths"].items():
            parts = re.split(r"(\{[^}]+\})", path)
            pattern = "".join(
                f"(?P<p{n}>[^/]+)" if n % 2 else re.escape(part) for n, part in enumerate(parts)
            )
            for method in METHODS:
                if method in item:
                    entry = item[method]
                    parameters = [
                        self.resolve(one)
                        for one in (*item.get("parameters", ()), *entry.get("parameters", ()))
                    ]
                    body = self.resolve(entry["requestBody"]) if "requestBody" in entry else None
                    responses = {code: self.resolve(one) for code, one in entry["responses"].items()}
                    yield Operation(path, method, re.compile(pattern), tuple(parameters), body, responses)

    def resolve(self, node: Json) -> Json:
        while str(node.get("$ref", "")).startswith(ROOT):
            found: Any = self.document
            for part in node["$ref"].removeprefix(f"{ROOT}#/").split("/"):
                found = found[part.replace("~1", "/").replace("~0", "~")]
            node = found
        return node

    def operation(self, method: str, path: str) -> Operation | None:
        """The operation at a path of a request, the one with the fewest variables first."""
        return next(
            (one for one in self.operations if one.method == method.lower() and one.pattern.fullmatch(path)),
            None,
        )

    def problems(self, schema: Json, value: Any) -> list[str]:
        """What of `value` does not fit `schema`, which is a part of this document."""
        if id(schema) not in self._validators:
            formats = {"date-time": lambda text: JIRA_TIME.fullmatch(text) is not None}
            made = jsonschema_rs.Draft4Validator(
                schema, registry=self.registry, formats=formats, validate_formats=True
            )
            self._validators[id(schema)] = schema, made
        return [
            f"{'/'.join(map(str, error.instance_path)) or 'body'}: {error.message[:300]}"
            for error in self._validators[id(schema)][1].iter_errors(value)
        ]


@cache
def openapi_for(name: str) -> Description:
    """Our description of `jira-cloud-v3`, `github` or `ghes-3.19`."""
    raw = _load(NAMES[name][0])
    absent = raw.get("x-absent", {}).get(name, {})
    for path in absent.get("paths", ()):
        del raw["paths"][path]
    for event in absent.get("webhooks", ()):
        del raw["x-webhooks"][event]
    return Description(name, _closed(raw), "Error", is_vendors=False)


@cache
def vendors_openapi(name: str) -> Description | None:
    """The vendor's own document. Some 700 KB, so it is read where a test asks for it."""
    if not FIXTURES.exists():
        return None
    raw = json.loads((FIXTURES / "openapi" / f"{name}.json").read_text())
    return Description(name, raw, NAMES[name][1], is_vendors=True)


@cache
def adf_schema() -> Json:
    """Our schema of the Atlassian Document Format, in JSON Schema's draft 4."""
    found: Json = _closed(_load("adf"))
    return found


@cache
def vendors_adf_schema() -> Json | None:
    if not FIXTURES.exists():
        return None
    found: Json = json.loads((FIXTURES / "adf" / "adf-schema-full.json").read_text())
    return found


def _load(name: str) -> Json:
    found: Json = yaml.load((SCHEMAS / f"{name}.yaml").read_text(), Loader=yaml.CSafeLoader)
    return found


def _closed(node: Any) -> Any:
    """Our files' rule: an object that lists its members has no others, unless it says so."""
    if isinstance(node, list):
        return [_closed(item) for item in node]
    if not isinstance(node, dict):
        return node
    made = {key: _closed(value) for key, value in node.items()}
    if made.get("type") == "object" and isinstance(made.get("properties"), dict):
        made.setdefault("additionalProperties", False)
    return made


def _as_json_schema(node: Any) -> Any:
    """OpenAPI 3.0's dialect as draft 4: `nullable` becomes a type, references become absolute."""
    if isinstance(node, list):
        return [_as_json_schema(item) for item in node]
    if not isinstance(node, dict):
        return node
    made = {key: _as_json_schema(value) for key, value in node.items() if key not in {"example", "examples"}}
    if isinstance(made.get("$ref"), str):
        made["$ref"] = ROOT + made["$ref"] if made["$ref"].startswith("#") else made["$ref"]
    if made.pop("nullable", False) is True:
        return {"anyOf": [made, {"type": "null"}]}
    return made
