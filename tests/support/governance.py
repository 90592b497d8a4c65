"""A committee that decides in an open review, about the epics of one source."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import httpx
from sqlalchemy import update

from app.runtime import Runtime
from mappings.tables import EpicRow
from tests.support.epic_rows import add_epic, add_source
from tests.support.goals_api import send
from tests.support.world import epic_path

ANN, BO = {"name": "Ann Lee", "side": "business"}, {"name": "Bo Chen", "side": "it"}
METRIC = {"unit": "%", "baseline": 1, "target": 2}
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?Z?)?")
_LEFT_OUT = ("updated_at", "run")


def without_times(shown: Any) -> Any:
    """What is shown without the moments in its texts, and without what is about the last read or write."""
    if isinstance(shown, dict):
        return {name: without_times(value) for name, value in shown.items() if name not in _LEFT_OUT}
    if isinstance(shown, list):
        return [without_times(one) for one in shown]
    return _TIME.sub("…", shown) if isinstance(shown, str) else shown


@dataclass
class Committee:
    """`source`: the name of the source. `review`: the id of the review of 16 November 2026."""

    api: httpx.AsyncClient
    source: str
    review: int

    @classmethod
    async def of(cls, api: httpx.AsyncClient, source: str) -> Committee:
        cycle = {"key": "2026-Q4", "title": "Q4", "starts": "2026-10-01", "ends": "2026-12-31"}
        await send(api, "POST", "/cycles", {**cycle, "review": "monthly"}, 201)
        review = {"cycle": "2026-Q4", "held_on": "2026-11-16", "attendees": [ANN, BO]}
        return cls(api, source, (await send(api, "POST", "/reviews", review, 201))["id"])

    @classmethod
    async def on_rows(cls, api: httpx.AsyncClient, runtime: Runtime, *keys: str, **members: Any) -> Committee:
        """Of a source `acme` that no tracker answers for, whose epics have been read; measured key results
        KR-1 to KR-3."""
        async with runtime.sessions.begin() as session:
            notices = {"mode": "shadow", "per_run": 50, "max_share": 1.0, "per_day": 50}
            source = await add_source(session, "acme", notices=notices)
            for key in keys or ("SHOP-1",):
                await add_epic(session, source, key, **members)
        for number in (1, 2, 3):
            objective = {"title": f"Objective {number}", "key": f"O-{number}"}
            await send(api, "POST", "/objectives", objective, 201)
            goal = {"key": f"KR-{number}", "title": f"Goal {number}", "metric": METRIC}
            await send(api, "POST", f"/objectives/O-{number}/key-results", goal, 201)
        return await cls.of(api, "acme")

    async def send(self, method: str, path: str, body: Any = None, status: int = 200) -> Any:
        return await send(self.api, method, path, body, status)

    async def epic(self, key: str = "SHOP-1") -> Any:
        return await self.send("GET", epic_path(self.source, key).removeprefix("/api/v1"))

    async def stage(self, key: str = "SHOP-1", body: Any = None, status: int = 200) -> Any:
        path = epic_path(self.source, key).removeprefix("/api/v1") + "/stage"
        return await self.send("GET" if body is None else "PUT", path, body, status)

    async def link(self, key_result: str, key: str = "SHOP-1", **members: Any) -> Any:
        epic = {"source": self.source, "key": key}
        return await self.send("POST", "/links", {"epic": epic, "key_result": key_result, **members}, 201)

    def body(self, kind: str, key: str = "SHOP-1", **members: Any) -> dict[str, Any]:
        epic = {"source": self.source, "key": key}
        return {"epic": epic, "decision": kind, "reason": "Agreed", "decided_by": [ANN, BO], **members}

    async def decide(self, kind: str, key: str = "SHOP-1", status: int = 201, **members: Any) -> Any:
        path = f"/reviews/{self.review}/decisions"
        return await self.send("POST", path, self.body(kind, key, **members), status)

    async def undo(self, id: int, status: int = 200) -> Any:
        return await self.send("POST", f"/decisions/{id}/undo", None, status)


async def change_row(runtime: Runtime, named: str, **members: Any) -> None:
    """Change columns of an epic, as a sync would."""
    async with runtime.sessions.begin() as session:
        await session.execute(update(EpicRow).where(EpicRow.key == named).values(**members))
