"""Holds a request and its answer against the vendors' own descriptions in ../shared/fixtures.

`openapi_for("jira-cloud-v3")` gives a description; `check_exchange(request, response)` finds the operation
by the path and returns what does not fit, as sentences; nothing means it fits. It takes httpx values;
`from_requests` makes them of what the library requests has. `Guard` reads along inside a served tracker.
The descriptions are looser than the vendors in two places, so this is stricter: members of a JSON body that
the description does not name are reported, and a Jira comment must be a document of Atlassian's schema.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote

import httpx
import jsonschema_rs
import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from urllib3 import HTTPResponse

FIXTURES = Path(__file__).parents[3] / "shared" / "fixtures"
Json = dict[str, Any]

METHODS = ("get", "put", "post", "patch", "delete")
ROOT = "urn:description"
# Refusals and redirects that any operation may answer although its own description is silent about them.
EVERYWHERE = frozenset({301, 304, 307, 400, 401, 403, 404, 405, 410, 422, 429, 500, 502, 503, 504})
ERRORS = {"jira-cloud-v3": "ErrorCollection", "github": "basic-error"}
# GitHub's own links lead to these, though its description does not name them.
CURSORS = frozenset({"after", "before"})
# The ticket pages and controls of the simulated trackers are no part of any description.
API_PATHS = re.compile(r"(/api/v3)?/(rest|user|meta|rate_limit|orgs|repos|repositories)(/|$)")
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
    """One vendor's OpenAPI file, made ready for checking."""

    def __init__(self, name: str, raw: Json) -> None:
        self.name = name
        self.raw = raw
        self.document = _as_json_schema(raw)
        self.registry = jsonschema_rs.Registry([(ROOT, self.document)])
        self.operations = sorted(self._operations(), key=lambda one: one.path.count("{"))
        self._validators: dict[str, Any] = {}

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
        while "$ref" in node:
            found: Any = self.document
            for part in node["$ref"].removeprefix(f"{ROOT}#/").split("/"):
                found = found[part.replace("~1", "/").replace("~0", "~")]
            node = found
        return node

    def operation(self, method: str, path: str) -> tuple[Operation, dict[str, str]] | None:
        for one in self.operations:
            match = one.pattern.fullmatch(path) if one.method == method.lower() else None
            if match:
                names = re.findall(r"\{([^}]+)\}", one.path)
                return one, {name: unquote(value) for name, value in zip(names, match.groups(), strict=True)}
        return None

    def problems(self, schema: Json, value: Any) -> list[str]:
        key = json.dumps(schema, sort_keys=True)
        if key not in self._validators:
            formats = {"date-time": lambda text: JIRA_TIME.fullmatch(text) is not None}
            self._validators[key] = jsonschema_rs.Draft4Validator(
                schema, registry=self.registry, formats=formats, validate_formats=True
            )
        return [
            f"{'/'.join(map(str, error.instance_path)) or 'body'}: {error.message[:300]}"
            for error in self._validators[key].iter_errors(value)
        ]


@cache
def openapi_for(name: str) -> Description:
    """`jira-cloud-v3`, `github` or `ghes-3.19`. Skips the test where the fixtures are absent."""
    return Description(name, json.loads(_fixture(f"openapi/{name}.json")))


@cache
def adf_validator() -> Any:
    return jsonschema_rs.validator_for(json.loads(_fixture("adf/adf-schema-full.json")))


def adf_problems(document: Any) -> list[str]:
    """What Atlassian's schema finds wrong with a document."""
    return [
        f"{list(error.instance_path)}: {error.message[:300]}"
        for error in adf_validator().iter_errors(document)
    ]


def _fixture(path: str) -> str:
    if not FIXTURES.exists():
        pytest.skip("the shared fixtures are not here")
    return (FIXTURES / path).read_text()


def check_exchange(
    request: httpx.Request, response: httpx.Response, description: Description | None = None
) -> list[str]:
    """What of a request and its answer does not fit. Without a description, the path says whose it is."""
    return check_request(request, description) + check_response(request, response, description)


def check_request(request: httpx.Request, description: Description | None = None) -> list[str]:
    api = description or _whose(request)
    found = api.operation(request.method, _path(request, api))
    if found is None:
        return [f"{request.method} {request.url.path}: not in the description"]
    operation, path = found
    answer_text = [*_path_problems(api, operation, path), *_query_problems(api, operation, request)]
    answer_text += _body_problems(api, operation, request)
    return [f"{request.method} {request.url.path}: {one}" for one in answer_text]


def check_response(
    request: httpx.Request, response: httpx.Response, description: Description | None = None
) -> list[str]:
    api = description or _whose(request)
    found = api.operation(request.method, _path(request, api))
    if found is None:
        return [f"{request.method} {request.url.path}: not in the description"]
    answer_text = _answer_problems(api, found[0], response)
    return [f"{request.method} {request.url.path} -> {response.status_code}: {one}" for one in answer_text]


def from_requests(response: Any) -> tuple[httpx.Request, httpx.Response]:
    """A `requests.Response` and the request it answers, as httpx values."""
    sent = response.request
    body = sent.body.encode() if isinstance(sent.body, str) else sent.body or b""
    request = httpx.Request(sent.method, sent.url, headers=dict(sent.headers), content=body)
    headers = {"content-type": response.headers.get("content-type", "")}
    return request, httpx.Response(
        response.status_code, headers=headers, content=response.content, request=request
    )


def kept(response: Any) -> Any:
    """For `responses`: the same answer, whose body can still be read once the code has taken it in."""
    response.raw = HTTPResponse(io.BytesIO(response.content), preload_content=False)
    return response


class Guard:
    """An ASGI wrapper that checks every exchange; `serve(tracker, through=guard.around)`.

    A request that the tracker refused with 4xx is not checked itself: refusing is what a test asked for.
    `found` says what did not fit; a test that wants to see everything has `exchanges`.
    """

    def __init__(self, description: Description) -> None:
        self.description = description
        self.found: list[str] = []
        self.exchanges: list[tuple[httpx.Request, httpx.Response]] = []

    def around(self, app: ASGIApp) -> ASGIApp:
        async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
            answered: list[Message] = []
            sent = [await receive()]
            while sent[-1].get("more_body"):
                sent.append(await receive())
            body = b"".join(message.get("body", b"") for message in sent)

            async def reading() -> Message:
                return sent.pop(0) if sent else await receive()

            async def writing(message: Message) -> None:
                answered.append(message)
                await send(message)

            await app(scope, reading, writing)
            if API_PATHS.match(scope["path"]):
                self._note(scope, body, answered)

        return guarded

    def _note(self, scope: Scope, sent: bytes, answered: list[Message]) -> None:
        """Without an answer, as when a fault drops the connection, only the request is checked."""
        query = f"?{scope['query_string'].decode()}" if scope["query_string"] else ""
        url = f"http://tracker{scope['raw_path'].decode()}{query}"
        request = httpx.Request(scope["method"], url, headers=scope["headers"], content=sent)
        if not answered:
            self.found += check_request(request, self.description)
            return
        content = b"".join(message.get("body", b"") for message in answered[1:])
        response = httpx.Response(answered[0]["status"], headers=answered[0]["headers"], content=content)
        self.exchanges.append((request, response))
        if not response.is_client_error:
            self.found += check_request(request, self.description)
        self.found += check_response(request, response, self.description)


def _whose(request: httpx.Request) -> Description:
    return openapi_for("jira-cloud-v3" if "/rest/api/" in request.url.path else "github")


def _path(request: httpx.Request, api: Description) -> str:
    path = request.url.raw_path.decode().partition("?")[0]
    if api.name == "jira-cloud-v3":
        return path[max(path.find("/rest/api/"), 0) :]
    return re.sub(r"^/repositories/\d+", "/repos/by/id", path.removeprefix("/api/v3"))


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


def _path_problems(api: Description, operation: Operation, values: dict[str, str]) -> list[str]:
    schemas = {one["name"]: one["schema"] for one in operation.parameters if one["in"] == "path"}
    return [
        f"path {name}: {problem}"
        for name, value in values.items()
        for problem in api.problems(schemas[name], _typed(api, schemas[name], value))
    ]


def _query_problems(api: Description, operation: Operation, request: httpx.Request) -> list[str]:
    known = {one["name"]: one for one in operation.parameters if one["in"] == "query"}
    given: dict[str, list[str]] = {}
    for name, value in parse_qsl(request.url.query.decode(), keep_blank_values=True):
        given.setdefault(name, []).append(value)
    answer_text = [
        f"query {name}: missing" for name, one in known.items() if one.get("required") and name not in given
    ]
    for name, values in given.items():
        if name not in known:
            if api.name == "jira-cloud-v3" or name not in CURSORS:
                answer_text.append(f"query {name}: unknown")
            continue
        schema = known[name]["schema"]
        is_list = api.resolve(schema).get("type") == "array"
        decoded: Any = (
            [_typed(api, schema["items"], part) for one in values for part in one.split(",")]
            if is_list
            else _typed(api, schema, values[-1])
        )
        answer_text += [f"query {name}: {problem}" for problem in api.problems(schema, decoded)]
    return answer_text


def _typed(api: Description, schema: Json, text: str) -> Any:
    kind = api.resolve(schema).get("type")
    if kind == "integer" and re.fullmatch(r"-?\d+", text):
        return int(text)
    if kind == "boolean" and text in {"true", "false"}:
        return text == "true"
    return text


def _body_problems(api: Description, operation: Operation, request: httpx.Request) -> list[str]:
    content = request.read()
    if operation.body is None:
        return ["body: none is described"] if content else []
    if not content:
        return ["body: missing"] if operation.body.get("required") else []
    if "application/json" not in request.headers.get("content-type", ""):
        return [f"body: content type {request.headers.get('content-type')!r}"]
    schema = operation.body["content"]["application/json"]["schema"]
    try:
        value = json.loads(content)
    except ValueError:
        return ["body: not JSON"]
    properties = api.resolve(schema).get("properties", {})
    answer_text = [f"body {name}: unknown" for name in value if properties and name not in properties]
    return answer_text + api.problems(schema, value) + _document_problems(operation, value)


def _document_problems(operation: Operation, value: Json) -> list[str]:
    if not operation.path.startswith("/rest/api/3") or not isinstance(value, dict):
        return []
    if operation.path.endswith(("/comment", "/comment/{id}")):
        return adf_problems(value.get("body"))
    fields = value.get("fields")
    description = fields.get("description") if isinstance(fields, dict) else None
    return [] if description is None else adf_problems(description)


def _answer_problems(api: Description, operation: Operation, response: httpx.Response) -> list[str]:
    described = operation.responses.get(str(response.status_code))
    if described is None and response.status_code not in EVERYWHERE:
        return ["this status is not described"]
    schema = (described or {}).get("content", {}).get("application/json", {}).get("schema")
    if schema is None and response.is_error:
        schema = {"$ref": f"{ROOT}#/components/schemas/{ERRORS.get(api.name, 'basic-error')}"}
    if schema is None or response.status_code == 204:
        return ["a 204 with a body"] if response.status_code == 204 and response.content else []
    if not response.content:
        return ["no body, though one is described"]
    if "application/json" not in response.headers.get("content-type", ""):
        return [f"content type {response.headers.get('content-type')!r}"]
    return api.problems(schema, response.json())
