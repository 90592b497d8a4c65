"""The overview without a browser: what it counts is what the lists behind it hold, for each role."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import date, datetime, timedelta
from html import unescape
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import event, insert, update

from app.runtime import Runtime
from app.web.page import HELD_SHOWN, load_frame
from app.why_signature import why_signature
from mappings.audit import set_actor
from mappings.reports.set_up import load_set_up
from mappings.tables import (
    AgreementRow,
    AuditEntryRow,
    CheckInRow,
    CoverageDayRow,
    CycleRow,
    EpicRow,
    FindingRow,
    HeldRemovalRow,
    KeyResultRow,
    LinkRow,
    NoticeRow,
    ObjectiveRow,
    RunRow,
    SourceRow,
)
from tests.support.clock import Clock
from tests.support.epic_rows import add_epic, add_source
from tests.support.goals_api import send
from tests.support.pages import Visitor, visiting, words_of

HOSTILE = '<script>alert("x")</script> ' + "\u202egnol" + "x" * 500
DAY = timedelta(days=1)


@pytest.fixture
async def visitor(application: FastAPI) -> AsyncIterator[Visitor]:
    async with visiting(application) as somebody:
        yield somebody


async def role_token(api: httpx.AsyncClient, role: str) -> str:
    made = await send(api, "POST", "/tokens", {"name": role, "role": role}, 201)
    return str(made["token"])


class Company:
    """Rows of a small company: its coverage, and something of each kind that waits for a person."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    async def fill(self, runtime: Runtime) -> None:
        today = self.now.date()
        async with runtime.sessions.begin() as session:
            acme = await add_source(session)
            run = RunRow(
                source_id=acme.id,
                mode="full",
                state="succeeded",
                finished_at=self.now,
                guard_checked_at=self.now,
            )
            kept = RunRow(source_id=acme.id, mode="full", state="partial", finished_at=self.now)
            cycle = CycleRow(
                key="Q4", title="Q4", starts=today - 40 * DAY, ends=today + 60 * DAY, review="monthly"
            )
            session.add_all([run, kept, cycle])
            await session.flush()
            growth = ObjectiveRow(key="O-1", title="Grow", cycle_id=cycle.id, driver="growth", weight=3)
            risk = ObjectiveRow(key="O-2", title="Safe", cycle_id=cycle.id, driver="risk", weight=1)
            session.add_all([growth, risk])
            await session.flush()
            goals = {
                key: KeyResultRow(
                    key=key,
                    title=HOSTILE,
                    objective_id=objective.id,
                    baseline=1,
                    target=2,
                    state=state,
                    created_at=self.now - 40 * DAY,
                )
                for key, objective, state in (
                    ("KR-1", growth, "active"),
                    ("KR-2", risk, "active"),
                    ("KR-3", growth, "achieved"),
                )
            }
            session.add_all(goals.values())
            await session.flush()
            steered = goals["KR-1"].id
            session.add_all(
                AgreementRow(key_result_id=steered, side=side, name="Ann") for side in ("it", "business")
            )
            session.add(CheckInRow(key_result_id=steered, value=1.5, confidence=1, at=self.now))
            for n in range(1, 61):
                alignment = (
                    "aligned" if n <= 30 else "unaligned" if n <= 55 else "waived" if n <= 57 else "exempt"
                )
                project = "PAY" if n % 3 else "SHOP"
                epic = await add_epic(session, acme, f"{project}-{n}", project=project, alignment=alignment)
                goal = goals["KR-1" if n <= 20 else "KR-2" if n <= 30 else "KR-3" if n <= 34 else "KR-1"]
                if n <= 34:
                    session.add(LinkRow(epic_id=epic.id, key_result_id=goal.id, origin="manual", why=""))
                if 30 < n <= 55:
                    check, state = "closed-goal" if n <= 34 else "no-key-result", "open"
                    state = "disputed" if n in (40, 41) else "open"
                    session.add(_finding(epic, check, state, self.now))
                if 50 < n <= 55:
                    session.add(_held(epic, run))
            done = await add_epic(session, acme, "DONE-1", alignment="exempt", status_category="done")
            gone = await add_epic(
                session, acme, "GONE-1", alignment="unaligned", removed_at=self.now, removal_reason="deleted"
            )
            session.add_all(
                [_held(gone, run), _finding(gone, "closed-goal", "open", self.now), _held(done, run, "grace")]
            )
            session.add_all(HeldRemovalRow(run_id=kept.id, remote_id=f"S-{n}") for n in range(4))
            session.add_all(_days(today, self.now))


def _finding(epic: EpicRow, check: str, state: str, now: datetime) -> FindingRow:
    return FindingRow(
        epic_id=epic.id,
        check=check,
        state=state,
        severity="warning",
        detail="",
        opened_at=now,
        by="Ann" if state == "disputed" else None,
        changed_at=now if state == "disputed" else None,
    )


def _held(epic: EpicRow, run: RunRow, reason: str = "guard") -> NoticeRow:
    return NoticeRow(
        epic_id=epic.id, state="held", reason=reason, facts_hash="", run_id=run.id, target="posted", detail=""
    )


def _days(today: date, now: datetime) -> list[CoverageDayRow]:
    zero: dict[str, Any] = {"exempt": 0, "waived": 0, "steered_epics": 1, "not_evaluated": 0, "done": 0}
    return [
        CoverageDayRow(
            day=today - back * DAY,
            at=now - back * DAY,
            sources=1,
            stale=False,
            aligned=6,
            unaligned=4,
            **zero,
        )
        for back in (20, 19, 8, 7, 1)
    ]


@pytest.fixture
async def company(runtime: Runtime, clock: Clock) -> Company:
    made = Company(clock.now)
    await made.fill(runtime)
    return made


# --- numbers and the lists behind them ------------------------------------------------------------

# What each number is found by: the words around it, and the address that it leads to.
_LINK = re.compile(r'<a [^>]*href="(/[^"]*)"[^>]*>(.*?)</a>', re.DOTALL)
_COUNT = re.compile(r"(?<!\w)\d[\d,]*")


def numbers_on(page: str) -> dict[str, int]:
    """By the address of each link to a list that begins with a number: that number."""
    main = page[page.index("<main") : page.index("</main>")]
    found: dict[str, int] = {}
    for address, inside in _LINK.findall(main):
        words = words_of(inside)
        count = _COUNT.search(words)
        if count is None or words.endswith("%") or not re.match(r"/(epics|goals|notices)\?", address):
            continue
        number, address = int(count[0].replace(",", "")), unescape(address)
        assert found.setdefault(address, number) == number, address
    return found


async def rows_behind(visitor: Visitor, api: httpx.AsyncClient, address: str) -> int:
    """The rows of the list at this address, walked to its end; of notices by the API's list."""
    path, query = urlsplit(address).path, dict(parse_qsl(urlsplit(address).query))
    if path == "/notices":
        return await _of_api(api, query)
    pattern = r"<tr data-row=" if path == "/epics" else r'<tr id="'
    rows, at = 0, address
    while True:
        page = await visitor.get(at)
        rows += len(re.findall(pattern, page))
        following = re.search(r'rel="next" href="([^"]*)"', page)
        if following is None:
            return rows
        at = path + unescape(following[1])


async def _of_api(api: httpx.AsyncClient, query: dict[str, str]) -> int:
    if query["state"] == "disputed":
        return len((await send(api, "GET", "/findings?state=disputed&about=epic&limit=500"))["items"])
    items = (await send(api, "GET", "/notices?state=held&limit=500"))["items"]
    return sum(
        (item["reason"], str(item["run"])) == (query["reason"], query.get("run", str(item["run"])))
        for item in items
    )


async def test_each_number_is_that_of_the_list_behind_it(
    api: httpx.AsyncClient, visitor: Visitor, company: Company
) -> None:
    await visitor.sign_in()
    numbers = numbers_on(await visitor.get("/"))
    assert len(numbers) >= 14, sorted(numbers)
    assert sum(numbers.values()) > 200
    counted = {address: await rows_behind(visitor, api, address) for address in numbers}
    assert numbers == counted
    assert numbers["/epics?alignment=aligned"] == 30
    assert numbers["/epics?alignment=exempt&open=true"] == 3, "finished ones are not open"
    assert numbers["/notices?state=held&reason=guard&run=1"] == 5, "a removed epic's comment waits for nobody"
    assert numbers["/epics?check=closed-goal"] == 4


async def test_the_figures_stand_with_their_definitions(visitor: Visitor, company: Company) -> None:
    await visitor.sign_in()
    page = await visitor.get("/")
    words = words_of(page)
    assert "Coverage = aligned ÷ (open − exempt − waived) = 30 ÷ (60 − 3 − 2) = 55%" in words
    assert "Steered = steered epics ÷ aligned = 20 ÷ 30 = 67%" in words
    assert "Q4 , day 41 of 101." in words
    assert "15 days are missing, for Northing did not run; nothing is filled in." in words
    assert page.count("<polyline") == 2 * 3, "a line ends where a day is missing"
    assert 'aria-label="Growth: 67% of aligned epics, agreed weight 75%"' in page
    assert HOSTILE not in unescape(page), "goals are named by their keys"


async def test_a_drop_is_explained_where_the_data_can(
    runtime: Runtime, visitor: Visitor, company: Company
) -> None:
    await visitor.sign_in()
    assert "5 points" in words_of(await visitor.get("/"))
    async with runtime.sessions.begin() as session:
        session.add(_closed_entry())
    words = words_of(await visitor.get("/"))
    assert "Down 5 points since" in words
    assert re.search(r"KR-3 was achieved on \d+ \w+ \d+, and 4 epics still hang on it", words)


def _closed_entry() -> AuditEntryRow:
    return AuditEntryRow(
        who="ann",
        action="changed",
        what="key_result",
        key="KR-3",
        before={"state": "active"},
        after={"state": "achieved"},
    )


# --- who sees what --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "waits"),
    [
        ("viewer", ["Nothing waits for you."]),
        ("editor", ["5 comments held by the guard", "2 disputes to decide", "4 epics with a closed goal"]),
        ("admin", ["4 epics gone from acme", "1 key result lacks a signature", "1 key result to check in"]),
    ],
)
async def test_what_waits_is_what_the_role_can_act_on(
    api: httpx.AsyncClient, visitor: Visitor, company: Company, role: str, waits: list[str]
) -> None:
    await visitor.sign_in(await role_token(api, role))
    page = await visitor.get("/")
    words = words_of(page)
    assert [one for one in waits if one not in words] == []
    assert ("gone from acme" in words) == (role == "admin")
    assert ("Nothing waits" in words) == (role == "viewer")
    assert ('href="/audit-log"' in page) == (role == "admin")


async def test_the_week_names_things_and_nobody(
    api: httpx.AsyncClient, runtime: Runtime, visitor: Visitor, company: Company
) -> None:
    """A viewer may not read the audit log, and reads here what the things themselves tell a viewer."""
    await send(
        api,
        "POST",
        "/rules",
        {"name": HOSTILE[:60], "when": {"all": []}, "key_result": "KR-1", "priority": 1, "enabled": False},
        201,
    )
    await send(api, "PATCH", "/policy", {"grace": "P3D"})
    async with runtime.sessions.begin() as session:
        set_actor(session, "ann@example.com in SHOP-3")
        source = await session.get_one(SourceRow, 1)
        source.notices = {"mode": "shadow"}
        finding = await session.get_one(FindingRow, 1)
        finding.state, finding.reason, finding.until = "waived", HOSTILE, company.now + DAY
        await session.flush()
        links = [LinkRow(epic_id=n, key_result_id=2, origin="manual", why="") for n in range(1, 4)]
        session.add_all(links)
    await visitor.sign_in(await role_token(api, "viewer"))
    page = await visitor.get("/")
    words = words_of(page[page.index('id="week"') :])
    assert "acme was set to shadow." in words
    assert "The policy was changed" in words
    assert "3 links to KR-2 were made by hand." in words
    assert re.search(r"PAY-\d+ was waived until", words)
    assert "ann@example.com" not in page
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page


async def test_the_week_is_read_within_a_bound(runtime: Runtime, visitor: Visitor, company: Company) -> None:
    entry = {"who": "ann", "action": "created", "what": "link", "key": "x", "before": None}
    async with runtime.sessions.begin() as session:
        rows = [{**entry, "after": {"key_result": "KR-1"}} for _ in range(2100)]
        await session.execute(insert(AuditEntryRow), rows)
    await visitor.sign_in()
    words = words_of(await visitor.get("/"))
    assert "2,000 links to KR-1 were made by hand." in words
    assert "these numbers are the least" in words


# --- set-up, statements, the frame ----------------------------------------------------------------


async def test_it_is_the_first_run_until_something_is_there_and_then_says_what_is_left(
    api: httpx.AsyncClient, runtime: Runtime, visitor: Visitor
) -> None:
    await visitor.sign_in()
    assert "Three steps to your first report" in words_of(await visitor.get("/"))
    async with runtime.sessions.begin() as session:
        source = await add_source(session)
        session.add(RunRow(source_id=source.id, mode="full", state="queued"))
    words = words_of(await visitor.get("/"))
    assert "The epics are not read yet." in words
    assert "Import your goals" in words
    async with runtime.sessions.begin() as session:
        await session.execute(
            update(RunRow).values(state="succeeded", finished_at=await runtime.now(session))
        )
    visitor.http.cookies.clear()
    await visitor.sign_in(await role_token(api, "viewer"))
    words = words_of(await visitor.get("/"))
    assert "An editor adds the goals" in words
    assert "not read yet" not in words
    await send(api, "POST", "/objectives", {"key": "O-1", "title": "Grow"}, 201)
    await send(api, "POST", "/objectives/O-1/key-results", {"title": "More"}, 201)
    assert "Before these figures" not in words_of(await visitor.get("/"))
    async with runtime.sessions() as session:
        assert (await load_set_up(session)).is_whole


async def test_it_costs_a_number_of_statements_and_the_frame_three(
    runtime: Runtime, visitor: Visitor, company: Company
) -> None:
    await visitor.sign_in()
    made: list[str] = []

    def note(*given: Any) -> None:
        made.append(given[2])

    event.listen(runtime.engine.sync_engine, "before_cursor_execute", note)
    try:
        await visitor.get("/")
        whole = len(made)
        async with runtime.sessions.begin() as session:
            made.clear()
            frame = await load_frame(session, company.now)
    finally:
        event.remove(runtime.engine.sync_engine, "before_cursor_execute", note)
    assert whole <= 40
    assert len(made) == 1
    assert (frame.held, frame.held_words, frame.stale[0].failed) == (5, "5", True)


async def test_of_many_runs_the_held_comments_are_one_number(
    api: httpx.AsyncClient, runtime: Runtime, visitor: Visitor, company: Company
) -> None:
    async with runtime.sessions.begin() as session:
        source = await session.get_one(SourceRow, 1)
        for n in range(3):
            run = RunRow(source_id=source.id, mode="evaluate", state="succeeded", finished_at=company.now)
            session.add(run)
            await session.flush()
            session.add(_held(await add_epic(session, source, f"MORE-{n}"), run))
    await visitor.sign_in()
    numbers = numbers_on(await visitor.get("/"))
    address = "/notices?state=held&reason=guard"
    assert numbers[address] == await rows_behind(visitor, api, address) == 8


async def test_the_count_in_the_navigation_is_bounded(
    runtime: Runtime, visitor: Visitor, company: Company
) -> None:
    async with runtime.sessions.begin() as session:
        source = await session.get_one(SourceRow, 1)
        run = await session.get_one(RunRow, 1)
        epics = [await add_epic(session, source, f"MANY-{n}") for n in range(HELD_SHOWN)]
        session.add_all(_held(epic, run) for epic in epics)
    await visitor.sign_in()
    assert "999+ held, waiting for a person" in words_of(await visitor.get("/"))


async def test_old_data_is_a_note_in_the_foot(
    runtime: Runtime, visitor: Visitor, company: Company, clock: Clock
) -> None:
    async with runtime.sessions.begin() as session:
        await session.execute(update(RunRow).values(state="succeeded"))
    await visitor.sign_in()
    assert "acme is up to date" in words_of(await visitor.get("/"))
    clock.advance(hours=26)
    await visitor.sign_in()
    words = words_of(await visitor.get("/"))
    assert "acme was last read on" in words
    assert "up to date" not in words


async def test_pages_are_not_kept_and_static_files_are_asked_for_anew(visitor: Visitor) -> None:
    await visitor.sign_in()
    assert (await visitor.http.get("/")).headers["cache-control"] == "no-store"
    for name, kind in (
        ("northing.css", "text/css"),
        ("northing.js", "text/javascript"),
        ("northing.svg", "image/svg+xml"),
    ):
        plain = await visitor.http.get(f"/static/{name}", headers={"Accept-Encoding": "identity"})
        packed = await visitor.http.get(f"/static/{name}", headers={"Accept-Encoding": "gzip, br"})
        assert plain.headers["content-type"].startswith(kind)
        assert (plain.headers["cache-control"], packed.headers["content-encoding"]) == ("no-cache", "gzip")
        assert plain.content == packed.content, "unpacked by the client"
        assert plain.headers["etag"] != packed.headers["etag"]
        for tag in (packed.headers["etag"], f'"other", W/{packed.headers["etag"]}'):
            again = await visitor.http.get(
                f"/static/{name}", headers={"If-None-Match": tag, "Accept-Encoding": "gzip"}
            )
            assert (again.status_code, again.content) == (304, b"")
    for path, status in (("/static/../page.py", 404), ("/static/templates/why.html", 404), ("/static/", 404)):
        assert (await visitor.http.get(path)).status_code in (status, 303), path
    assert (await visitor.http.post("/static/northing.css")).status_code == 405


async def test_a_first_load_is_small(visitor: Visitor, company: Company) -> None:
    await visitor.sign_in()
    page = await visitor.get("/")
    files = re.findall(r'(?:src|href)="(/static/[^"]+)"', page)
    sizes = {"/": len(page.encode())}
    for name in files:
        answer = await visitor.http.get(name, headers={"Accept-Encoding": "gzip"})
        sizes[name] = int(answer.headers["content-length"])
    assert len(sizes) > 3
    assert sum(sizes.values()) < 150_000, sizes


# --- from the signed page to the epic's own ---------------------------------------------------------


async def test_a_signed_address_leads_to_the_epic_once_signed_in(
    runtime: Runtime, visitor: Visitor, company: Company
) -> None:
    path = f"/signed/{why_signature(runtime.signing.key('why'), 1)}"
    answer = await visitor.http.get(path)
    assert answer.headers["location"] == f"/login?next={path.replace('/', '%2F')}"
    await visitor.sign_in()
    assert (await visitor.http.get(path)).headers["location"] == "/epics/acme/PAY-1"
    await visitor.get(f"/signed/{'A' * 32}", expect=404)
    await visitor.get(f"/signed/{why_signature(runtime.signing.key('why'), 62)}", expect=404)


async def test_the_signed_page_offers_to_sign_in_and_names_no_source(
    runtime: Runtime, visitor: Visitor, company: Company
) -> None:
    signature = why_signature(runtime.signing.key("why"), 1)
    page = await visitor.get(f"/why/{signature}")
    assert f'href="/login?next=/signed/{signature}"' in page
    assert "acme" not in page
