"""The company's steering committee: it agrees criteria, answers, scores, and holds its first review."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import quote

from connectors.sandbox.company import committee
from connectors.sandbox.company.goals import GITHUB_SOURCE, JIRA_SOURCE, goals

if TYPE_CHECKING:
    from datetime import datetime

    from app.demo_company.client import Api, Json
    from app.demo_company.company import Maker


@dataclass(frozen=True, slots=True)
class Held:
    """The review as it was opened, and the decisions that were taken in it."""

    review: Json
    decisions: list[Json]


class _Keys:
    """The keys of the company's epics, by source and title."""

    def __init__(self, epics: list[Json]) -> None:
        self._keys = {(epic["source"], epic["title"]): epic["key"] for epic in epics}

    def of(self, source: str, title: str) -> str:
        key: str = self._keys[source, title]
        return key

    def path(self, source: str, title: str) -> str:
        return f"epics/{source}/{quote(self.of(source, title), safe='')}"


async def steer(maker: Maker, now: datetime) -> Held:
    """All that a committee does before and in its first review, which stays open."""
    api, today = maker.api, now.date()
    await maker.step("Its committee agrees on priorities")
    keys = _Keys(
        [epic for source in (JIRA_SOURCE, GITHUB_SOURCE) for epic in await api.every("epics", source=source)]
    )
    await maker.put_criteria(committee.CRITERIA)
    for one in committee.STEERED:
        await _steer_epic(api, keys.path(one.source, one.title), one)
    for source, title, name in committee.ASKED:
        await api.put(f"{keys.path(source, title)}/value", {"asked_of": name})
    pilot = {"stage": "pilot", "measure": committee.PILOT_MEASURE}
    await api.put(
        f"{keys.path(*committee.PILOT_ON)}/stage",
        {**pilot, "by": (today + timedelta(days=committee.PILOT_DAYS)).isoformat()},
    )
    source, title = committee.CONFLICT_ON
    epic = {"source": source, "key": keys.of(source, title)}
    await api.post("conflicts", {"epic": epic, **committee.CONFLICT})
    return await _hold_review(maker, keys, now)


async def _steer_epic(api: Api, path: str, one: committee.Steered) -> None:
    if one.answer is not None:
        answer, driver = one.answer
        await api.put(f"{path}/value", {"answer": answer, "driver": driver})
    if one.scores:
        named = zip((criterion["key"] for criterion in committee.CRITERIA), one.scores, strict=True)
        await api.put(f"{path}/scores", dict(named))
    for kind, amount in (("planned", one.planned), ("realised", one.realised)):
        if amount is not None:
            estimate = {"kind": kind, "amount": amount, "currency": "EUR", "estimated_by": "cfo"}
            await api.post(f"{path}/estimates", estimate)


async def _hold_review(maker: Maker, keys: _Keys, now: datetime) -> Held:
    api, today = maker.api, now.date()
    await maker.step("Its committee holds a review")
    cycle = goals(now).cycle["key"]
    body = {"cycle": cycle, "held_on": today.isoformat(), "attendees": committee.ATTENDEES}
    review = await api.post("reviews", body)
    path = f"reviews/{review['id']}"
    for item in review["items"]:
        mitigation = committee.MITIGATIONS.get(item["about"].get("key_result", ""))
        if mitigation is not None:
            await api.patch(f"{path}/items/{item['id']}", {"mitigation": mitigation})
    taken = [
        await api.post(
            f"{path}/decisions", committee.body_of(decided, keys.of(decided.source, decided.title), today)
        )
        for decided in committee.DECISIONS
    ]
    return Held(review, taken)
