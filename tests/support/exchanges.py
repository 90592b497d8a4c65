"""Holds a request and its answer against the descriptions of a vendor's API.

`check_exchange(request, response)` finds the operation by the path and returns what does not fit, as
sentences; nothing means it fits. Our description is always asked, and the vendor's own document where it is
here. It takes httpx values; `from_requests` makes them of what the library requests has. The vendors'
documents are looser than the vendors in two places, so this is stricter: members of a JSON body that a
description does not name are reported, and a Jira comment must be a document of Atlassian's schema.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, unquote

import httpx
from urllib3 import HTTPResponse

from tests.support.adf import vendors_adf_problems
from tests.support.vendor_api import Description, Json, Operation, openapi_for, vendors_openapi

# Refusals and redirects that any operation may answer although its own description is silent about them.
EVERYWHERE = frozenset({301, 304, 307, 400, 401, 403, 404, 405, 410, 422, 429, 500, 502, 503, 504})
# GitHub's own links lead to these, though its description does not name them.
CURSORS = frozenset({"after", "before"})
# The part of GitHub's document that is here lacks these routes, which its whole document has: what ours says
# of them is from the pages at https://docs.github.com/rest alone.
CUT_OUT = re.compile(r"/user/repos|/repos/[^/]+/[^/]+/collaborators/[^/]+/permission")


def check_exchange(
    request: httpx.Request, response: httpx.Response, description: Description | None = None
) -> list[str]:
    """What of a request and its answer does not fit. Without a description, the path says whose it is."""
    return check_request(request, description) + check_response(request, response, description)


def check_request(request: httpx.Request, description: Description | None = None) -> list[str]:
    return _by_ours_and_theirs(request, description, lambda api: request_problems(api, request))


def check_response(
    request: httpx.Request, response: httpx.Response, description: Description | None = None
) -> list[str]:
    return _by_ours_and_theirs(request, description, lambda api: response_problems(api, request, response))


def check_event(name: str, event: str, payload: object) -> list[str]:
    """What of a webhook's body does not fit our description; `name` is that of the description."""
    api = openapi_for(name)
    if event not in api.events:
        return [f"{event}: not in the description"]
    return [f"{event}: {one}" for one in api.problems(api.events[event], payload)]


def request_problems(api: Description, request: httpx.Request) -> list[str]:
    """What one description finds wrong with a request."""
    operation = operation_of(api, request)
    if operation is None:
        return [f"{request.method} {request.url.path}: not in the description"]
    found = [*_path_problems(api, operation, request), *_query_problems(api, operation, request)]
    found += _body_problems(api, operation, request)
    return [f"{request.method} {request.url.path}: {one}" for one in found]


def response_problems(api: Description, request: httpx.Request, response: httpx.Response) -> list[str]:
    """What one description finds wrong with an answer."""
    operation = operation_of(api, request)
    if operation is None:
        return [f"{request.method} {request.url.path}: not in the description"]
    found = _answer_problems(api, operation, response)
    return [f"{request.method} {request.url.path} -> {response.status_code}: {one}" for one in found]


def operation_of(api: Description, request: httpx.Request) -> Operation | None:
    return api.operation(request.method, _path(request, api))


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


def _by_ours_and_theirs(
    request: httpx.Request, description: Description | None, check: Callable[[Description], list[str]]
) -> list[str]:
    """What ours finds and, behind it, what only the vendor's own document finds."""
    name = "jira-cloud-v3" if "/rest/api/" in request.url.path else "github"
    ours = description or openapi_for(name)
    theirs = None if CUT_OUT.fullmatch(_path(request, ours)) else vendors_openapi(ours.name)
    return list(dict.fromkeys(check(ours) + (check(theirs) if theirs else [])))


def _path(request: httpx.Request, api: Description) -> str:
    path = request.url.raw_path.decode().partition("?")[0]
    if api.name == "jira-cloud-v3":
        return path[max(path.find("/rest/api/"), 0) :]
    return re.sub(r"^/repositories/\d+", "/repos/by/id", path.removeprefix("/api/v3"))


def _path_problems(api: Description, operation: Operation, request: httpx.Request) -> list[str]:
    match = operation.pattern.fullmatch(_path(request, api))
    assert match is not None
    names = re.findall(r"\{([^}]+)\}", operation.path)
    schemas = {one["name"]: one["schema"] for one in operation.parameters if one["in"] == "path"}
    return [
        f"path {name}: {problem}"
        for name, value in zip(names, match.groups(), strict=True)
        for problem in api.problems(schemas[name], _typed(api, schemas[name], unquote(value)))
    ]


def _query_problems(api: Description, operation: Operation, request: httpx.Request) -> list[str]:
    known = {one["name"]: one for one in operation.parameters if one["in"] == "query"}
    given: dict[str, list[str]] = {}
    for name, value in parse_qsl(request.url.query.decode(), keep_blank_values=True):
        given.setdefault(name, []).append(value)
    found = [
        f"query {name}: missing" for name, one in known.items() if one.get("required") and name not in given
    ]
    for name, values in given.items():
        if name not in known:
            if api.name == "jira-cloud-v3" or name not in CURSORS:
                found.append(f"query {name}: unknown")
            continue
        schema = known[name]["schema"]
        is_list = api.resolve(schema).get("type") == "array"
        decoded: Any = (
            [_typed(api, schema["items"], part) for one in values for part in one.split(",")]
            if is_list
            else _typed(api, schema, values[-1])
        )
        found += [f"query {name}: {problem}" for problem in api.problems(schema, decoded)]
    return found


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
    found = [f"body {name}: unknown" for name in value if properties and name not in properties]
    documents = _vendors_document_problems(operation, value) if api.is_vendors else []
    return found + api.problems(schema, value) + documents


def _vendors_document_problems(operation: Operation, value: Json) -> list[str]:
    """Atlassian's OpenAPI says nothing of documents, so that its schema of them is asked beside it."""
    if not operation.path.startswith("/rest/api/3") or not isinstance(value, dict):
        return []
    if operation.path.endswith(("/comment", "/comment/{id}")):
        return vendors_adf_problems(value.get("body"))
    fields = value.get("fields")
    description = fields.get("description") if isinstance(fields, dict) else None
    return [] if description is None else vendors_adf_problems(description)


def _answer_problems(api: Description, operation: Operation, response: httpx.Response) -> list[str]:
    described = operation.responses.get(str(response.status_code))
    if described is None and response.status_code not in EVERYWHERE:
        return ["this status is not described"]
    schema = (described or {}).get("content", {}).get("application/json", {}).get("schema")
    if schema is None and response.is_error:
        schema = api.error
    if schema is None or response.status_code == 204:
        return ["a 204 with a body"] if response.status_code == 204 and response.content else []
    if not response.content:
        return ["no body, though one is described"]
    if "application/json" not in response.headers.get("content-type", ""):
        return [f"content type {response.headers.get('content-type')!r}"]
    return api.problems(schema, response.json())
