"""Where a tracker can be struck, and a bench that strikes and looks: for the tests of its faults."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from app.jobs.sweep import sweep
from app.runtime import Runtime
from connectors.sandbox import faults
from connectors.sandbox.faults import Fault
from connectors.sandbox.tracker import LoggedRequest, Tracker
from tests.support.clock import Clock, later
from tests.support.faults import Trouble
from tests.support.tracker_drivers import GitHubDriver, JiraDriver, TrackerDriver
from tests.support.world import World

MISSING = "Which key result does this epic serve?"
ALIGNED = "Aligned with KR-1"


@dataclass(frozen=True)
class FaultPlace:
    """A request of ours: the glob that finds it, and how many of these pass before."""

    match: str
    skip: int = 0


READING: dict[str, dict[str, FaultPlace]] = {
    "jira": {
        "account": FaultPlace("GET */myself"),
        "projects": FaultPlace("GET */project/search"),
        "types": FaultPlace("GET */issuetype"),
        "first page": FaultPlace("POST */search/jql"),
        "second page": FaultPlace("POST */search/jql", skip=1),
        "lookup": FaultPlace("POST */issue/bulkfetch"),
    },
    "github": {
        "account": FaultPlace("GET */user"),
        "projects": FaultPlace("GET */repos/acme/shop"),
        "first page": FaultPlace("GET */issues"),
        "second page": FaultPlace("GET */issues", skip=1),
        "lookup": FaultPlace("GET */issues/*[0-9]"),
    },
}


# `{ticket}` is its id or number, `{comment}` the id of the first comment on it.
WRITING: dict[str, dict[str, str]] = {
    "jira": {
        "fetch": "POST */issue/bulkfetch",
        "create": "POST */issue/{ticket}/comment",
        "find": "GET */issue/{ticket}/comment",
        "marks": "POST */comment/list",
        "edit": "PUT */issue/{ticket}/comment/{comment}",
        "delete": "DELETE */issue/{ticket}/comment/{comment}",
    },
    "github": {
        "fetch": "GET */issues/{ticket}",
        "create": "POST */issues/{ticket}/comments",
        "find": "GET */issues/{ticket}/comments",
        "edit": "PATCH */issues/comments/{comment}",
        "delete": "DELETE */issues/comments/{comment}",
    },
}


@dataclass
class Bench:
    """A live source, and the truth: what its tracker says.

    `struck` counts the faults that struck. `small`: listings have two tickets a page.
    """

    world: World
    runtime: Runtime
    clock: Clock
    driver: TrackerDriver
    struck: int = 0
    quiet: set[str] = field(default_factory=set)  # tickets that never gave cause for a comment
    withdrawn: set[str] = field(default_factory=set)
    made: int = 0
    small: bool = True

    @property
    def tracker(self) -> Tracker:
        return self.driver.tracker

    async def begin(self) -> None:
        await self.world.goal("KR-1", "Checkout conversion")
        await self.driver.connect()
        # The guard is not the matter here.
        notices = {"per_run": 1000, "per_day": 1000, "max_share": 1.0}
        await self.world.send("PATCH", f"/sources/{self.driver.kind}", {"notices": notices})
        self.small_pages()

    def small_pages(self) -> None:
        if not self.small:
            return
        if isinstance(self.driver, JiraDriver):
            self.driver.site.page_cap = 2
        else:
            self.tracker.faults.add("GET */issues", faults.page_size(2), times=None)

    # --- what people do -------------------------------------------------------------------------

    def add(self, **members: Any) -> str:
        self.made += 1
        return self.driver.add(f"Epic {self.made}", **members)

    def add_quiet(self) -> None:
        """One that is aligned, and one that is finished, before we ever see them."""
        done = self.add()
        self.driver.finish(done)
        self.quiet |= {done, self.add(description="Key-Result: KR-1")}

    def rename(self, key: str) -> None:
        self.made += 1
        if isinstance(self.driver, JiraDriver):
            self.driver.site.edit(key, summary=f"Renamed {self.made}")
        elif isinstance(self.driver, GitHubDriver):
            self.driver.host.edit(key, title=f"Renamed {self.made}")

    # --- trouble --------------------------------------------------------------------------------

    def strike(self, trouble: Trouble, place: FaultPlace) -> Fault:
        return self.strike_all([(trouble, place)])[0]

    def strike_all(self, troubles: list[tuple[Trouble, FaultPlace]]) -> list[Fault]:
        """These come first in the queue; what else is disturbed is so all the time."""
        self.tracker.faults.clear()
        self.tracker.log.clear()
        struck = [
            self.tracker.faults.add(place.match, trouble.strike(self.tracker), skip=place.skip)
            for trouble, place in troubles
        ]
        self.small_pages()
        return struck

    def on(self, key: str, place: str) -> FaultPlace:
        """The request that writes, or looks at, this very ticket."""
        number = key.rpartition("#")[2]
        ticket = self.driver.site.issue(key).id if isinstance(self.driver, JiraDriver) else number
        comments = self.driver.comment_ids(key)
        pattern = WRITING[self.driver.kind][place]
        return FaultPlace(pattern.format(ticket=ticket, comment=comments[0] if comments else "*"))

    def over(self, *struck: Fault) -> None:
        assert [fault.struck for fault in struck] == [1] * len(struck), "a fault never struck"
        self.struck += len(struck)
        self.tracker.faults.clear()
        self.small_pages()
        self.posts_are_not_repeated_blindly()

    async def later(self, **span: float) -> None:
        await later(self.world, self.runtime, self.clock, **span)

    async def sync_in_full(self) -> tuple[Any, Any]:
        """The run as it is then, and the source's health. A run that waits is woken if it is time."""
        run = await self.world.send("POST", f"/sources/{self.driver.kind}/sync", {"mode": "full"})
        await sweep(self.runtime)
        await self.world.drain()
        source = await self.world.send("GET", f"/sources/{self.driver.kind}")
        return await self.world.send("GET", f"/runs/{run['id']}"), source["health"]

    async def health(self) -> Any:
        return (await self.world.send("GET", f"/sources/{self.driver.kind}"))["health"]

    # --- what must be true ----------------------------------------------------------------------

    def posts_are_not_repeated_blindly(self) -> None:
        """After a POST whose end we do not know the next we ask of the ticket is its comments."""
        unknown: set[str] = set()
        for seen in self.tracker.log.entries:
            ticket = ticket_of(seen)
            if ticket is None:
                continue
            if seen.method == "POST":
                assert ticket not in unknown, f"{seen.line} was repeated blindly"
                if seen.status is None or seen.status < 300 or seen.status >= 500:
                    unknown.add(ticket)
            elif ticket in unknown:
                unknown.discard(ticket)

    async def truth(self) -> None:
        """Northing's epics are the tracker's, and every ticket says what it must, once."""
        kind, driver = self.driver.kind, self.driver
        page = await self.world.send("GET", f"/epics?source={kind}&limit=500")
        ours = {item["key"]: (item["title"], item["status_category"]) for item in page["items"]}
        theirs = facts(driver)
        assert ours == theirs
        for key, (_, category) in theirs.items():
            comments = driver.comments(key)
            gap = category != "done" and not is_aligned(driver, key) and key not in self.withdrawn
            assert len(comments) == 1 if gap else len(comments) <= 1, (key, comments)
            assert all((MISSING in text) is gap for text in comments), (key, comments)
            assert not (key in self.quiet and comments), (key, comments)


def ticket_of(seen: LoggedRequest) -> str | None:
    """The ticket whose comments a request lists or adds to."""
    path = seen.path.rstrip("/")
    for end in ("/comment", "/comments"):
        if path.endswith(end) and "/issue" in path:
            return path.removesuffix(end)
    return None


def facts(driver: TrackerDriver) -> dict[str, tuple[str, str]]:
    """Of every epic there is on the tracker: its title and its status category."""
    if isinstance(driver, JiraDriver):
        names = {"new": "todo", "indeterminate": "doing", "done": "done"}
        return {i.key: (i.summary, names[i.status.category]) for i in driver.site.issues.values()}
    assert isinstance(driver, GitHubDriver)
    issues = driver.host.repository("acme/shop").issues.values()
    return {i.key: (i.title, "done" if i.state == "closed" else "todo") for i in issues}


def is_aligned(driver: TrackerDriver, key: str) -> bool:
    if isinstance(driver, JiraDriver):
        return "Key-Result: KR-1" in str(driver.site.issue(key).description)
    assert isinstance(driver, GitHubDriver)
    return "Key-Result: KR-1" in (driver.host.issue(key).body or "")
