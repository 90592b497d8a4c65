"""The audit on rows: its figures, its filters, and each of its forms: API, file, report, page and command."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import event, select, text

from app.cli.audit import audit
from app.runtime import Runtime
from app.settings import Settings
from connectors.base import Parent
from mappings.errors import Invalid
from mappings.reports.audit import audit_report
from mappings.reports.audit_text import COLUMNS, ROWS_AT_ONCE, csv_pieces
from mappings.tables import CriterionRow, EpicRow, ScoreRow
from tests.support.clock import Clock
from tests.support.goals_api import send
from tests.support.pages import Visitor, visiting, words_of
from tests.support.stored_epics import evaluate_due_epics, source_with, stored_epic
from tests.support.triage import HOSTILE, LONG, RIGHT_TO_LEFT

pytestmark = pytest.mark.database


async def _goal(
    api: httpx.AsyncClient, key: str, title: str, *, measured: bool = True, **objective: Any
) -> None:
    made = await send(api, "POST", "/objectives", {"title": f"Objective of {key}", **objective}, 201)
    metric = {"unit": "%", "baseline": 1, "target": 5} if measured else {}
    body = {"key": key, "title": title, "metric": metric}
    await send(api, "POST", f"/objectives/{made['key']}/key-results", body, 201)


async def _fill(api: httpx.AsyncClient, runtime: Runtime, clock: Clock) -> None:
    """SHOP-1 is steered and answered; SHOP-2 is being done for KR-2, which nobody has signed and which has
    no sponsor; SHOP-3 serves nothing. SHOP-4 is finished for KR-2. SHOP-11 to SHOP-13 are below the first
    three."""
    starts = clock.now.date() - timedelta(days=70)
    cycle = {
        "key": "Q",
        "title": "Q",
        "starts": str(starts),
        "ends": str(starts + timedelta(days=90)),
        "review": "monthly",
    }
    await send(api, "POST", "/cycles", cycle, 201)
    await _goal(api, "KR-1", "Checkout conversion from 1 to 5 %", owner="shop-lead", sponsor="coo", cycle="Q")
    await _goal(api, "KR-2", "Launch the new search", owner="search-lead")
    for side in ("business", "it"):
        await send(api, "POST", "/key-results/KR-1/agreements", {"side": side, "name": side}, 201)
    await send(api, "POST", "/key-results/KR-1/check-ins", {"value": 2, "confidence": 0.8}, 201)
    parts = [stored_epic(10 + number, parent=Parent(f"SHOP-{number}")) for number in (1, 2, 3)]
    epics = [
        stored_epic(1, title=HOSTILE, status_category="doing"),
        stored_epic(2, title=LONG, status_category="doing"),
        stored_epic(3, title=RIGHT_TO_LEFT),
        stored_epic(4, status_category="done"),
        *parts,
    ]
    await source_with(api, runtime, epics)
    for number, goal in ((1, "KR-1"), (2, "KR-2"), (4, "KR-2")):
        link = {"epic": {"source": "jira", "key": f"SHOP-{number}"}, "key_result": goal}
        await send(api, "POST", "/links", link, 201)
    await evaluate_due_epics(runtime)
    await send(
        api,
        "PUT",
        "/epics/jira/SHOP-1/value",
        {"answer": "More | visits *end* in @orders.", "driver": "growth"},
    )
    await send(api, "PUT", "/epics/jira/SHOP-3/value", {"asked_of": "Dana"})


@pytest.fixture
async def filled(api: httpx.AsyncClient, runtime: Runtime, clock: Clock) -> httpx.AsyncClient:
    await _fill(api, runtime, clock)
    return api


def _seen(report: Any) -> dict[str, int]:
    return {one["sign"]: one["count"] for one in report["signs"] if one["seen"]}


async def test_each_current_initiative_and_the_signs_on_it(filled: httpx.AsyncClient) -> None:
    report = await send(filled, "GET", "/reports/audit")
    signs = {one["key"]: one["signs"] for one in report["initiatives"]}
    assert signs == {
        "SHOP-2": ["value-unanswered", "not-agreed", "no-owner"],
        "SHOP-3": ["no-goal", "value-unanswered"],
        "SHOP-1": [],
    }
    assert list(signs) == ["SHOP-2", "SHOP-3", "SHOP-1"]  # those with the most signs first
    first, last = report["initiatives"][0], report["initiatives"][2]
    assert first["key_result"]["not_steered_because"] == [
        "the business and IT have not signed its metric as it is now",
        "nobody has checked in a value",
    ]
    assert (last["value"], last["driver"], last["answered_by"]) == (
        "More | visits *end* in @orders.", "growth", "admin token",
    )  # fmt: skip
    goal = last["key_result"]
    assert (goal["key"], goal["owner"], goal["sponsor"]) == ("KR-1", "shop-lead", "coo")
    assert (goal["measured"], goal["agreed"], goal["moved"]) == (True, True, True)
    assert (report["total"], report["with_goal"], report["answered"], report["steered_initiatives"]) == (
        3,
        2,
        1,
        1,
    )
    coverage = await send(filled, "GET", "/reports/coverage")
    assert (report["coverage"], report["steered"]) == (coverage["rate"], coverage["steered"])
    assert _seen(report) == {
        "no-goal": 1,
        "value-unanswered": 2,
        "not-agreed": 1,
        "not-moved": 1,
        "no-priority": 6,
        "no-owner": 1,
        "no-review": 1,
        "activity-only": 1,
    }
    assert report["summary"].startswith(
        "Of 3 current initiatives, 2 serve a live key result, 1 says how it helps"
    )


async def test_decisions_stages_scores_reviews_and_conflicts_are_read_as_they_are(
    filled: httpx.AsyncClient, runtime: Runtime, clock: Clock
) -> None:
    async with runtime.sessions.begin() as session:
        value = CriterionRow(key="V", title="Value", weight=3, position=1)
        effort = CriterionRow(key="E", title="Effort", weight=1, position=2)
        session.add_all([value, effort])
        await session.flush()
        ids = {row.key: row.id for row in await session.scalars(select(EpicRow))}
        given = [(ids["SHOP-1"], value.id, 5), (ids["SHOP-1"], effort.id, 1), (ids["SHOP-2"], value.id, 5)]
        session.add_all(
            ScoreRow(epic_id=epic, criterion_id=criterion, score=score, at=clock.now)
            for epic, criterion, score in given
        )
    about = {"epic": {"source": "jira", "key": "SHOP-2"}}
    await send(
        filled, "POST", "/conflicts", {**about, "technical": "It is full.", "business": "By May."}, 201
    )
    async with runtime.sessions.begin() as session:
        await session.execute(
            text(
                "UPDATE epics SET set_aside = 'stop', set_aside_decision_id = 1"
                " WHERE key IN ('SHOP-2', 'SHOP-13')"
            )
        )
        await session.execute(
            text("UPDATE epics SET set_aside = 'stop', set_aside_until = :past WHERE key = 'SHOP-1'"),
            {"past": clock.now - timedelta(days=1)},
        )
        await session.execute(
            text(
                "INSERT INTO epic_stages (epic_id, stage, due, entered_at)"
                " SELECT id, 'pilot', '2026-12-31', now() FROM epics WHERE key = 'SHOP-2'"
            )
        )
    clock.advance(days=40)
    report = await send(filled, "GET", "/reports/audit")
    by_key = {one["key"]: one for one in report["initiatives"]}
    assert [by_key[key]["score"] for key in ("SHOP-1", "SHOP-2", "SHOP-3")] == [4.0, None, None]
    assert [by_key[key]["set_aside"] for key in ("SHOP-1", "SHOP-2", "SHOP-3")] == [None, "stop", None]
    assert (by_key["SHOP-2"]["stage"], by_key["SHOP-2"]["stage_due"]) == ("pilot", "2026-12-31")
    seen = _seen(report)
    assert (seen["stopped-in-work"], seen["old-conflict"], seen["no-priority"]) == (1, 1, 5)
    assert "stopped-in-work" in by_key["SHOP-2"]["signs"]


async def test_filters_leave_what_they_name(filled: httpx.AsyncClient, runtime: Runtime) -> None:
    await source_with(
        filled, runtime, [stored_epic(1, "CORE"), stored_epic(2, "CORE", parent=Parent("CORE-1"))], "other"
    )

    async def keys(query: str) -> list[str]:
        report = await send(filled, "GET", f"/reports/audit?{query}")
        return sorted(one["key"] for one in report["initiatives"])

    assert await keys("source=OTHER") == ["CORE-1"]
    assert await keys("project=shop") == ["SHOP-1", "SHOP-2", "SHOP-3"]
    assert await keys("cycle=q") == ["SHOP-1"]
    assert await keys("limit=1&project=shop") == ["SHOP-2"]
    for query in ("source=nowhere", "cycle=nowhere", "limit=0", "format=pdf", "sort=x"):
        await send(filled, "GET", f"/reports/audit?{query}", status=422)


async def test_the_file_has_a_row_for_each_and_the_report_reads_as_one_to_send(
    filled: httpx.AsyncClient,
) -> None:
    answer = await filled.get("/api/v1/reports/audit?format=csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    header, *rows = csv.reader(io.StringIO(answer.text))
    assert header == list(COLUMNS)
    shown = {row[1]: dict(zip(header, row, strict=True)) for row in rows}
    assert list(shown) == ["SHOP-2", "SHOP-3", "SHOP-1"]
    assert (shown["SHOP-1"]["title"], shown["SHOP-1"]["moved"]) == (HOSTILE, "true")
    assert shown["SHOP-2"]["signs"] == "value-unanswered, not-agreed, no-owner"
    answer = await filled.get("/api/v1/reports/audit?format=md")
    assert answer.headers["content-type"] == "text/markdown; charset=utf-8"
    lines = answer.text.splitlines()
    assert lines[0] == "# Audit of the current initiatives"
    assert "1. **No goal behind the work.** 1 of 3 current initiatives serves no live key result." in lines
    assert "   *What to do:* Link each to the key result that it serves, or decide to stop it." in lines
    assert "   Seen on: SHOP-3." in lines
    table = [line for line in lines if line.startswith("| ")]
    assert len(table) == 5
    assert "<script>" not in answer.text
    # A word joiner after the @ keeps it from being a mention where the report is pasted.
    assert "More \\| visits \\*end\\* in @\u2060orders." in table[-1]
    assert "not answered; Dana is asked" in table[3]


async def test_a_company_without_initiatives_is_told_what_makes_one(
    api: httpx.AsyncClient, runtime: Runtime, application: FastAPI
) -> None:
    report = await send(api, "GET", "/reports/audit")
    assert (report["total"], report["initiatives"], report["more"], _seen(report)) == (0, [], 0, {})
    assert report["summary"].startswith("There is no current initiative to audit.")
    markdown = (await api.get("/api/v1/reports/audit?format=md")).text
    assert "An initiative is an epic that another epic has as its parent" in markdown
    assert (await api.get("/api/v1/reports/audit?format=csv")).text.count("\r\n") == 1
    async with visiting(application) as somebody:
        await somebody.sign_in()
        assert "There is no current initiative." in words_of(await somebody.get("/audit"))


# --- the page -------------------------------------------------------------------------------------


@pytest.fixture
async def visitor(application: FastAPI, filled: httpx.AsyncClient) -> AsyncIterator[Visitor]:
    async with visiting(application) as somebody:
        await somebody.sign_in()
        yield somebody


async def test_the_page_says_what_to_do_and_names_each_initiative(visitor: Visitor) -> None:
    page = await visitor.get("/audit")
    words = words_of(page)
    assert "8 of 11 seen" in words
    assert "1 of 3 current initiatives serves no live key result." in words
    assert "Link each to the key result that it serves, or decide to stop it. Link them" in words
    assert "<script>alert" not in page
    assert words_of(page).count("Not answered") == 2
    assert "Of 1 current initiative" in words_of(await visitor.get("/audit?cycle=Q"))
    assert "there is no source" in words_of(await visitor.get("/audit?source=nowhere", expect=422)).lower()
    answer = await visitor.http.get("/audit?format=csv&project=SHOP")
    assert answer.headers["content-disposition"] == 'attachment; filename="audit.csv"'
    assert answer.text.count("\r\n") >= 4
    answer = await visitor.http.get("/audit?format=md")
    assert answer.text.startswith("# Audit of the current initiatives")


async def test_many_are_bounded_on_the_page_and_whole_in_the_file(
    api: httpx.AsyncClient, runtime: Runtime, application: FastAPI, clock: Clock
) -> None:
    await source_with(api, runtime, [stored_epic(1, type="Initiative")])
    await send(api, "PATCH", "/policy", {"initiatives": {"types": ["initiative"]}})
    async with runtime.sessions.begin() as session:
        columns = (
            "source_id, tracker, project, title, url, type, status, status_category, labels, assignees,"
            " components, ticket_references, fields, tracker_created_at, tracker_updated_at, content_hash,"
            " read_at"
        )
        await session.execute(
            text(
                f"INSERT INTO epics (remote_id, key, {columns}) SELECT 'r' || n, 'SHOP-' || n, {columns}"
                " FROM epics, generate_series(2, 1002) AS n"
            )
        )
    executed: list[str] = []
    event.listen(runtime.engine.sync_engine, "before_cursor_execute", lambda *sent: executed.append(sent[2]))
    async with runtime.sessions() as session:
        report = await audit_report(session, clock.now)
    assert len(executed) <= 14, "statements, whatever the number of epics"
    assert sum(piece.count("\r\n") for piece in csv_pieces(report)) == 1003 > ROWS_AT_ONCE
    shown = await send(api, "GET", "/reports/audit?limit=500")
    assert (len(shown["initiatives"]), shown["more"]) == (500, 502)
    async with visiting(application) as somebody:
        await somebody.sign_in()
        assert "And 952 more: the CSV file has all of them." in words_of(await somebody.get("/audit"))
    assert "And 952 more;" in (await api.get("/api/v1/reports/audit?format=md")).text


# --- the command ----------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [80, 120])
async def test_the_table_fits_the_terminal(
    filled: httpx.AsyncClient,
    settings: Settings,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    width: int,
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    await send(filled, "PUT", "/epics/jira/SHOP-3/value", {"answer": "\x1b[2J It clears the screen."})
    capsys.readouterr()
    assert await audit(settings, "table", source=None, project=None, cycle=None) == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= width
    assert "\x1b" not in shown
    words = " ".join(shown.split())
    assert "Of 3 current initiatives, 2 serve a live key result, 2 say how they help" in words
    assert "-> Link each to the key result that it serves, or decide to stop it." in words
    assert ("owner, sponsor" in words) is (width == 120)


@pytest.mark.parametrize("form", ["json", "csv", "md"])
async def test_no_form_steers_the_terminal_that_shows_it(
    filled: httpx.AsyncClient, settings: Settings, capsysbinary: pytest.CaptureFixture[bytes], form: str
) -> None:
    answer = {"answer": "\x1b[2J It clears the \u202escreen.", "asked_of": "\x1b]0;Ann\x07"}
    await send(filled, "PUT", "/epics/jira/SHOP-3/value", answer)
    capsysbinary.readouterr()
    assert await audit(settings, form, source=None, project=None, cycle=None) == 0
    shown = capsysbinary.readouterr().out.decode()
    assert "It clears the" in shown
    assert not re.search("[\x1b\x07\u202e]", shown)


async def test_the_command_writes_each_form(
    filled: httpx.AsyncClient, settings: Settings, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    async def shown(form: str, **limits: Any) -> str:
        capsysbinary.readouterr()
        asked = {"source": None, "project": None, "cycle": None, **limits}
        assert await audit(settings, form, **asked) == 0
        return capsysbinary.readouterr().out.decode()

    document = json.loads(await shown("json"))
    assert document["initiatives"][0]["key"] == "SHOP-2"
    assert document == {**await send(filled, "GET", "/reports/audit"), "at": document["at"]}
    assert (await shown("csv")).startswith("source,key,title,")
    assert (await shown("md")).startswith("# Audit of the current initiatives\n")
    assert "source jira, project SHOP" in await shown("md", source="JIRA", project="SHOP")
    with pytest.raises(Invalid, match="there is no source 'nowhere'"):
        await audit(settings, "json", source="nowhere", project=None, cycle=None)
