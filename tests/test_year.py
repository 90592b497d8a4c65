"""A year on a simulated clock: 200 epics, goals that shift each quarter, people who fix, ignore, snooze and
delete. What Northing wrote is counted, and held against what was true on the ticket when it was written."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.jobs.sweep import sweep
from app.runtime import Runtime
from connectors.sandbox import faults
from tests.support.clock import Clock
from tests.support.queries import all_of
from tests.support.tracker_drivers import GitHubDriver, JiraDriver, TrackerDriver
from tests.support.world import World

BEGIN = datetime(2026, 1, 5, 6, tzinfo=UTC)  # a Monday
DAYS, EPICS, SEED = 360, 200, 20_260_105
LIMITS = {"per_run": 10, "per_day": 12, "max_share": 0.6}
THEMES = ["checkout", "search", "billing", "onboarding"]
# What people do about a warning: most of them see to it, sooner or later.
TEMPERS = ["fixes", "fixes", "fixes", "fixes late", "ignores", "snoozes", "deletes"]
WARNING = "Which key result does this epic serve?"
ALIGNED = "Aligned with"


@dataclass
class Ticket:
    """An epic as its people mean it: `link` is the key result its text names, `remote_id` the tracker's."""

    driver: TrackerDriver
    remote_id: str
    key: str
    temper: str
    born: int
    ends: int
    link: str | None = None
    done: bool = False
    snoozed: bool = False

    def name(self, key_result: str) -> None:
        self.link = key_result
        self.driver.describe(self.key, f"What we do.\n\nKey-Result: {key_result}")

    def finish(self) -> None:
        self.done = True
        self.driver.finish(self.key)

    @property
    def says(self) -> str:
        """Our comment; an empty one where there is none."""
        return next((text for text in self.driver.comments(self.key)), "")


@dataclass
class Year:
    world: World
    runtime: Runtime
    clock: Clock
    jira: JiraDriver
    github: GitHubDriver
    dice: random.Random = field(default_factory=lambda: random.Random(SEED))
    tickets: dict[tuple[str, str], Ticket] = field(default_factory=dict)
    reported: Counter[str] = field(default_factory=Counter)
    false: list[str] = field(default_factory=list)
    approved: set[int] = field(default_factory=set)
    day: int = 0

    async def live(self) -> None:
        births = Counter(_workday(self.dice.randrange(DAYS - 20)) for _ in range(EPICS))
        for self.day in range(DAYS):
            self.clock.now = BEGIN + timedelta(days=self.day)
            if self.day == 0 or (self.clock.now.day == 1 and self.clock.now.month in (4, 7, 10)):
                await self._set_goals()
            weekday = self.clock.now.weekday()
            if weekday > 4:
                continue
            for _ in range(births[self.day]):
                self._bear()
            for ticket in list(self.tickets.values()):
                await self._work_on(ticket)
            self._something_happens_meanwhile()
            if weekday == 0:
                driver = (self.jira, self.github)[self.day % 2]
                await driver.sync("full" if self.day % 35 > 27 else "incremental")
                await self._approve()
            if weekday == 1:
                await sweep(self.runtime)
                await self.world.drain()
            self._count_doubles()
        for driver in (self.jira, self.github):
            driver.tracker.faults.clear()
            await driver.sync("full")

    # --- the goals ------------------------------------------------------------------------------

    async def _set_goals(self) -> None:
        """Those of the quarter that begins; the cycle before is over, and its goals are live no more."""
        quarter = self._quarter()
        first = self.clock.now.replace(month=3 * quarter - 2, day=1)
        last = (first + timedelta(days=100)).replace(day=1) - timedelta(days=1)
        cycle = {"key": f"2026-Q{quarter}", "title": "A quarter", "review": "quarterly"}
        dates = {"starts": first.date().isoformat(), "ends": last.date().isoformat()}
        await self.world.send("POST", "/cycles", {**cycle, **dates})
        for theme in THEMES:
            objective = {"title": f"Better {theme}", "cycle": cycle["key"]}
            made = await self.world.send("POST", "/objectives", objective)
            body = {"key": f"{theme}-{quarter}", "title": f"More of {theme}"}
            await self.world.send("POST", f"/objectives/{made['key']}/key-results", body)

    def _quarter(self) -> int:
        return (self.clock.now.month - 1) // 3 + 1

    def _goal(self) -> str:
        return f"{self.dice.choice(THEMES)}-{self._quarter()}"

    def is_aligned(self, ticket: Ticket) -> bool:
        return ticket.link is not None and int(ticket.link[-1]) >= self._quarter()

    # --- the people -----------------------------------------------------------------------------

    def _bear(self) -> None:
        driver: TrackerDriver = self.dice.choice([self.jira, self.jira, self.github])
        project = self.dice.choice(["SHOP", "CORE"]) if driver is self.jira else "acme/shop"
        key = driver.add(f"{self.dice.choice(THEMES)} {len(self.tickets)}", project=project)
        issue = self.jira.site.issue(key) if driver is self.jira else self.github.host.issue(key)
        ticket = Ticket(
            *(driver, str(issue.id), key, self.dice.choice(TEMPERS), self.day),
            ends=self.day + self.dice.randint(20, 150),
        )
        self.tickets[driver.kind, ticket.remote_id] = ticket
        if self.dice.random() < 0.6:
            ticket.name(self._goal())

    async def _work_on(self, ticket: Ticket) -> None:
        if ticket.done:
            return
        if self.day >= ticket.ends:
            self.reported["finished"] += 1
            ticket.finish()
        elif self.dice.random() < 0.02:
            self.reported["edited"] += 1
            ticket.driver.label(ticket.key, self.dice.choice(THEMES))
        elif ticket.driver is self.jira and self.dice.random() < 0.003:
            self.reported["moved"] += 1
            ticket.key = self.jira.site.move(ticket.key, "GROW").key
        elif not self.is_aligned(ticket):
            await self._see_to(ticket)

    async def _see_to(self, ticket: Ticket) -> None:
        warned = WARNING in ticket.says
        chance = self.dice.random()
        if ticket.temper == "snoozes" and warned and not ticket.snoozed:
            ticket.snoozed = True
            await self._snooze(ticket)
        elif ticket.temper == "deletes" and warned and chance < 0.3:
            self.reported["deleted our comment"] += 1
            ticket.driver.delete_comments(ticket.key)
        elif chance < {"fixes": 0.3, "fixes late": 0.06}.get(ticket.temper, 0.01) * (1 if warned else 0.1):
            self.reported["fixed"] += 1
            ticket.name(self._goal())

    async def _snooze(self, ticket: Ticket) -> None:
        epic = await ticket.driver.epic(ticket.key)
        (gap,) = [found for found in epic["findings"] if found["state"] == "open"]
        until = (self.clock.now + timedelta(days=14)).date().isoformat()
        await self.world.send("POST", f"/findings/{gap['id']}/snooze", {"until": until})
        self.reported["snoozed"] += 1

    def _something_happens_meanwhile(self) -> None:
        """On some days people act, or the tracker fails, between our reading of a ticket and our writing."""
        driver: TrackerDriver = self.dice.choice([self.jira, self.github])
        chance = self.dice.random()
        if chance < 0.3:
            driver.tracker.faults.add(driver.reads, faults.first(lambda: self._act_on_what_is_due(driver)))
        elif chance < 0.36:
            trouble = [faults.lose_answer(), faults.drop(), faults.answer(503)]
            driver.tracker.faults.add(driver.creates, self.dice.choice(trouble))
        elif chance < 0.4:
            driver.tracker.faults.add(
                "GET */rest/api/3/myself" if driver is self.jira else "GET */user", faults.drop()
            )

    def _act_on_what_is_due(self, driver: TrackerDriver) -> None:
        """Our reader has passed by, and we are about to write."""
        finish = self.dice.random() < 0.5
        for ticket in self.tickets.values():
            ripe = 4 < self.day - ticket.born < 15 and not ticket.done and not ticket.says
            if ticket.driver is driver and ticket.link is None and ripe:
                self.reported["changed under our hands"] += 1
                ticket.finish() if finish else ticket.name(self._goal())

    async def _approve(self) -> None:
        """Somebody looks at what the guard holds, and lets some of it go."""
        held = (await self.world.send("GET", "/notices?state=held&limit=500"))["items"]
        asked = [item["id"] for item in held if item["reason"] == "guard"][:4]
        if asked:
            await self.world.send("POST", "/notices/approve", {"ids": asked})
            self.approved |= set(asked)

    # --- what Northing writes -------------------------------------------------------------------

    def watch(self, kind: str, remote_id: str, text: str) -> None:
        """Our comment at the moment it reaches the tracker, against the ticket as it is then."""
        ticket = self.tickets[kind, remote_id]
        aligned = self.is_aligned(ticket)
        if WARNING in text:
            self.reported["warnings written"] += 1
            if ticket.done:
                self.false.append(f"day {self.day}: a warning on finished {ticket.key}")
            elif aligned:
                self.false.append(f"day {self.day}: a warning on aligned {ticket.key}")
        elif text.lstrip().startswith(ALIGNED) and not aligned:
            self.false.append(f"day {self.day}: thanks on unaligned {ticket.key}")

    def _count_doubles(self) -> None:
        for ticket in self.tickets.values():
            if len(ticket.driver.comment_ids(ticket.key)) > 1:
                self.false.append(f"day {self.day}: two comments on {ticket.key}")


def _workday(day: int) -> int:
    return day if day % 7 < 5 else day - 2


@pytest.fixture
async def year(world: World, runtime: Runtime, clock: Clock) -> Year:
    clock.now = BEGIN
    for key in ("CORE", "GROW"):
        world.site.add_project(key, key.title())
    made = Year(world, runtime, clock, JiraDriver(world), GitHubDriver(world))
    limits = {"mode": "live", **LIMITS}
    await world.connect_jira("jira", notices=limits)
    await world.connect_github("github", scope={"repositories": ["acme/shop"]}, notices=limits)

    def on_jira(change: Any) -> None:
        if change.comment is not None and change.event != "comment_deleted":
            made.watch("jira", change.issue.id, made.jira.comments(change.issue.key)[0])

    def on_github(change: Any) -> None:
        if "comment" in change.more and change.action != "deleted":
            made.watch("github", str(change.issue.id), made.github.comments(_key_of(change.issue))[0])

    world.site.watchers.append(on_jira)
    world.host.watchers.append(on_github)
    return made


def _key_of(issue: Any) -> str:
    return f"acme/shop#{issue.number}"


@pytest.mark.timeout(600)
async def test_a_year(year: Year, runtime: Runtime, capsys: pytest.CaptureFixture[str]) -> None:
    await year.live()
    rows = await all_of(
        runtime,
        "SELECT w.kind, w.at, w.epic_id, w.run_id, r.mode, r.source_id, n.id FROM notice_writes w"
        " JOIN runs r ON r.id = w.run_id LEFT JOIN notices n ON n.epic_id = w.epic_id ORDER BY w.id",
    )
    made = [row for row in rows if row[0] == "posted"]
    of_each = Counter(epic_id for _, _, epic_id, *_ in made)
    weeks = Counter((at - BEGIN).days // 7 for kind, at, *_ in rows if kind in ("edited", "resolved"))
    kinds = Counter(kind for kind, *_ in rows)
    states = dict(await all_of(runtime, "SELECT state, count(*) FROM runs GROUP BY state"))
    bursts = _bursts([row for row in made if row[6] not in year.approved])
    with capsys.disabled():
        print(  # noqa: T201  # what it counted is what it is for
            f"\nA year, {len(year.tickets)} epics: {len(made)} comments, {len(made) / EPICS:.2f} an epic,"
            f" at most {max(of_each.values())}; {kinds['edited']} edited, {kinds['resolved']} resolved,"
            f" {max(weeks.values())} edits in the busiest week; {len(year.approved)} approved;"
            f" bursts {len(bursts)}, untrue or double {len(year.false)}; runs {states}; {dict(year.reported)}"
        )
    assert year.false == []
    assert bursts == []
    # It was a year in which something happened.
    assert len(year.tickets) == EPICS
    assert len(made) > 40
    assert kinds["resolved"] > 20
    assert (
        min(year.reported[act] for act in ("moved", "snoozed", "deleted our comment", "fixed", "finished"))
        > 0
    )
    assert set(states) <= {"succeeded", "failed", "partial"}
    # What is left says what is so.
    for ticket in year.tickets.values():
        if WARNING in ticket.says:
            assert not ticket.done, ticket
            assert not year.is_aligned(ticket), ticket


def _bursts(made: list[tuple[Any, ...]]) -> list[str]:
    """More new comments than a person allowed, in one run or within 24 hours."""
    runs = Counter(run_id for _, _, _, run_id, *_ in made)
    found = [f"run {run_id} made {count}" for run_id, count in runs.items() if count > LIMITS["per_run"]]
    for _, at, _, _, _, source_id, _ in made:
        day = [row for row in made if row[5] == source_id and at - timedelta(days=1) < row[1] <= at]
        if len(day) > LIMITS["per_day"]:
            found.append(f"{len(day)} in the 24 hours before {at}")
    return found
