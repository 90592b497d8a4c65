"""The overview in a browser: it is read and left by its numbers, on each screen and by keyboard."""

from __future__ import annotations

from datetime import timedelta

import pytest
from playwright.async_api import expect

from app.runtime import Runtime
from mappings.tables import CoverageDayRow, FindingRow, KeyResultRow, LinkRow, NoticeRow, RunRow
from tests.support.browser import Person
from tests.support.clock import Clock
from tests.support.epic_rows import add_epic, add_goal, add_source

LONG = "acme/<script>document.title='x'</script>" + "y" * 400


@pytest.fixture
async def company(runtime: Runtime, clock: Clock) -> None:
    now = clock.now
    async with runtime.sessions.begin() as session:
        acme = await add_source(session)
        run = RunRow(source_id=acme.id, mode="full", state="succeeded", finished_at=now)
        session.add(run)
        goal: KeyResultRow = await add_goal(session, "KR-1", now.date(), {"driver": "growth"})
        for n in range(1, 21):
            aligned = n % 3 > 0
            epic = await add_epic(
                session,
                acme,
                f"SHOP-{n}",
                project=LONG if n == 3 else "SHOP",
                title=LONG,
                alignment="aligned" if aligned else "unaligned",
            )
            if aligned:
                session.add(LinkRow(epic_id=epic.id, key_result_id=goal.id, origin="manual", why=""))
            else:
                session.add(
                    NoticeRow(epic_id=epic.id, state="held", reason="guard", facts_hash="", run_id=run.id)
                )
                session.add(
                    FindingRow(
                        epic_id=epic.id,
                        check="no-key-result",
                        state="open",
                        severity="warning",
                        detail="",
                        opened_at=now,
                    )
                )
        counts = {"exempt": 0, "waived": 0, "steered_epics": 2, "not_evaluated": 0, "done": 0}
        session.add_all(
            CoverageDayRow(
                day=(now - timedelta(days=back)).date(),
                at=now - timedelta(days=back),
                sources=1,
                stale=False,
                aligned=20 - back,
                unaligned=back,
                **counts,
            )
            for back in range(1, 12)
        )


@pytest.mark.usefixtures("company")
@pytest.mark.parametrize("person", ["desktop", "phone", "desktop dark", "phone dark"], indirect=True)
async def test_it_is_read_and_left_by_its_numbers(person: Person) -> None:
    page = person.page
    await person.go("/")
    assert await person.faults() == []
    await expect(page.locator(".figure").first).to_have_text("70%")
    chart = page.get_by_role("img", name="Coverage was 45%")
    await expect(chart).to_be_visible()
    await page.get_by_text("How these are counted").click()
    await expect(page.get_by_text("= 14 ÷ (20 − 0 − 0) = 70%")).to_be_visible()
    assert await person.faults() == []
    await page.get_by_role("link", name="Unaligned 6").click()
    await page.wait_for_url("**/epics?alignment=unaligned")
    await page.go_back()
    await page.get_by_role("link", name="6 comments held by the guard").click()
    await page.wait_for_url("**/notices?state=held&reason=guard&run=1")
    person.trouble.clear()  # where the list of notices is not there yet


@pytest.mark.usefixtures("company")
async def test_it_is_used_by_keyboard_alone(person: Person) -> None:
    page = person.page
    await person.go("/")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")  # to the content
    names = []
    for _ in range(5):
        await page.keyboard.press("Tab")
        names.append(await page.evaluate("document.activeElement.textContent.trim().replace(/\\s+/g, ' ')"))
    assert names == ["KR-1", "70%", "14 of 20", "0%", "0 of those 14"]
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("Coverage = aligned")).to_be_visible()
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/notices?state=held&reason=guard&run=1")
    person.trouble.clear()
