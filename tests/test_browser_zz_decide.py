import pytest, httpx
from datetime import UTC, datetime
from app.runtime import Runtime
from tests.support.browser import Person
from tests.support.clock import Clock
from tests.support.goals_api import send
from tests.support.governance import Committee
pytestmark = pytest.mark.database
OUT = "/tmp/h16/scratch-decide/"

@pytest.mark.parametrize("person", ["desktop", "phone dark"], indirect=True)
async def test_shots(person: Person, runtime: Runtime, api: httpx.AsyncClient, clock: Clock, request):
    w = request.node.callspec.params["person"].replace(" ", "-")
    clock.now = datetime(2026, 11, 16, 12, tzinfo=UTC)
    c = await Committee.on_rows(api, runtime, title="Faster refunds for marketplace orders")
    await person.page.context.clear_cookies(); await person.sign_in()
    p = person.page
    await c.decide("remap", key_result="KR-2", reason="Refunds serve retention more than conversion")
    clock.advance(days=1)
    await c.decide("pilot", measure="KR-1", by="2026-12-31", reason="Two shops try it until the end of the year")
    clock.advance(days=1)
    d = await c.decide("defer", by="2027-01-15", reason="The payment provider comes first", decided_by=[{"name": "Ann Lee", "side": "business"}])
    await person.go("/epics/acme/SHOP-1"); await p.screenshot(path=OUT + w + "-deferred.png", full_page=True)
    print(await person.faults())
    await c.undo(d["id"])
    clock.advance(days=60)
    await person.page.context.clear_cookies(); await person.sign_in()
    await person.go("/epics/acme/SHOP-1"); await p.locator("summary", has_text="Move it to another stage").click()
    await p.screenshot(path=OUT + w + "-overdue.png", full_page=True)
    print(await person.faults())
    await person.go("/goals/KR-2"); await p.screenshot(path=OUT + w + "-goal.png", full_page=True)
    print(await person.faults())
    await person.go("/"); await p.screenshot(path=OUT + w + "-overview.png", full_page=True)
