"""Links that epics inherit, as stored: which parent is found, what a change above evaluates again, and what
the API shows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event, select, text

from app import evaluation
from app.runtime import Runtime
from connectors.base import Epic, Parent
from mappings.locks import BY_INDEXES
from mappings.runs import causes as run_causes
from tests.support.clock import Clock
from tests.support.hierarchies import Hierarchy, by_id, part
from tests.support.queries import all_of
from tests.support.tracker_drivers import TrackerDriver, both
from tests.support.world import World

pytestmark = pytest.mark.database


@pytest.fixture
async def company(world: World, runtime: Runtime, clock: Clock) -> Hierarchy:
    """Two sources of one Jira site, the second the newer, and one on GitHub; key results 1 to 3."""
    for number in (1, 2, 3):
        await world.goal(f"KR-{number}")
    await world.connect_jira("jira")
    await world.connect_jira("more")
    await world.connect_github("github", scope={"repositories": ["acme/shop"]})
    return Hierarchy(world, runtime, clock)


@contextmanager
def _evaluations(runtime: Runtime) -> Iterator[list[int]]:
    """How many epics were evaluated by each statement that records evaluations while the block runs."""
    counts: list[int] = []

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if "UPDATE epics SET alignment" in statement:
            counts.append(cursor.rowcount)

    event.listen(runtime.engine.sync_engine, "after_cursor_execute", note)
    try:
        yield counts
    finally:
        event.remove(runtime.engine.sync_engine, "after_cursor_execute", note)


def _link(key: str, key_result: str = "KR-1", source: str = "jira", **members: Any) -> dict[str, Any]:
    return {"epic": {"source": source, "key": key}, "key_result": key_result, **members}


TOP = part("TOP-1")
MIDDLE = part("MID-1", by_id(TOP))
LOW = part("LOW-1", by_id(MIDDLE))
ASIDE = part("ASIDE-1")


# --- who is the parent ------------------------------------------------------------------------


LABELLED = ("kr:KR-1",)
NAMED = part("TOP-1", labels=LABELLED)
PARENTS: list[tuple[str, list[tuple[str, Epic]], list[str]]] = [
    ("by its id, whatever its key", [
        ("jira", part("NEW-1", id="id-TOP-1", labels=LABELLED)), ("jira", part("LOW-1", by_id(TOP))),
    ], ["1 from NEW-1"]),
    ("by its key alone", [("jira", NAMED), ("jira", part("LOW-1", "top-1"))], ["1 from TOP-1"]),
    ("its id before another one's key", [
        ("jira", part("NEW-1", id="id-TOP-1", labels=LABELLED)),
        ("jira", part("TOP-1", id="another", labels=("kr:KR-2",))),
        ("jira", part("LOW-1", by_id(TOP))),
    ], ["1 from NEW-1"]),
    ("by its key where nothing has the id", [
        ("jira", NAMED), ("jira", part("LOW-1", Parent("TOP-1", "former-id"))),
    ], ["1 from TOP-1"]),
    ("of another source of the tracker", [
        ("more", NAMED), ("jira", part("LOW-1", by_id(TOP))),
    ], ["1 from TOP-1"]),
    ("of another source of the tracker, by key", [
        ("more", NAMED), ("jira", part("LOW-1", "TOP-1")),
    ], ["1 from TOP-1"]),
    ("not of another tracker", [("github", NAMED), ("jira", part("LOW-1", by_id(TOP)))], []),
    ("on GitHub by its key", [
        ("github", part("acme/shop#1", labels=LABELLED)), ("github", part("LOW-1", "acme/shop#1")),
    ], ["1 from acme/shop#1"]),
    ("a milestone, which is no epic", [("jira", part("LOW-1", Parent("v1", "", "", "https://t/1")))], []),
    ("an epic is not its own", [("jira", part("LOW-1", "LOW-1"))], []),
    ("stored after its child", [("jira", part("LOW-1", by_id(TOP))), ("jira", NAMED)], ["1 from TOP-1"]),
]  # fmt: skip


@pytest.mark.parametrize("at_once", [True, False], ids=["evaluated at the end", "evaluated each time"])
async def test_the_parent_is_found(company: Hierarchy, at_once: bool) -> None:
    for name, epics, links in PARENTS:
        for source, epic in epics:
            await company.store(source, epic)
            if not at_once:
                await company.settle()
        await company.settle()
        assert await company.links("LOW-1") == {"LOW-1": links}, name
        await company.forget()


async def test_a_parent_is_found_by_a_former_key(company: Hierarchy) -> None:
    await company.store("more", part("TOP-1", labels=LABELLED))
    await company.store("more", part("NEW-1", id="id-TOP-1", labels=LABELLED))
    await company.store("jira", part("LOW-1", "TOP-1"), part("OTHER-1", "NEW-1"))
    await company.settle()
    assert await company.links("LOW-1", "OTHER-1") == {"LOW-1": ["1 from NEW-1"], "OTHER-1": ["1 from NEW-1"]}


@pytest.mark.parametrize("length", [2, 3])
async def test_a_loop_ends(company: Hierarchy, length: int) -> None:
    loop = [
        part(f"E-{n}", f"E-{n % length + 1}", labels=LABELLED if n == 1 else ()) for n in range(1, length + 1)
    ]
    await company.store("jira", *loop)
    await company.settle()
    expected = {"E-1": ["1 ticket"], "E-2": ["1 from E-1"], "E-3": ["1 from E-1"]}
    assert await company.links() == {key: expected[key] for key in sorted(expected)[:length]}
    with _evaluations(company.runtime) as evaluations:
        await company.world.send("POST", "/links", _link("E-2", "KR-2"))
        await company.settle()
    assert sum(evaluations) == length  # the epic itself, and each of the others once
    assert (await company.links("E-2"))["E-2"] == ["2 manual"]


# --- what a change above evaluates --------------------------------------------------------------


async def _line(company: Hierarchy) -> None:
    """TOP-1, MID-1 and LOW-1, one below the other, and ASIDE-1, in two sources."""
    await company.store("jira", MIDDLE, ASIDE)
    await company.store("more", TOP, LOW)
    await company.settle()


async def test_a_link_of_the_parent_evaluates_what_is_below_and_nothing_else(company: Hierarchy) -> None:
    await _line(company)
    company.clock.advance(seconds=1)
    answer = await company.world.api.post("/api/v1/links", json=_link("TOP-1", source="more", weight=3))
    assert answer.status_code == 201
    assert await company.evaluated() == ["TOP-1"]
    runs = answer.headers["Northing-Runs"].split(",")
    with _evaluations(company.runtime) as evaluations:
        await company.world.drain()
    assert (await company.evaluated(), evaluations) == (["LOW-1", "MID-1", "TOP-1"], [1, 1])
    shown = [await company.world.send("GET", f"/runs/{run}") for run in runs]
    assert [(run["source"], run["state"], run["causes"]) for run in shown] == [
        ("jira", "succeeded", ["parent TOP-1"]),
        ("more", "succeeded", ["parent TOP-1"]),
    ]
    low = await company.world.epic("more", "LOW-1")
    assert (low["alignment"], low["findings"][0]["state"]) == ("aligned", "resolved")
    (link,) = low["links"]
    top = {"source": "more", "key": "TOP-1", "title": "Title of TOP-1"}
    assert (link["origin"], link["weight"], link["primary"], link["live"]) == ("inherited", 3, True, True)
    assert link["inherited_from"] == top
    assert link["why"] == "inherited from TOP-1 by way of MID-1: linked by hand through the API"
    listed = await company.world.send("GET", "/links?epic_source=more&epic_key=LOW-1")
    assert listed["items"] == [link]
    refused = await company.world.api.delete(f"/api/v1/links/{link['id']}")
    assert refused.status_code == 409
    assert "inherited from TOP-1 in more (Title of TOP-1)" in refused.json()["detail"]
    again = await company.world.api.post("/api/v1/links", json=_link("TOP-1", source="more", weight=5))
    assert (again.status_code, again.json()["weight"]) == (200, 3)
    company.clock.advance(seconds=1)
    answer = await company.world.api.delete(f"/api/v1/links/{again.json()['id']}")
    assert answer.headers["Northing-Runs"]
    await company.world.drain()
    assert await company.evaluated() == ["LOW-1", "MID-1", "TOP-1"]
    assert await company.links("LOW-1", "MID-1") == {"LOW-1": [], "MID-1": []}


async def test_an_epic_with_nothing_below_opens_no_further_run(company: Hierarchy) -> None:
    await _line(company)
    before = await company.runs()
    answer = await company.world.api.post("/api/v1/links", json=_link("LOW-1", source="more"))
    assert (answer.status_code, answer.headers.get("Northing-Runs")) == (201, None)
    await company.settle()
    assert await company.runs() == before + 1


async def test_a_rule_that_matches_the_parent_reaches_what_is_below_in_its_run(
    company: Hierarchy,
) -> None:
    await company.store("jira", LOW, MIDDLE, ASIDE, TOP)
    await company.settle()
    rule = {"name": "Top", "when": {"title": "TOP"}, "key_result": "KR-2"}
    company.clock.advance(seconds=1)
    with _evaluations(company.runtime) as evaluations:
        answer = await company.world.api.post("/api/v1/rules", json=rule)
        before = await company.runs()
        await company.world.drain()
    assert (await company.evaluated(), sum(evaluations)) == (["LOW-1", "MID-1", "TOP-1"], 3)
    assert await company.runs() == before
    assert len(answer.headers["Northing-Runs"].split(",")) == 1
    assert (await company.links("LOW-1"))["LOW-1"] == ["2 from TOP-1"]
    company.clock.advance(seconds=1)
    with _evaluations(company.runtime) as evaluations:
        await company.world.send("DELETE", "/rules/1")
        await company.world.drain()
    assert (await company.evaluated(), sum(evaluations)) == (["LOW-1", "MID-1", "TOP-1"], 3)
    assert (await company.links("LOW-1"))["LOW-1"] == []


async def test_a_rule_reaches_what_is_below_in_other_sources(company: Hierarchy) -> None:
    await _line(company)
    rule = {"name": "Top", "when": {"all": [{"source": "more"}, {"title": "TOP"}]}, "key_result": "KR-2"}
    company.clock.advance(seconds=1)
    with _evaluations(company.runtime) as evaluations:
        await company.world.send("POST", "/rules", rule)
        await company.world.drain()
    assert (await company.evaluated(), sum(evaluations)) == (["LOW-1", "MID-1", "TOP-1"], 3)
    assert (await company.links("LOW-1"))["LOW-1"] == ["2 from TOP-1"]


@pytest.mark.parametrize("epics", [(LOW, MIDDLE, ASIDE, TOP), (TOP, MIDDLE, ASIDE, LOW)])
async def test_a_rule_that_matches_parent_and_child_evaluates_each_once(
    company: Hierarchy, monkeypatch: pytest.MonkeyPatch, epics: tuple[Epic, ...]
) -> None:
    monkeypatch.setattr(evaluation, "AFFECTED_SLICE_SIZE", 1)
    for epic in epics:
        await company.store("jira", epic)
    await company.settle()
    rule = {"name": "All", "when": {"title": "Title"}, "key_result": "KR-2"}
    company.clock.advance(seconds=1)
    with _evaluations(company.runtime) as evaluations:
        await company.world.send("POST", "/rules", rule)
        await company.world.drain()
    assert sum(evaluations) == 4
    assert await company.links() == {key: ["2 rule"] for key in ("LOW-1", "MID-1", "ASIDE-1", "TOP-1")}


async def test_a_key_result_that_ends_changes_inherited_links_once(company: Hierarchy) -> None:
    await company.store("jira", part("TOP-1", labels=("kr:KR-1",)), MIDDLE, LOW, ASIDE)
    await company.store("more", part("ROOT-1", labels=("kr:KR-2",)))
    await company.store("jira", part("TOP-1", "ROOT-1", labels=("kr:KR-1",)))
    await company.settle()
    assert (await company.links("LOW-1"))["LOW-1"] == ["1 from TOP-1"]
    for state, links in (("achieved", ["1 from TOP-1", "2 from ROOT-1"]), ("active", ["1 from TOP-1"])):
        company.clock.advance(seconds=1)
        with _evaluations(company.runtime) as evaluations:
            await company.world.send("PATCH", "/key-results/KR-1", {"state": state})
            await company.world.drain()
        assert (await company.evaluated(), sum(evaluations)) == (["LOW-1", "MID-1", "TOP-1"], 3)
        assert (await company.links("LOW-1"))["LOW-1"] == links
    await company.world.send("PATCH", "/key-results/KR-1", {"state": "achieved"})
    await company.world.send("PATCH", "/key-results/KR-2", {"state": "achieved"})
    await company.settle()
    low = await company.world.epic("jira", "LOW-1")
    assert [(link["key_result"], link["live"]) for link in low["links"]] == [("KR-1", False), ("KR-2", False)]
    states = {finding["check"]: finding["state"] for finding in low["findings"]}
    assert (low["alignment"], states) == ("unaligned", {"closed-goal": "open"})


async def test_a_key_that_comes_to_be_reaches_what_is_below(company: Hierarchy) -> None:
    await company.store("jira", part("TOP-1", labels=("kr:KR-9",)), MIDDLE)
    await company.settle()
    company.clock.advance(seconds=1)
    await company.world.send("POST", "/objectives/O-1/key-results", {"key": "KR-9", "title": "Late"})
    await company.world.drain()
    assert await company.evaluated() == ["MID-1", "TOP-1"]
    assert (await company.links("MID-1"))["MID-1"] == ["4 from TOP-1"]


# --- tickets that change ------------------------------------------------------------------------


async def test_a_ticket_with_other_links_reaches_what_is_below(company: Hierarchy) -> None:
    await _line(company)
    await company.store("more", part("TOP-1", labels=("kr:KR-3",)))
    with _evaluations(company.runtime) as evaluations:
        await company.settle()
    assert (await company.evaluated(), sum(evaluations)) == (["LOW-1", "MID-1", "TOP-1"], 3)
    assert (await company.links("LOW-1"))["LOW-1"] == ["3 from TOP-1"]
    await company.store("more", part("TOP-1", labels=("kr:KR-3", "other"), status="In review"))
    await company.settle()
    assert await company.evaluated() == ["TOP-1"]


async def test_another_parent_reaches_what_is_below(company: Hierarchy) -> None:
    await company.store("jira", part("TOP-1", labels=("kr:KR-1",)), MIDDLE, LOW)
    await company.store("more", part("TOP-2", labels=("kr:KR-2",)))
    await company.settle()
    assert (await company.links("LOW-1"))["LOW-1"] == ["1 from TOP-1"]
    for parent, links in (("TOP-2", ["2 from TOP-2"]), (None, []), ("TOP-1", ["1 from TOP-1"])):
        await company.store("jira", part("MID-1", parent))
        with _evaluations(company.runtime) as evaluations:
            await company.settle()
        assert (await company.evaluated(), sum(evaluations)) == (["LOW-1", "MID-1"], 2)
        assert (await company.links("LOW-1"))["LOW-1"] == links


async def test_a_removed_parent_passes_nothing_on_until_it_is_back(company: Hierarchy) -> None:
    top = part("TOP-1", labels=("kr:KR-1",))
    await company.store("jira", top, MIDDLE, LOW, ASIDE)
    await company.settle()
    await company.remove("jira", top)
    await company.settle()
    assert await company.evaluated() == ["LOW-1", "MID-1", "TOP-1"]
    assert await company.links("LOW-1", "MID-1") == {"LOW-1": [], "MID-1": []}
    shown = (await company.world.epic("jira", "MID-1"))["parent"]
    assert shown == {"source": None, "key": "TOP-1", "title": "Title of TOP-1", "url": TOP.url}
    await company.store("jira", top)
    await company.settle()
    assert await company.evaluated() == ["LOW-1", "MID-1", "TOP-1"]
    assert (await company.links("LOW-1"))["LOW-1"] == ["1 from TOP-1"]


async def test_what_a_removed_epic_inherited_keeps_no_key_result(company: Hierarchy) -> None:
    """Nobody could take such a link away: it is changed at the parent, which has it no more."""
    await company.store("jira", TOP, MIDDLE)
    await company.world.send("POST", "/links", _link("TOP-1"))
    await company.settle()
    await company.remove("jira", MIDDLE)
    await company.settle()
    (link,) = (await company.world.epic("jira", "TOP-1"))["links"]
    await company.world.send("DELETE", f"/links/{link['id']}")
    await company.settle()
    await company.world.send("DELETE", "/key-results/KR-1")
    await company.store("jira", MIDDLE)
    await company.settle()
    assert await company.links("MID-1") == {"MID-1": []}


async def test_a_transferred_parent_keeps_its_children(company: Hierarchy) -> None:
    await company.store(
        "github", part("acme/shop#1", labels=("kr:KR-1",)), part("acme/shop#2", "acme/shop#1")
    )
    await company.settle()
    moved = part("acme/plan#5", id="new-id", labels=("kr:KR-1",))
    # Stored under its new id before the transfer is seen, and named by that by another child.
    await company.store("github", moved, part("acme/shop#3", by_id(moved)))
    await company.settle()
    await company.transfer("github", "id-acme/shop#1", moved)
    await company.settle()
    links = await company.links("acme/shop#2", "acme/shop#3")
    assert links == {"acme/shop#2": ["1 from acme/plan#5"], "acme/shop#3": ["1 from acme/plan#5"]}


async def test_a_parent_stored_after_grandchildren_reaches_them(company: Hierarchy) -> None:
    await company.store("jira", LOW)
    await company.settle()
    await company.store("jira", part("TOP-1", labels=("kr:KR-1",)))
    await company.settle()
    assert await company.evaluated() == ["TOP-1"]
    await company.store("more", MIDDLE)
    with _evaluations(company.runtime) as evaluations:
        await company.settle()
    assert (await company.evaluated(), sum(evaluations)) == (["LOW-1", "MID-1"], 2)
    assert (await company.links("LOW-1"))["LOW-1"] == ["1 from TOP-1"]


async def test_a_source_that_is_deleted_leaves_children_elsewhere_without_links(
    company: Hierarchy,
) -> None:
    await company.store("more", part("TOP-1", labels=("kr:KR-1",)))
    await company.store("jira", MIDDLE, LOW, ASIDE)
    await company.settle()
    assert (await company.links("LOW-1"))["LOW-1"] == ["1 from TOP-1"]
    company.clock.advance(seconds=1)
    await company.world.send("DELETE", "/sources/more")
    await company.world.drain()
    assert await company.evaluated() == ["LOW-1", "MID-1"]
    assert await company.links("LOW-1", "MID-1") == {"LOW-1": [], "MID-1": []}


@both
async def test_what_a_sync_reads_reaches_what_is_below(world: World, driver: TrackerDriver) -> None:
    top, middle, low = (driver.add(title) for title in ("Top", "Middle", "Low"))
    driver.describe(top, "Key-Result: KR-1")
    driver.put_below(low, middle)
    await driver.sync("full")
    assert (await driver.epic(low))["links"] == []
    driver.put_below(middle, top)
    await driver.sync("full")
    (link,) = (await driver.epic(low))["links"]
    assert (link["origin"], link["inherited_from"]["key"]) == ("inherited", top)
    if driver.kind == "github":
        world.host.edit(top, labels=["chore"])  # no epic any more, and still the parent
    else:
        driver.delete(top)
    await driver.sync("full")
    assert (await driver.epic(low))["links"] == []


# --- the first sync, and many at once -----------------------------------------------------------


async def test_what_is_stored_together_is_evaluated_once_and_needs_no_cause(company: Hierarchy) -> None:
    tops = [part(f"TOP-{n}", labels=("kr:KR-1",)) for n in range(20)]
    children = [part(f"LOW-{n}", f"TOP-{n}") for n in range(20)]
    await company.store("jira", *children[:10], *tops)
    await company.store("jira", *children[10:])
    with _evaluations(company.runtime) as evaluations:
        await company.settle()
    assert sum(evaluations) == 40
    assert await all_of(company.runtime, "SELECT kind FROM run_causes") == [("webhooks",)]
    assert len([links for links in (await company.links()).values() if "from" in links[0]]) == 20


async def test_many_changed_parents_are_one_cause(
    company: Hierarchy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_causes, "MOST_PARENTS", 3)
    tops = [part(f"TOP-{n}") for n in range(5)]
    await company.store("more", *tops)
    await company.store("jira", *[part(f"LOW-{n}", f"TOP-{n}") for n in range(5)], ASIDE)
    await company.settle()
    for epic in tops:
        await company.store("more", part(epic.key, labels=("kr:KR-1",)))
    await company.settle()
    assert await company.evaluated() == sorted(
        [*(f"LOW-{n}" for n in range(5)), *(f"TOP-{n}" for n in range(5))]
    )
    causes = await all_of(company.runtime, "SELECT reference, label FROM run_causes WHERE kind = 'parent'")
    assert causes == [("", "of many epics")]


async def test_a_waiver_of_the_parent_is_not_inherited(company: Hierarchy) -> None:
    await company.store("jira", TOP, MIDDLE)
    await company.settle()
    (finding,) = (await company.world.epic("jira", "TOP-1"))["findings"]
    until = {"until": str(company.clock.now.date()), "reason": "Compliance"}
    await company.world.send("POST", f"/findings/{finding['id']}/waive", until)
    await company.settle()
    assert (await company.world.epic("jira", "TOP-1"))["alignment"] == "waived"
    assert (await company.world.epic("jira", "MID-1"))["alignment"] == "unaligned"


async def test_weights_and_primary_are_the_parents(company: Hierarchy) -> None:
    await company.store("jira", TOP, MIDDLE)
    await company.world.send("POST", "/links", _link("TOP-1", "KR-1", weight=2))
    await company.world.send("POST", "/links", _link("TOP-1", "KR-2", weight=5, primary=True))
    await company.settle()

    async def shown() -> list[tuple[str, float, bool]]:
        links = (await company.world.epic("jira", "MID-1"))["links"]
        return sorted((link["key_result"], link["weight"], link["primary"]) for link in links)

    assert await shown() == [("KR-1", 2, False), ("KR-2", 5, True)]
    await company.world.send("POST", "/links", _link("TOP-1", "KR-3", primary=True))
    await company.settle()
    assert await shown() == [("KR-1", 2, False), ("KR-2", 5, False), ("KR-3", 1, True)]
    await company.store("jira", part("TOP-2"))
    await company.world.send("POST", "/links", _link("TOP-2", "KR-1", primary=True))
    await company.world.send("POST", "/links", _link("TOP-2", "KR-3", weight=7))
    await company.store("jira", part("MID-1", "TOP-2"))
    await company.settle()
    assert await shown() == [("KR-1", 1, True), ("KR-3", 7, False)]


async def test_the_parent_is_shown_where_it_is_known_and_where_not(company: Hierarchy) -> None:
    milestone = Parent("v1", title="Version 1", url="https://t/milestone/1")
    await company.store("more", TOP)
    await company.store("jira", MIDDLE, part("LOW-1", milestone), part("LOW-2", "FAR-1"), ASIDE)
    await company.settle()
    page = await company.world.send("GET", "/epics?source=jira")
    assert {item["key"]: item["parent"] for item in page["items"]} == {
        "MID-1": {"source": "more", "key": "TOP-1", "title": "Title of TOP-1", "url": TOP.url},
        "LOW-1": {"source": None, "key": "v1", "title": "Version 1", "url": "https://t/milestone/1"},
        "LOW-2": {"source": None, "key": "FAR-1", "title": None, "url": None},
        "ASIDE-1": None,
    }


async def test_no_statement_is_compiled(runtime: Runtime) -> None:
    """Least of all a look at a line of epics: PostgreSQL would compile it for seconds."""
    async with runtime.sessions.begin() as session:
        assert await session.scalar(text("SHOW jit")) == "off"
        await session.execute(text("SET LOCAL jit = on"))  # as on another connection of a pooler
        await session.execute(select(BY_INDEXES))
        assert await session.scalar(text("SHOW jit")) == "off"
