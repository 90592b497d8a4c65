"""Calls made up by schemathesis from the OpenAPI document, sent to the API, and checked against it."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import requests
import structlog
from hypothesis import HealthCheck, Phase, given, seed, settings, strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import APIOperation, Case, GenerationMode, checks, openapi
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok

from tests.support.webhook_posts import SECRET, signature
from tests.support.world import World

log = structlog.get_logger()

# Of each operation and of each kind, valid and invalid. The long form also takes every case at the
# bounds of the document.
EXAMPLES = int(os.environ.get("NORTHING_TEST_EXAMPLES", "3"))
IS_LONG = EXAMPLES > 50
HOST = "http://northing"
ORDER = ["get", "post", "put", "patch", "delete"]
# What is deleted last holds the rest.
LAST = ["tokens", "rules", "key-results", "objectives", "cycles", "sources"]
CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
    checks.missing_required_header,
    checks.unsupported_method,
    checks.allow_header_conformance,
]
Operation = APIOperation[Any, Any, Any, Any]
GeneratedCase = Case[Operation]
MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)


def operations(document: dict[str, Any]) -> list[Operation]:
    """Those that read first, those that delete last, and what others stand on at the very end."""

    def rank(operation: Operation) -> tuple[int, int]:
        place = operation.path.removeprefix("/api/v1/").split("/")[0]
        return ORDER.index(operation.method.lower()), LAST.index(place) if place in LAST else -1

    for methods in document["paths"].values():
        for operation in methods.values():
            operation.pop(
                "security", None
            )  # the token is always sent; tests/test_api_access.py leaves it out
    found = []
    for result in openapi.from_dict(document).get_all_operations():
        assert isinstance(result, Ok), result
        found.append(result.ok())
    return sorted(found, key=rank)


@dataclass
class Fuzzer:
    """`known` answers with rows of path parameters that lead somewhere, for the start of a path.

    Everything but the sending runs in a thread: hypothesis waits for nobody.
    """

    client: httpx.AsyncClient
    loop: asyncio.AbstractEventLoop
    known: Callable[[str], Sequence[Sequence[str]]]
    calls: Counter[str] = field(default_factory=Counter)
    successes: Counter[str] = field(default_factory=Counter)
    faults: dict[str, str] = field(default_factory=dict)

    def examine(self, operation: Operation) -> None:
        if IS_LONG:
            for case in self._at_the_bounds(operation):
                self._try(case, 0)
        for mode in MODES:
            self._made_up(operation, mode)

    def _made_up(self, operation: Operation, mode: GenerationMode) -> None:
        @seed(1)
        @settings(
            max_examples=EXAMPLES,
            phases=[Phase.generate],
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(operation.as_strategy(generation_mode=mode), st.integers(0, 9))
        def examine(case: GeneratedCase, pick: int) -> None:
            self._try(case, pick)

        try:
            examine()
        except Unsatisfiable:
            assert mode is GenerationMode.NEGATIVE  # what takes nothing, or any text, takes nothing wrong

    def _at_the_bounds(self, operation: Operation) -> Iterator[GeneratedCase]:
        schema: Any = operation.schema
        config = schema.config.generation_for(operation=operation)
        cases: Iterator[GeneratedCase] = schema.iter_coverage_cases(
            operation, generation_modes=list(MODES), generation_config=config
        )
        return cases

    def _try(self, case: GeneratedCase, pick: int) -> None:
        if pick < 8 and not self._is_path_wrong(case):
            self._lead_somewhere(case, pick)
        sent = self._prepared(case, pick)
        if sent is None:
            return
        answer = self._send(sent)
        self.calls[case.operation.label] += 1
        self.successes[case.operation.label] += answer.is_success
        try:
            case.validate_response(answer, checks=CHECKS)
        except FailureGroup as group:
            for failure in group.exceptions:
                label = f"{case.operation.label}: {failure}"
                body = (sent.content or b"")[:2000]
                call = f"{sent.method} {sent.url} {body!r} -> {answer.status_code} {answer.text[:500]}"
                fault = re.sub(r"\s+", " ", label)[:300]
                if fault not in self.faults:
                    log.error("undocumented", fault=fault, call=call)  # the long form takes an hour
                self.faults.setdefault(fault, call)

    @staticmethod
    def _is_path_wrong(case: GeneratedCase) -> bool:
        data = case.meta.phase.data if case.meta is not None else None
        return "path" in str(getattr(data, "parameter_location", None)).lower()

    def _lead_somewhere(self, case: GeneratedCase, pick: int) -> None:
        names = re.findall(r"\{(\w+)\}", case.operation.path)
        rows = self.known(case.operation.path) if names else ()
        if rows:
            row = rows[pick % len(rows)]
            assert len(row) == len(names), case.operation.path
            case.path_parameters.update(zip(names, row, strict=True))

    def _prepared(self, case: GeneratedCase, pick: int) -> httpx.Request | None:
        try:
            made = requests.Request(**case.as_transport_kwargs(base_url=HOST)).prepare()
            headers = {_bytes(name): _bytes(value) for name, value in made.headers.items()}
        except (ValueError, requests.exceptions.RequestException):
            return None  # no client can say this in HTTP
        headers[b"Authorization"] = self.client.headers["Authorization"].encode()
        body = made.body.encode() if isinstance(made.body, str) else made.body or b""
        if case.operation.path.startswith("/webhooks/") and pick % 4:
            for name in (b"X-Hub-Signature", b"X-Hub-Signature-256"):
                headers[name] = signature(body, SECRET).encode()
        try:
            return httpx.Request(case.method, made.url or "", headers=headers, content=body)
        except (httpx.InvalidURL, UnicodeError):
            return None

    def _send(self, request: httpx.Request) -> httpx.Response:
        answer = asyncio.run_coroutine_threadsafe(self.client.send(request), self.loop).result(60)
        assert isinstance(answer, httpx.Response)
        return answer


def _bytes(value: str | bytes) -> bytes:
    return value.encode("latin-1") if isinstance(value, str) else value


async def a_company(world: World) -> None:
    """Something of everything, on both trackers."""
    await world.no_grace()
    for number in (1, 2, 3):
        world.site.create("SHOP", f"Epic {number}", labels=[f"team-{number}"])
        world.host.create("acme/shop", f"Epic {number}", labels=["epic"])
        await world.send("POST", "/tokens", {"name": f"token {number}", "role": "viewer"})
        await world.goal(f"KR-{number}")
        cycle = {"key": f"Q{number}", "title": "Quarter", "starts": "2026-01-01", "ends": "2027-12-31"}
        await world.send("POST", "/cycles", cycle | {"review": "monthly"})
        rule = {"name": f"rule {number}", "when": {"label": f"team-{number}"}, "key_result": f"KR-{number}"}
        await world.send("POST", "/rules", rule | {"enabled": number == 1})
        await world.send("POST", "/key-results/KR-1/check-ins", {"value": number, "confidence": 0.5})
        await world.send("POST", "/key-results/KR-1/agreements", {"side": "it", "name": f"Ann {number}"})
    await world.connect_jira(scope={"projects": ["SHOP"]}, webhook_secret=SECRET)
    await world.connect_github(scope={"repositories": ["acme/shop"]}, webhook_secret=SECRET)
    for source in ("jira", "github"):
        assert (await world.sync(source, "full"))["state"] == "succeeded"
    for key in ("SHOP-1", "SHOP-2"):
        await world.send("POST", "/links", {"epic": {"source": "jira", "key": key}, "key_result": "KR-2"})
    await _a_committee(world)
    for name in "abc":
        body = json.dumps({"action": "edited", "issue": {"id": 1}, "repository": {"name": name}}).encode()
        headers = {"content-type": "application/json", "x-github-event": "issues"}
        signed = headers | {"x-hub-signature-256": signature(body, SECRET)}
        assert (await world.api.post("/webhooks/github", content=body, headers=signed)).status_code == 202
    await world.drain()


async def _a_committee(world: World) -> None:
    """An open review with a line and a decision, a conflict, criteria, scores and an estimate."""
    people = [{"name": "Ann", "side": "business"}, {"name": "Bob", "side": "it"}]
    review = {"cycle": "Q1", "held_on": "2027-01-15", "attendees": people}
    opened = (await world.send("POST", "/reviews", review))["id"]
    await world.send("POST", f"/reviews/{opened}/items", {"title": "Any other business"})
    for number in (1, 2):
        epic = {"epic": {"source": "jira", "key": f"SHOP-{number}"}}
        decision = {"decision": "keep", "reason": "It goes well", "decided_by": people}
        await world.send("POST", f"/reviews/{opened}/decisions", epic | decision)
        await world.send("POST", "/conflicts", epic | {"technical": "Not before March", "business": "Now"})
        estimate = {"kind": "planned", "amount": 10, "currency": "EUR", "estimated_by": "Ann"}
        await world.send("POST", f"/epics/jira/SHOP-{number}/estimates", estimate)
    await world.send("PUT", "/criteria", [{"key": "VALUE", "title": "Value", "weight": 1}])
    await world.send("PUT", "/epics/jira/SHOP-1/scores", {"VALUE": 3})
