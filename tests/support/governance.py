"""A committee that decides about the epics of a driver's source, in an open review."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.runtime import Runtime
from tests.support.disputes import dispute
from tests.support.tracker_drivers import TrackerDriver
from tests.support.world import World

ANN, BO = {"name": "Ann Lee", "side": "business"}, {"name": "Bo Chen", "side": "it"}
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?Z?)?")


def without_times(shown: Any) -> Any:
    """Texts and members without the moments that they name, and without what is only about the last read."""
    if isinstance(shown, dict):
        left_out = ("updated_at", "run")
        return {name: without_times(value) for name, value in shown.items() if name not in left_out}
    if isinstance(shown, list):
        return [without_times(one) for one in shown]
    return _TIME.sub("…", shown) if isinstance(shown, str) else shown


@dataclass
class Committee:
    driver: TrackerDriver
    world: World
    review: int

    @classmethod
    async def of(cls, driver: TrackerDriver, world: World) -> Committee:
        """With a review of 16 November 2026 in a cycle of its own."""
        cycle = {"key": "2026-Q4", "title": "Q4", "starts": "2026-10-01", "ends": "2026-12-31"}
        await world.send("POST", "/cycles", {**cycle, "review": "monthly"})
        attendees = [ANN, BO]
        review = {"cycle": "2026-Q4", "held_on": "2026-11-16", "attendees": attendees}
        return cls(driver, world, (await world.send("POST", "/reviews", review))["id"])

    def body(self, key: str, kind: str, **members: Any) -> dict[str, Any]:
        epic = {"source": self.driver.kind, "key": key}
        return {"epic": epic, "decision": kind, "reason": "Agreed", "decided_by": [ANN, BO], **members}

    async def decide(self, key: str, kind: str, *, expect: int | None = None, **members: Any) -> Any:
        path = f"/reviews/{self.review}/decisions"
        return await self.world.send("POST", path, self.body(key, kind, **members), expect=expect)

    async def undo(self, id: int, *, expect: int | None = None) -> Any:
        return await self.world.send("POST", f"/decisions/{id}/undo", expect=expect)

    async def answer_finding(self, runtime: Runtime, key: str, state: str, now: datetime) -> None:
        """Bring the finding of an epic that has one into this state."""
        (found,) = (await self.driver.epic(key))["findings"]
        path, until = f"/findings/{found['id']}", "2027-03-01"
        if state == "snoozed":
            await self.world.send("POST", f"{path}/snooze", {"until": until, "reason": "Later"})
        elif state == "waived":
            await self.world.send("POST", f"{path}/waive", {"until": until, "reason": "Law"})
        elif state == "disputed":
            await dispute(runtime, key, "It is an office move", now)
