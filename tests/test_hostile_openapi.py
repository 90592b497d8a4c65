"""Every call the OpenAPI document allows, and many it does not: the answer is one that it tells of."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import httpx
import pytest
import structlog
from sqlalchemy import text

from app.runtime import Runtime
from tests.support.fuzzer import EXAMPLES, Fuzzer, a_company, operations
from tests.support.world import World

log = structlog.get_logger()

# What a path's parameters may be, by the path's first words.
KNOWN = {
    "webhooks": "SELECT name FROM sources",
    "sources": "SELECT name FROM sources",
    "runs": "SELECT id FROM runs",
    "cycles": "SELECT key FROM cycles",
    "objectives": "SELECT key FROM objectives",
    "key-results": "SELECT key FROM key_results",
    "rules": "SELECT id FROM rules",
    "links": "SELECT id FROM links",
    "epics": "SELECT sources.name, replace(epics.key, '#', '%23') FROM epics"
    " JOIN sources ON sources.id = epics.source_id",
    "suggestions": "SELECT sources.name, replace(epics.key, '#', '%23'), key_results.key FROM epics"
    " JOIN sources ON sources.id = epics.source_id CROSS JOIN key_results",
    "findings": "SELECT id FROM findings",
    "notices": "SELECT id FROM notices",
    "deliveries": "SELECT id FROM deliveries",
    "tokens": "SELECT id FROM tokens",
    "reviews": "SELECT id FROM reviews",
    "items": "SELECT review_id, id FROM review_items",
    "decisions": "SELECT id FROM decisions",
    "conflicts": "SELECT id FROM conflicts",
    "estimates": "SELECT id FROM value_estimates",
}


# What the loop does meanwhile may use `random`, and hypothesis takes it for ours.
@pytest.mark.filterwarnings("ignore:Do not use the `random` module")
@pytest.mark.timeout(36_000 if EXAMPLES > 5 else 600)
async def test_every_answer_is_one_that_the_document_tells_of(world: World, runtime: Runtime) -> None:
    """No 5xx, no status, content type or shape that is not written there, nothing wrong taken as right."""
    await a_company(world)
    document = (await world.api.get("/openapi.json")).json()
    rows: dict[str, Sequence[Sequence[str]]] = {}
    fuzzer = Fuzzer(world.api, asyncio.get_running_loop(), lambda path: rows.get(_place(path), ()))
    every = operations(document)
    for operation in every:
        for place, query in KNOWN.items():
            async with runtime.sessions() as session:
                found = await session.execute(text(f"{query} ORDER BY 1 LIMIT 10"))
                rows[place] = [tuple(map(str, row)) for row in found]
        await asyncio.to_thread(fuzzer.examine, operation)
    log.info("fuzzed", calls=fuzzer.calls.total(), successes=fuzzer.successes.total())
    assert not fuzzer.faults, "\n\n".join(f"{fault}\n  {call}" for fault, call in fuzzer.faults.items())
    assert fuzzer.calls.keys() == {operation.label for operation in every}


def _place(path: str) -> str:
    place = path.removeprefix("/api/v1").strip("/").split("/")[0]
    if "{item_id}" in path:
        return "items"
    return "suggestions" if "{key_result}" in path and place == "epics" else place


async def test_a_method_an_address_does_not_take_is_refused_with_those_it_takes(
    api: httpx.AsyncClient,
) -> None:
    document = (await api.get("/openapi.json")).json()
    for path, methods in document["paths"].items():
        address = path.replace("{id}", "1").replace("{", "").replace("}", "")
        for method in {"get", "post", "put", "patch", "delete", "options", "trace"} - methods.keys():
            answer = await api.request(method.upper(), address)
            assert answer.status_code == 405, (method, path)
            assert answer.headers["content-type"] == "application/problem+json"
            allowed = {name.strip().lower() for name in answer.headers["allow"].split(",")}
            assert allowed - {"head"} == methods.keys(), path
