"""A review's pack of a small company, in plain values."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

from mappings.governance.agenda import (
    AgendaFacts,
    ConflictFact,
    EpicFact,
    EpicName,
    ProjectFact,
    Some,
    asks_mitigation,
    make_agenda,
)
from mappings.governance.pack import Pack, PackDecision, PackItem

FIGURES: dict[str, Any] = {
    "unit": "%",
    "baseline": 2.0,
    "target": 4.0,
    "direction": "increase",
    "state": "active",
    "current": 3.2,
    "progress": 0.6,
    "steady": 0.63,
    "confidence": 0.7,
    "trend": "rising",
    "due": "2026-12-31",
    "owner": "ann",
    "live": True,
    "at_risk": False,
    "late_red": False,
    "checked_in_at": "2026-11-20T09:00:00Z",
    "note": "The new basket is out for half of the visitors.",
    "epics": 4,
    "signatures": [],
    "not_agreed": None,
    "not_measured": None,
    "not_steered": [],
}
COVERAGE: dict[str, Any] = {
    "rate": 0.77,
    "steered": 0.5,
    "total": 52,
    "aligned": 36,
    "unaligned": 11,
    "exempt": 3,
    "waived": 2,
    "not_evaluated": 0,
}
PAIR = {"before": 0.71, "after": 0.77}
CHANGES: dict[str, Any] = {
    "previous": {"id": 1, "cycle": "2026-Q4", "held_on": "2026-10-30"},
    "coverage": {"rate": PAIR},
    "alignment": {
        "count": 4,
        "moves": [
            {"before": "unaligned", "after": "aligned", "epics": 3},
            {"before": None, "after": "exempt", "epics": 1},
        ],
        "epics": [],
    },
    "due": {"count": 2, "later": 2, "earlier": 0, "gained": 0, "lost": 0, "epics": []},
    "new": 5,
    "left": 3,
    "key_results": [{"key": "KR-1", "title": "Conversion", "progress": {"before": 0.4, "after": 0.6}}],
    "new_key_results": [],
    "gone_key_results": [],
}


def figures(id: int, key: str, title: str, **facts: Any) -> dict[str, Any]:
    """A key result as a review freezes it."""
    return {"key_result_id": id, "key": key, "title": title, "objective": "O-1", "facts": FIGURES | facts}


KEY_RESULTS = [
    figures(1, "KR-1", "More visitors who buy"),
    figures(
        2,
        "KR-6",
        "Fewer crashes of the app",
        progress=0.25,
        confidence=0.4,
        trend="falling",
        at_risk=True,
        owner="bo",
        current=2.5,
        note="The library that crashes is replaced in December at the earliest.",
    ),
    figures(
        3,
        "KR-8",
        "Orders by telephone",
        progress=0.3,
        confidence=0.3,
        at_risk=True,
        late_red=True,
        note=None,
        owner=None,
    ),
    figures(
        4,
        "KR-9",
        "Critical findings",
        progress=None,
        target=None,
        note=None,
        not_agreed="IT has not signed",
        not_measured="it has no target",
    ),
]


def agenda_facts(**members: Any) -> AgendaFacts:
    shop = EpicName(8, "acme")
    plain: dict[str, Any] = {
        "coverage": COVERAGE,
        "changes": CHANGES,
        "key_results": KEY_RESULTS,
        "disputes": Some(
            [
                EpicFact(
                    epic=EpicName(7, "acme"),
                    key="CORE-8",
                    title="Order service in smaller pieces",
                    words="It keeps the shop changeable; no single key result fits.",
                    by="dev-lead",
                    at=datetime(2026, 11, 19, 8, tzinfo=UTC),
                )
            ],
            1,
        ),
        "conflicts": Some(
            [
                ConflictFact(
                    3,
                    {"epic": {"source": "acme", "key": "SHOP-3"}},
                    "Same-day delivery",
                    "The old order service takes one order a second.",
                    "The campaign starts on 1 December.",
                    datetime(2026, 11, 2, tzinfo=UTC),
                    datetime(2026, 11, 16, tzinfo=UTC),
                    epic_id=3,
                )
            ],
            1,
        ),
        "projects": Some([ProjectFact("acme", "SHOP", 7), ProjectFact("acme", "CORE", 1)], 2),
        "waivers": Some(
            [
                EpicFact(
                    epic=shop, key="SHOP-8", title="Loyalty points", words="Agreed", day=date(2026, 12, 15)
                )
            ],
            1,
        ),
        "decisions": Some(
            [
                EpicFact(
                    epic=shop,
                    key="SHOP-9",
                    title="Augmented reality",
                    words="No budget",
                    day=date(2026, 11, 20),
                    id=5,
                    what="defer",
                )
            ],
            1,
        ),
    }
    return AgendaFacts(**(plain | members))


def a_pack(facts: AgendaFacts | None = None, **members: Any) -> Pack:
    lines = make_agenda(facts or agenda_facts())
    items = [
        PackItem(
            one.kind,
            one.title,
            one.detail,
            "open",
            one.about,
            None,
            asks_mitigation(one.kind, one.key_result_id),
        )
        for one in lines
    ]
    items[2] = replace(items[2], mitigation="Two people move over from the shop.", state="done")
    plain: dict[str, Any] = {
        "id": 2,
        "cycle": {"key": "2026-Q4", "title": "Fourth quarter", "review": "monthly"},
        "held_on": date(2026, 11, 27),
        "closed": False,
        "frozen_at": datetime(2026, 11, 25, 9, tzinfo=UTC),
        "attendees": [{"name": "Ann Lee", "side": "business"}, {"name": "Cy Fox", "side": "business"}],
        "missing_sides": ["it"],
        "coverage": COVERAGE,
        "changes": CHANGES,
        "epics": 52,
        "objectives": [
            (
                {
                    "key": "O-1",
                    "title": "A shop that people come back to",
                    "driver": "growth",
                    "owner": "ann",
                    "sponsor": "coo",
                    "progress": 0.38,
                    "state": "active",
                },
                KEY_RESULTS,
            )
        ],
        "items": items,
        "decisions": [
            PackDecision(
                "defer",
                "acme/platform#7",
                "Developer portal",
                None,
                date(2027, 1, 15),
                "No measure yet; come back with one.",
                [{"name": "Ann Lee", "side": "business"}],
                datetime(2026, 11, 27, 10, tzinfo=UTC),
                False,
            )
        ],
    }
    return Pack(**(plain | members))
