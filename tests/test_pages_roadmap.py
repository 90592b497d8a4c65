"""The page of the roadmap, its picture and its file."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import timedelta
from html import unescape
from xml.etree import ElementTree

import pytest
from fastapi import FastAPI

from app.runtime import Runtime
from app.web.roadmap_svg import fit
from mappings.policy.durations import end_of_day
from mappings.tables import EpicStageRow, EpicValueRow
from tests.support.clock import Clock
from tests.support.pages import Visitor, visiting, words_of
from tests.support.roadmaps import NOW, TODAY, Company, company_in

pytestmark = pytest.mark.database

HOSTILE = '<script>alert(1)</script> &amp; "]]>\u202e ' + "م" * 40 + "x" * 440
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
async def company(runtime: Runtime, clock: Clock) -> AsyncIterator[Company]:
    clock.now = NOW
    async with runtime.sessions.begin() as session:
        yield await company_in(session)


@pytest.fixture
async def visitor(application: FastAPI) -> AsyncIterator[Visitor]:
    async with visiting(application) as somebody:
        yield somebody


async def test_each_number_leads_to_as_many_rows(company: Company, visitor: Visitor) -> None:
    for number in range(1, 10):
        goals = [["KR-1"], ["KR-2", "KR-1"], []][number % 3]
        await company.epic(f"SHOP-{number}", *goals, due_on=TODAY + timedelta(days=number - 3))
    await company.epic("SHOP-10", alignment="waived")
    await company.session.commit()
    await visitor.sign_in()
    for by in ("outcome", "project"):
        text = await visitor.get(f"/roadmap?by={by}&limit=1")
        numbers = re.findall(r'<a href="(/epics\?[^"]*)">(\d+) (\w+)', text)
        assert {words for _, _, words in numbers} >= {"aligned", "unaligned", "waived", "more"}
        for href, number, words in numbers:
            listed = await visitor.get(unescape(href))
            rows = len(re.findall(r'<tr[^>]*id="epic-|<tr data-row', listed))
            assert rows == int(number) + (words == "more") * (1 + ("KR-1" in href) * 3), (href, words)


async def test_what_is_said_of_an_epic_stands_under_its_name(company: Company, visitor: Visitor) -> None:
    late = await company.epic(
        "SHOP-1", "KR-1", "KR-2", due_on=TODAY - timedelta(days=7), children=12, children_done=7
    )
    part = {"parent_key": "SHOP-1", "parent_remote_id": "SHOP-1"}
    below = await company.epic("SHOP-2", "KR-1", starts_on=TODAY, **part)
    await company.epic("SHOP-3", parent_key="OUT-1", parent_title="A fair in spring")
    company.session.add(EpicStageRow(epic_id=late.id, stage="pilot", due=TODAY, entered_at=NOW))
    company.session.add(EpicValueRow(epic_id=below.id, answer="More orders a visit", driver="growth"))
    stop = {"alignment": "exempt", "set_aside": "defer"}
    await company.epic("SHOP-4", **stop, set_aside_until=end_of_day(TODAY + timedelta(days=30)))
    await company.epic("SHOP-5", set_aside="stop", set_aside_until=NOW - timedelta(days=1))  # is over
    was = {"due_on": TODAY - timedelta(days=20), "key_results": ["KR-1", "KR-2"]}
    await company.review(NOW - timedelta(days=20), late, SHOP1=was)
    await company.session.commit()
    await visitor.sign_in()
    text = words_of(await visitor.get("/roadmap"))
    for words in (
        "was due 20 Nov",
        "due moved from 7 Nov, 13 days later",
        "also KR-2",
        "pilot until 27 Nov 2026",
        "no value answer yet",  # of the initiative
        "Growth: More orders a visit",
        "7/12",
        "Work without an outcome",
        "no dates",
        "part of A fair in spring",  # which is no epic that is shown
        "deferred by a decision until 27 Dec",
        "1 due later",
        "4 new",
    ):
        assert words in text, words
    assert "stopped by a decision" not in text
    by_project = words_of(await visitor.get("/roadmap?by=project"))
    assert "for KR-1" in by_project
    assert ",defer,2026-12-27," in await visitor.get("/roadmap.csv")


async def test_what_is_asked_in_vain_is_said_and_kept(company: Company, visitor: Visitor) -> None:
    await company.session.commit()
    await visitor.sign_in()
    text = await visitor.get("/roadmap?from=2026-05-01&to=2026-04-01&driver=risk", expect=422)
    assert "must not be before" in words_of(text)
    assert "1 to correct: Roadmap" in text
    assert 'value="2026-05-01"' in text
    assert '<option value="risk" selected>' in text
    for query in ("cycle=Q0", "source=x", "by=x", "limit=0", "limit=²", "from=x", "driver=x"):
        await visitor.get(f"/roadmap?{query}", expect=422)
        await visitor.get(f"/roadmap.svg?{query}", expect=422)
        await visitor.get(f"/roadmap.csv?{query}", expect=422)


async def test_hostile_titles_stay_text_on_the_page_and_in_the_picture(
    company: Company, visitor: Visitor
) -> None:
    await company.epic("SHOP-1", "KR-1", title=HOSTILE, due_on=TODAY, starts_on=TODAY)
    company.goals["KR-1"].title = HOSTILE
    company.goals["KR-1"].unit = "<b>\ufffe"
    await company.session.commit()
    await visitor.sign_in()
    assert "<script>alert" not in await visitor.get("/roadmap")
    answer = await visitor.http.get("/roadmap.svg")
    assert answer.headers["content-type"].startswith("image/svg+xml")
    assert answer.headers["content-disposition"] == ('attachment; filename="northing-roadmap-2026-11-27.svg"')
    assert answer.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    picture = ElementTree.fromstring(answer.text)  # it is ours, and that it parses is the test
    tags = {element.tag for element in picture.iter()}
    assert tags <= {f"{SVG}{name}" for name in ("svg", "title", "rect", "text", "tspan")}
    members = {name for element in picture.iter() for name in element.attrib}
    assert not members & {"style", "class", "href"}
    texts = ["".join(element.itertext()) for element in picture.iter(f"{SVG}title")]
    assert any("<script>alert(1)</script> &amp;" in text for text in texts)
    assert "\u202e" not in answer.text


@pytest.mark.parametrize(
    ("text", "shown"),
    [("a\x00b\x1fc", "abc"), ("a \n b", "a b"), ("\ud800x\uffff", "x"), ("x" * 60, "x" * 55 + "…")],
)
def test_a_name_fits_a_line_of_the_picture(text: str, shown: str) -> None:
    assert fit(text) == shown


async def test_the_picture_and_the_file_are_of_what_was_asked(company: Company, visitor: Visitor) -> None:
    await company.epic("SHOP-1", "KR-1", title="Faster checkout")
    await company.epic("SHOP-2", "KR-2", title="Cheaper nights")
    await company.session.commit()
    await visitor.sign_in()
    picture = await visitor.get("/roadmap.svg?driver=cost")
    assert "Cheaper nights" in picture
    assert "Faster checkout" not in picture
    assert (await visitor.get("/roadmap.csv?driver=cost")).count("\r\n") == 2


async def test_without_a_review_the_page_says_so_once(company: Company, visitor: Visitor) -> None:
    await company.session.commit()
    await visitor.sign_in()
    assert words_of(await visitor.get("/roadmap")).count("No review was held yet") == 1
