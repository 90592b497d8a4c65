"""The pages of allocation and outcomes, and the estimates on the pages of epics and key results."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from fastapi import FastAPI

from app.runtime import Runtime
from tests.support.clock import Clock
from tests.support.pages import Visitor, visiting, words_of
from tests.support.work_rows import HOSTILE, add_company

pytestmark = pytest.mark.database

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)


@pytest.fixture
async def visitor(application: FastAPI, runtime: Runtime, clock: Clock) -> AsyncIterator[Visitor]:
    clock.now = NOW
    await add_company(runtime, NOW)
    async with visiting(application) as somebody:
        await somebody.sign_in()
        yield somebody


def _links(html: str, part: str) -> list[str]:
    found = re.findall(rf'href="([^"]*{re.escape(part)}[^"]*)"[^>]*>(?:<[^>]*>)*([0-9,]+ epics?)', html)
    return [f"{address.replace('&amp;', '&')} {words}" for address, words in found]


async def test_each_number_leads_to_as_many_epics(visitor: Visitor) -> None:
    for query in ("", "by=children", "by=points", "month=2026-10", "project=shop", "cycle=Q4"):
        html = await visitor.get(f"/allocation?{query}")
        assert HOSTILE not in html
        found = _links(html, "/allocation/epics?")
        assert len(found) >= 4, query
        for one in found:
            address, number, _ = one.split(" ")
            listed = await visitor.get(address)
            assert listed.count('<th scope="row">') == int(number), one


async def test_classes_lead_to_their_epics(visitor: Visitor) -> None:
    html = await visitor.get("/allocation")
    for name, number in (("aligned", 5), ("unaligned", 4), ("exempt", 1)):
        assert f"/allocation/epics?state=open&amp;class={name}" in html
        listed = await visitor.get(f"/allocation/epics?state=open&class={name}")
        assert listed.count('<th scope="row">') == number
    assert "1 of the unaligned is waived" in words_of(html)
    assert "Finished in November 2026 so far" in words_of(html)


async def test_a_frozen_month(visitor: Visitor) -> None:
    words = words_of(await visitor.get("/allocation?month=2026-10"))
    assert "October 2026, as it was frozen on 1 Nov 2026, 01:00 UTC" in words
    assert "Frozen late" not in words
    assert "CSV for finance" in words
    listed = words_of(await visitor.get("/allocation/epics?month=2026-10&state=finished"))
    assert "KR-1 : linked by hand" in listed
    answer = await visitor.http.get("/allocation?month=2026-10&format=csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert (answer.headers["cache-control"], len(rows)) == ("no-store", 14)


async def test_what_is_missing_is_said(visitor: Visitor) -> None:
    words = words_of(await visitor.get("/allocation?by=points"))
    assert "6 of 10 epics have story points. The others count for nothing here." in words
    assert "0 of 2 epics have story points: the source names no field for them" in words


async def test_wrong_addresses_are_answered_in_words(visitor: Visitor) -> None:
    for path, status, words in (
        ("/allocation?month=2026-13", 422, "Must be a month such as 2026-11"),
        ("/allocation?month=2026-10&cycle=Q4", 422, "Cycle cannot be sent with month"),
        ("/allocation?source=no", 422, "There is no source"),
        ("/allocation?month=2025-01", 404, "2025-01 was not frozen"),
        ("/allocation/epics?month=2026-13", 422, "must be a month"),
        ("/allocation/epics?after=-1", 422, "after"),
        ("/outcomes?cycle=no", 422, "There is no cycle"),
        ("/outcomes?objective=no", 422, "There is no objective"),
    ):
        assert words.lower() in words_of(await visitor.get(path, status)).lower(), path


async def test_finished_work_that_moved_nothing_stands_first(visitor: Visitor) -> None:
    html = await visitor.get("/outcomes")
    words = words_of(html)
    assert HOSTILE not in html
    assert "1 finished, and the number has not moved." in words
    assert words.index("Checkout conversion") < words.index("Cost of a delivery")
    assert "The work is finished, and the number has not moved : its latest value is its baseline." in words
    assert "The number moved without the work" in words
    assert "SHOP-30" in words
    assert "Key results EUR 600,000 -1,250.5" in words
    assert "Key results USD 9,000 –" in words
    assert "Initiatives EUR 25,000 –" in words
    only = words_of(await visitor.get("/outcomes?finished=yes"))
    assert "KR-2" not in only
    rows = list(csv.DictReader(io.StringIO((await visitor.http.get("/outcomes?format=csv")).text)))
    assert rows[0]["sign"] == "finished_not_moved"


ADD = {
    "do": "add-estimate",
    "kind": "realised",
    "amount": "1200.5",
    "currency": "chf",
    "estimated_by": HOSTILE[:500],
    "at": "2026-11-27",
    "note": "=1+1",
}


@pytest.mark.parametrize("path", ["/epics/acme/SHOP-3", "/goals/KR-3"])
async def test_an_estimate_is_added_undone_and_deleted(visitor: Visitor, path: str) -> None:
    await visitor.send(path, ADD)
    html = await visitor.get(path)
    assert HOSTILE[:100] not in html
    words = words_of(html)
    assert "Estimated: 1,200.50 CHF realised." in words
    assert "27 Nov 2026" in words
    (undo,) = re.findall(r'name="of" value="(\w+)"', html)
    await visitor.send(path, {"of": undo}, to="/undo")
    assert "1,200.5" not in words_of(await visitor.get(path)).replace("Undone: Estimated: 1,200.5", "")
    await visitor.send(path, ADD)
    html = await visitor.get(path)
    id = re.findall(r'name="estimate" value="(\d+)">Delete<span class="vh"> 1,200.5', html)[0]
    await visitor.send(path, {"do": "delete-estimate", "estimate": id})
    html = await visitor.get(path)
    assert "Deleted: 1,200.50 CHF realised." in words_of(html)
    (undo,) = re.findall(r'name="of" value="(\w+)"', html)
    await visitor.send(path, {"of": undo}, to="/undo")
    assert words_of(await visitor.get(path)).count("1,200.50 CHF") >= 2


WRONG = (
    ({"amount": "many"}, "Must be a number"),
    ({"amount": ""}, "Must not be empty"),
    ({"currency": "EURO"}, "Must be a currency's three letters"),
    ({"estimated_by": " "}, "Must not be empty"),
    ({"at": "2199-01-01"}, "Must lie between 1970 and 2100"),
)


@pytest.mark.parametrize("path", ["/epics/acme/SHOP-3", "/goals/KR-3"])
async def test_a_wrong_estimate_is_shown_again(visitor: Visitor, path: str) -> None:
    for values, words in WRONG:
        answer = await visitor.send(path, {**ADD, **values}, expect=422)
        assert words in words_of(answer.text).replace("&#39;", "'"), values
        assert re.search(r"<title>1 (fault|to correct)", answer.text), values
        assert 'value="1200.5"' in answer.text or "amount" in values
        assert " autofocus" in answer.text


async def test_viewers_read_and_change_nothing(visitor: Visitor) -> None:
    made = await visitor.http.post(
        "/api/v1/tokens",
        json={"name": "viewer", "role": "viewer"},
        headers={"Authorization": "Bearer a-token-for-the-tests"},
    )
    visitor.http.cookies.clear()
    await visitor.sign_in(made.json()["token"])
    for path in ("/allocation", "/allocation/epics", "/outcomes"):
        await visitor.get(path)
    for path in ("/epics/acme/SHOP-30", "/goals/KR-2"):
        html = await visitor.get(path)
        assert "What it is worth" in html
        assert 'value="add-estimate"' not in html
        assert 'name="estimate"' not in html
        await visitor.send(path, ADD, expect=403)
        await visitor.send(path, {"do": "delete-estimate", "estimate": "1"}, expect=403)
