"""What a connector makes of every fault, at every call it knows: the error says what the caller should do."""

from __future__ import annotations

import pytest

from connectors.base import (
    BadPayload,
    ConnectorError,
    Unanswered,
    Unauthorized,
    Unavailable,
)
from connectors.clock import utc_now
from connectors.rate_limits import ResponseMeta
from tests.support.connector_calls import READS, WRITES, target
from tests.support.fault_bench import READING
from tests.support.faults import Trouble, all_troubles, dealt

# Every request that a call makes, as a glob.
REQUESTS: dict[str, dict[str, list[str]]] = {
    "jira": {
        "account": ["GET */myself"],
        "projects": ["GET */project/search"],
        "listing": ["GET */issuetype", "POST */search/jql"],
        "fetch": ["GET */issuetype", "POST */issue/bulkfetch"],
        "find": ["GET */myself", "GET */issue/*/comment", "POST */comment/list"],
        "read": ["GET */issue/*/comment/*", "GET */properties/northing"],
        "create": ["POST */issue/*/comment"],
        "edit": ["PUT */issue/*/comment/*"],
        "delete": ["DELETE */issue/*/comment/*"],
    },
    "github": {
        "account": ["GET */user"],
        "projects": ["GET */repos/acme/shop"],
        "listing": ["GET */issues"],
        "fetch": ["GET */issues/1"],
        "find": ["GET */user", "GET */issues/1/comments"],
        "read": ["GET */issues/comments/*"],
        "create": ["POST */issues/1/comments"],
        "edit": ["PATCH */issues/comments/*"],
        "delete": ["DELETE */issues/comments/*"],
    },
}


def expected(trouble: Trouble, *, write: bool) -> type[ConnectorError]:
    if trouble.meaning == "nobody":
        return Unauthorized
    if trouble.meaning == "unreadable":
        return Unanswered if write else BadPayload
    return Unanswered if write and not trouble.limit else Unavailable


CASES = [
    (kind, call, request)
    for kind, calls in REQUESTS.items()
    for call, requests in calls.items()
    for request in requests
]


@pytest.mark.parametrize(("kind", "call", "request_"), CASES)
async def test_each_answer_has_one_meaning(kind: str, call: str, request_: str) -> None:
    """And no call of ours, nor the library below it, asks twice."""
    write = call in WRITES
    # A 204 has no body that could be cut off.
    left_out = {"truncated"} if call == "delete" else set()
    troubles = [
        one
        for one in all_troubles(kind)
        if (one.meaning in ("later", "unreadable") or one.name == "401") and one.name not in left_out
    ]
    async with target(kind) as on:
        for trouble in troubles:
            on.tracker.faults.clear()
            on.tracker.log.clear()
            fault = on.tracker.faults.add(request_, trouble.strike(on.tracker))
            fresh = on.connector.__dict__
            fresh["_account"] = fresh["_types"] = None  # a run's connector is new
            on.connector.restore_budget(ResponseMeta(), utc_now())
            with pytest.raises(expected(trouble, write=write)) as caught:
                await (WRITES if write else READS)[call](on)
            answer_text = (trouble.name, caught.value)
            assert type(caught.value) is expected(trouble, write=write), answer_text
            assert (fault.struck, on.tracker.log.count(request_)) == (1, 1), answer_text
            assert caught.value.message, answer_text
            if isinstance(caught.value, Unavailable):
                assert abs(caught.value.retry_after - trouble.wait) <= 1, answer_text
                assert caught.value.has_retry_after == trouble.named, answer_text
                assert caught.value.what_to_do, answer_text
    assert len(troubles) >= 10


@pytest.mark.parametrize("kind", REQUESTS)
def test_what_is_dealt_leaves_no_trouble_out_and_no_meaning_at_any_place(kind: str) -> None:
    """For the tests of the whole pipeline, which have not the time for all at every place."""
    for places, write in ((list(READING[kind]), False), (["create", "edit", "delete"], True)):
        struck = dealt(kind, places, write=write)
        # The answers that limit us are told apart where we read.
        expected_value = {one.name for one in all_troubles(kind) if not (write and one.limit)}
        assert expected_value <= {one.name for troubles in struck.values() for one in troubles}
        for place, troubles in struck.items():
            assert {one.meaning for one in troubles} == {"later", "unreadable", "nobody", "nothing"}, place
            assert any("after the work" in one.name for one in troubles) is write, place
