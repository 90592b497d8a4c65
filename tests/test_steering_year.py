"""Four months of steering by the test's clock: two cycles that overlap, decisions, waivers, frozen months.

Each figure is held against a plain count of what people did."""

from __future__ import annotations

import calendar
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest

from app.jobs.sweep import sweep
from app.runtime import Runtime
from tests.support.clock import Clock
from tests.support.governance import ANN, BO, METRIC
from tests.support.tracker_drivers import GitHubDriver, JiraDriver, TrackerDriver
from tests.support.world import World, epic_path

YEAR = 2027
ENDS: dict[str, date | None] = {"KR-1": date(YEAR, 12, 31), "KR-2": date(YEAR, 3, 31), "KR-3": None}
OBJECTIVE = {"KR-1": "O-1", "KR-2": "O-2", "KR-3": "O-3"}
WEIGHTS = {"O-1": 3.0, "O-2": 2.0, "O-3": 1.0}
FINISHED = {2: 4, 3: 10, 4: 1}  # which work, by the month
LATE_MONTH = 3  # Northing is off over its end


def after(day: date) -> datetime:
    """The first moment after the day."""
    return datetime.combine(day + timedelta(days=1), time(), UTC)


@dataclass
class Work:
    """An epic as its people know it; moments are exclusive ends."""

    driver: TrackerDriver
    key: str
    links: dict[str, float] = field(default_factory=dict)
    exempt: bool = False
    finished: datetime | None = None
    waived: datetime | None = None
    aside: datetime | None = None
    pilot: date | None = None
    scores: dict[str, float] = field(default_factory=dict)

    @property
    def name(self) -> dict[str, str]:
        return {"source": self.driver.kind, "key": self.key}


@dataclass
class Due:
    """A decision with a day."""

    id: int
    key: str
    kind: str
    by: date


@dataclass
class Company:
    world: World
    runtime: Runtime
    clock: Clock
    works: list[Work] = field(default_factory=list)
    closed: set[str] = field(default_factory=set)
    due: dict[str, Due] = field(default_factory=dict)
    reviewed: list[tuple[str, date, dict[str, str]]] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)

    # --- what is so ---------------------------------------------------------------------------

    def counting(self, work: Work, day: date) -> dict[str, float]:
        return {
            key: weight
            for key, weight in work.links.items()
            if key not in self.closed and ((ends := ENDS[key]) is None or ends >= day)
        }

    def alignment(self, work: Work, now: datetime) -> str:
        if work.aside is not None and work.aside > now:
            return "waived"
        if self.counting(work, now.date()):
            return "aligned"
        if work.exempt:
            return "exempt"
        return "waived" if work.waived is not None and work.waived > now else "unaligned"

    def open(self) -> list[Work]:
        return [work for work in self.works if work.finished is None]

    def alignments(self) -> dict[str, str]:
        return {work.key: self.alignment(work, self.clock.now) for work in self.open()}

    # --- what people do -----------------------------------------------------------------------

    async def at(self, day: date, hour: int = 9, minute: int = 0, second: int = 0) -> None:
        self.clock.now = datetime.combine(day, time(hour, minute, second), UTC)
        await sweep(self.runtime)
        await self.world.drain()

    async def link(self, work: Work, key: str, weight: float = 1.0) -> None:
        body = {"epic": work.name, "key_result": key, "weight": weight}
        await self.world.send("POST", "/links", body)
        work.links[key] = weight
        work.waived = None

    async def waive(self, work: Work, until: date) -> None:
        (found,) = [
            one for one in (await work.driver.epic(work.key))["findings"] if one["state"] != "resolved"
        ]
        body = {"reason": "By law", "until": until.isoformat()}
        await self.world.send("POST", f"/findings/{found['id']}/waive", body)
        work.waived = after(until)

    async def finish(self, work: Work) -> None:
        work.driver.finish(work.key)
        work.finished = self.clock.now.replace(microsecond=0)

    async def decide(self, review: Any, work: Work, kind: str, **members: Any) -> Any:
        body = {"epic": work.name, "decision": kind, "reason": "Agreed", "decided_by": [ANN, BO], **members}
        if (by := members.get("by")) is not None:
            body["by"] = by.isoformat()
        made = await self.world.send("POST", f"/reviews/{review['id']}/decisions", body)
        self.due.pop(work.key, None)
        if by is not None:
            self.due[work.key] = Due(made["id"], work.key, kind, by)
        work.aside = None
        if kind in ("stop", "defer"):
            work.aside = after(by) if by is not None else datetime.max.replace(tzinfo=UTC)
        elif kind == "remap":
            work.links = {members["key_result"]: work.links.get(members["key_result"], 1.0)}
        elif kind == "pilot":
            work.pilot = by
        elif kind == "scale":
            work.pilot = None
        return made

    async def check_in(self, key: str, value: float, confidence: float) -> None:
        body = {"value": value, "confidence": confidence}
        await self.world.send("POST", f"/key-results/{key}/check-ins", body)

    # --- what Northing says -------------------------------------------------------------------

    async def review(self, cycle: str) -> Any:
        """Open one today, and hold its figures and its agenda against what is so."""
        now = self.clock.now
        report = await self.world.send("GET", "/reports/coverage")
        body = {"cycle": cycle, "held_on": now.date().isoformat(), "attendees": [ANN, BO]}
        review = await self.world.send("POST", "/reviews", body)
        for trend in ("trend", "missing_days"):
            report.pop(trend)
        assert review["coverage"] == report
        alignments = self.alignments()
        counts = {
            name: list(alignments.values()).count(name)
            for name in ("aligned", "exempt", "waived", "unaligned")
        }
        assert {name: report[name] for name in counts} == counts, (now, alignments)
        counted = counts["aligned"] + counts["unaligned"]
        assert report["rate"] == (pytest.approx(counts["aligned"] / counted) if counted else None)
        frozen = (await self.world.send("GET", f"/reviews/{review['id']}/epics?limit=500"))["items"]
        assert {one["key"]: one["alignment"] for one in frozen} == alignments
        await self._changes(cycle, review, alignments)
        self._agenda(cycle, review)
        self.reviewed.append((cycle, now.date(), alignments))
        return review

    async def _changes(self, cycle: str, review: Any, alignments: dict[str, str]) -> None:
        earlier = [one for one in self.reviewed if one[1] < self.clock.now.date()]
        before = [one for one in earlier if one[0] == cycle] or earlier
        if not before:
            assert review["changes"] is None
            return
        _, held_on, were = before[-1]
        changes = review["changes"]
        assert changes["previous"]["held_on"] == held_on.isoformat()
        moved = {key for key in were.keys() & alignments.keys() if were[key] != alignments[key]}
        assert {one["key"] for one in changes["alignment"]["epics"]} == moved
        assert (changes["alignment"]["count"], changes["new"], changes["left"]) == (
            len(moved),
            len(alignments.keys() - were.keys()),
            len(were.keys() - alignments.keys()),
        )
        listed = await self.world.send("GET", f"/reviews/{review['id']}/epics?changed=alignment")
        assert {one["key"] for one in listed["items"]} == moved

    def _agenda(self, cycle: str, review: Any) -> None:
        today = self.clock.now.date()
        lines: dict[str, set[str]] = {}
        for item in review["items"]:
            name = item["about"].get("epic", {}).get("key") or item["about"].get("key_result") or ""
            lines.setdefault(item["kind"], set()).add(name)
        is_open = {work.key: work for work in self.open()}
        pilots = {key for key, work in is_open.items() if work.pilot is not None and work.pilot < today}
        still = {key for key, work in is_open.items() if work.pilot is not None}
        come = {
            one.key
            for one in self.due.values()
            if one.by <= today and not (one.kind == "pilot" and one.key in still)
        }
        months = 1 if cycle == "Y" else 3
        last = today.month + months if cycle == "Y" else (today.month - 1) // 3 * 3 + 6
        until = date(YEAR + (last > 12), (last - 1) % 12 + 1, 1)
        until = until.replace(day=calendar.monthrange(until.year, until.month)[1])
        ending = {
            key
            for key, work in is_open.items()
            if self.alignment(work, self.clock.now) == "waived"
            and not self.counting(work, today)
            and not work.exempt
            and (self._waived_until(work) or datetime.max.replace(tzinfo=UTC)) <= after(until)
        }
        self.seen += [f"{kind} {key}" for kind, keys in lines.items() for key in keys]
        assert lines.get("decision", set()) == come, today
        assert lines.get("pilot", set()) == pilots, today
        if cycle == "Y" and today.month < 12:
            assert lines.get("waiver", set()) == ending, (today, until)

    def _waived_until(self, work: Work) -> datetime | None:
        now = self.clock.now
        if work.waived is not None and work.waived > now:
            return work.waived
        return work.aside

    async def deal_with(self, review: Any) -> None:
        """The lines of decisions whose day has come are talked about; nothing is decided anew."""
        for item in review["items"]:
            if item["kind"] == "decision":
                path = f"/reviews/{review['id']}/items/{item['id']}"
                await self.world.send("PATCH", path, {"state": "done"})
                self.due.pop(item["about"]["epic"]["key"])

    async def close(self, review: Any, *attendees: Any) -> None:
        path = f"/reviews/{review['id']}"
        await self.world.send("PATCH", path, {"attendees": list(attendees)})
        closed = await self.world.send("POST", f"{path}/close")
        missing = [side for side in ("business", "it") if side not in [one["side"] for one in attendees]]
        assert closed["missing_sides"] == missing

    async def figures(self) -> None:
        """Allocation, priorities and outcomes, as of now."""
        today, now = self.clock.now.date(), self.clock.now
        report = (await self.world.send("GET", "/reports/allocation"))["open"]
        alignments = self.alignments()
        assert report["total"]["epics"] == len(alignments)
        assert sum(one["epics"] for one in report["classes"].values()) == pytest.approx(len(alignments))
        aligned = [work for work in self.open() if alignments[work.key] == "aligned"]
        parts: dict[str, float] = {}
        for work in aligned:
            counting = self.counting(work, today)
            for key, weight in counting.items():
                name = OBJECTIVE[key]
                parts[name] = parts.get(name, 0) + weight / sum(counting.values())
        shown = {one["objective"]: one["epics"] for one in report["by_objective"] if one["epics"]}
        assert shown == {name: pytest.approx(part, abs=0.01) for name, part in parts.items()}, now
        assert sum(shown.values()) == pytest.approx(len(aligned), abs=0.05)
        started = {"O-1": date(YEAR, 1, 1), "O-2": date(YEAR, 2, 1)}
        under_way = {
            name: WEIGHTS[name]
            for key, name in OBJECTIVE.items()
            if ENDS[key] is not None and started[name] <= today <= (ENDS[key] or today)
        }
        weights = {one["objective"]: one["weight"] for one in report["by_objective"] if one["weight"]}
        whole = sum(under_way.values())
        assert weights == {
            name: pytest.approx(weight / whole, abs=0.001) for name, weight in under_way.items()
        }, now
        ranked = (await self.world.send("GET", "/reports/priorities?limit=500"))["items"]
        scores = {
            work.key: (3 * work.scores["V"] + work.scores["E"]) / 4
            for work in self.open()
            if len(work.scores) == 2
        }
        assert {one["key"]: one["rank"] for one in ranked} == {
            key: 1 + sum(other > score + 1e-9 for other in scores.values()) for key, score in scores.items()
        }

    async def frozen(self, month: int) -> None:
        """The month's rows, against who was open at its end and what was finished within it."""
        start = datetime(YEAR, month, 1, tzinfo=UTC)
        end = after(date(YEAR, month, calendar.monthrange(YEAR, month)[1]))
        name = f"{YEAR}-{month:02}"
        report = await self.world.send("GET", f"/reports/allocation?month={name}")
        assert report["month"]["late"] == (month == LATE_MONTH)
        finished = [w for w in self.works if w.finished is not None and start <= w.finished < end]
        was_open = [w for w in self.works if w.finished is None or w.finished >= end]
        counted = report["open"]["total"]["epics"], report["finished"]["total"]["epics"]
        assert counted == (len(was_open), len(finished)), name
        last = (end - timedelta(days=1)).date()
        served = sum(1 for work in was_open if self.counting(work, last))
        assert report["open"]["classes"]["aligned"]["epics"] == served, name


@pytest.fixture
async def company(world: World, runtime: Runtime, clock: Clock) -> Company:
    clock.now = datetime(YEAR, 1, 4, 9, tzinfo=UTC)
    made = Company(world, runtime, clock)
    jira, github = JiraDriver(world), GitHubDriver(world)
    await world.send("PATCH", "/policy", {"exempt": {"labels": ["ktlo"]}})
    for key, starts, ends, review in (
        ("Y", f"{YEAR}-01-01", f"{YEAR}-12-31", "monthly"),
        ("H", f"{YEAR}-02-01", f"{YEAR}-03-31", "quarterly"),
    ):
        body = {"key": key, "title": key, "starts": starts, "ends": ends, "review": review}
        await world.send("POST", "/cycles", body)
    for number, cycle in ((1, "Y"), (2, "H"), (3, None)):
        name = f"O-{number}"
        objective = {"key": name, "title": "O", "weight": WEIGHTS[name], "cycle": cycle}
        await world.send("POST", "/objectives", objective)
        goal = {"key": f"KR-{number}", "title": "More orders", "metric": METRIC}
        await world.send("POST", f"/objectives/O-{number}/key-results", goal)
    await world.send(
        "PUT",
        "/criteria",
        [{"key": "V", "title": "Value", "weight": 3}, {"key": "E", "title": "Ease", "weight": 1}],
    )
    for driver in (jira, github):
        await driver.connect("shadow")
        for number in range(7 if driver is jira else 5):
            labels = ["ktlo"] if number == 4 else []
            made.works.append(Work(driver, driver.add(f"Work {number}", labels=labels), exempt=number == 4))
        await driver.sync()
    return made


@pytest.mark.timeout(600)
async def test_each_figure_is_true_month_after_month(company: Company, clock: Clock) -> None:
    works, world = company.works, company.world
    await _begin(company)
    stopped: Any = None
    for month in range(1, 5):
        await company.at(date(YEAR, month, 10))
        if month == 4:
            await world.send("PATCH", "/key-results/KR-3", {"state": "achieved"})
            company.closed.add("KR-3")
        await company.check_in("KR-1", 1 + month / 12, 0.8)
        if month in (2, 3):
            await company.check_in("KR-2", 1 + month / 4, 0.8)
        await company.at(date(YEAR, month, 20))
        review = await company.review("Y")
        await company.figures()
        await company.deal_with(review)
        match month:
            case 1:
                await company.decide(review, works[0], "pilot", measure="KR-1", by=date(YEAR, 2, 15))
                await company.decide(review, works[1], "defer", by=date(YEAR, 2, 10))
            case 2:
                await company.decide(review, works[0], "scale")
                stopped = await company.decide(review, works[3], "stop")
                await company.decide(review, works[2], "defer", by=date(YEAR, 3, 31))
                await company.decide(review, works[8], "pilot", measure="KR-3", by=date(YEAR, 3, 10))
            case 3:
                await company.decide(review, works[7], "remap", key_result="KR-1")
                await company.decide(review, works[8], "stop", by=date(YEAR, 4, 15))
            case _:
                await world.send("POST", f"/decisions/{stopped['id']}/undo")
                works[3].aside = None
        await company.close(review, ANN, *([] if month == 1 else [BO]))
        if month == 3:
            await _review_the_quarter(company)
        await _end(company, month)
    for kind in ("decision", "pilot", "waiver", "late-red"):
        assert any(one.startswith(f"{kind} ") for one in company.seen), kind


async def _begin(company: Company) -> None:
    for number, work in enumerate(company.works):
        if number % 3 != 2 and not work.exempt:
            await company.link(work, f"KR-{number % 3 + 1}", 2)
        if number % 4 == 0:
            await company.link(work, "KR-3", 1)
        if number % 5:
            work.scores = {"V": number % 5, "E": number % 3}
            path = epic_path(work.driver.kind, work.key).removeprefix("/api/v1")
            await company.world.send("PUT", f"{path}/scores", work.scores)
    await company.waive(company.works[5], date(YEAR, 2, 19))


async def _review_the_quarter(company: Company) -> None:
    """On the same day; only the business is missing."""
    await company.check_in("KR-2", 1.8, 0.3)
    review = await company.review("H")
    goals = [one for objective in review["objectives"] for one in objective["key_results"]]
    assert {one["key"] for one in goals if one["late_red"]} == {"KR-2"}
    await company.close(review, BO)


async def _end(company: Company, month: int) -> None:
    """Of the month: somebody finishes work in its last second, and it is frozen."""
    last = date(YEAR, month, calendar.monthrange(YEAR, month)[1])
    if month in FINISHED:
        company.clock.now = after(last) - timedelta(seconds=1)
        await company.finish(company.works[FINISHED[month]])
    company.clock.now = after(last)
    for driver in (company.works[0].driver, company.works[-1].driver):
        await driver.sync()
    if month == LATE_MONTH:
        company.clock.advance(days=2)
    await sweep(company.runtime)
    await company.world.drain()
    company.clock.advance(minutes=1)
    await sweep(company.runtime)
    await company.frozen(month)
