"""The goals of the company, as bodies of Northing's API, from the cycle to the rules.

Plain data. The caller creates it in this order: cycle, objectives, key results, check-ins, agreements, rules.
"""

from __future__ import annotations

import calendar
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

Json = dict[str, Any]

JIRA_SOURCE = "acme-jira"
GITHUB_SOURCE = "acme-github"
CLOSED = "KR-10"  # achieved: the two epics linked to this key result alone get the finding `closed-goal`


@dataclass(frozen=True, slots=True)
class Goals:
    """Bodies for POST. `key_results`, `check_ins` and `agreements` pair each with the key of what it belongs
    to."""

    cycle: Json
    objectives: list[Json]
    key_results: list[tuple[str, Json]]
    check_ins: list[tuple[str, Json]]
    agreements: list[tuple[str, Json]]
    rules: list[Json]


OBJECTIVES = (
    ("O-1", "growth", "Turn more visits into orders", "head-of-commerce", "coo", "public"),
    ("O-2", "cost", "Serve every order for less", "head-of-platform", "cfo", "internal"),
    (
        "O-3",
        "experience",
        "Customers get what they need without asking us",
        "head-of-service",
        "coo",
        "public",
    ),
    (
        "O-4",
        "risk",
        "Nothing we run can take the shop down or leak data",
        "head-of-security",
        "cto",
        "internal",
    ),
)

# key, objective, title, category, unit, baseline, target, direction, check-ins (oldest first)
KEY_RESULTS = (
    ("KR-1", "O-1", "Checkout conversion from 2.4 to 3.2 %", "revenue", "%", 2.4, 3.2,
     "increase", ((2.5, 0.6), (2.7, 0.7))),
    ("KR-2", "O-1", "Orders from the app from 18,000 to 26,000 a week", "revenue", "orders/week", 18000,
     26000, "increase", ((19500, 0.7), (21800, 0.8))),
    ("KR-3", "O-1", "Card payments accepted at first try from 91 to 95 %", "revenue", "%", 91, 95,
     "increase", ((91.4, 0.5), (92.6, 0.6))),
    ("KR-4", "O-2", "Cloud cost from 0.42 to 0.30 EUR an order", "roi", "EUR/order", 0.42, 0.30, "decrease",
     ((0.41, 0.5), (0.37, 0.6))),
    ("KR-5", "O-2", "Refunds handled by hand from 340 to 100 a week", "productivity", "refunds/week", 340,
     100, "decrease", ((310, 0.6), (240, 0.7))),
    ("KR-6", "O-3", "App store rating from 4.1 to 4.5", "customer", "stars", 4.1, 4.5, "increase",
     ((4.1, 0.4), (4.2, 0.5))),
    ("KR-7", "O-3", "Support contacts from 38 to 25 per 1,000 orders", "customer", "contacts/1000", 38, 25,
     "decrease", ((36, 0.6), (33, 0.7))),
    ("KR-8", "O-3", "Help searches that find an answer from 55 to 75 %", "quality", "%", 55, 75, "increase",
     ((57, 0.5), (61, 0.6))),
    ("KR-9", "O-4", "Critical findings older than 30 days from 27 to 0", "risk", "findings", 27, 0,
     "decrease", ((22, 0.6), (14, 0.7))),
    ("KR-10", "O-4", "All 40 services off the old sign-on", "risk", "services", 0, 40, "increase",
     ((31, 0.8), (40, 1.0))),
)  # fmt: skip

# Who has signed how it is measured; the others are still to be signed.
AGREEMENTS = {
    "KR-1": (("business", "head-of-commerce"), ("it", "head-of-platform")),
    "KR-2": (("business", "head-of-commerce"),),
    "KR-4": (("business", "cfo"), ("it", "head-of-platform")),
    "KR-8": (("business", "head-of-service"), ("it", "cto")),
    "KR-9": (("it", "head-of-security"),),
}

RULES: tuple[tuple[str, str, Json], ...] = (
    ("Security backlog", "KR-9", {"all": [{"label": ["security"]}, {"not": {"label": ["wont-fix"]}}]}),
    ("Checkout", "KR-1", {"all": [{"project": ["SHOP"]}, {"component": ["checkout", "search"]}]}),
    ("Orders from the app", "KR-2", {"all": [{"project": ["acme/mobile"]}, {"label": ["orders", "push*"]}]}),
    ("Payments", "KR-3", {"all": [{"project": ["PAY"]}, {"title": r"(?i)\b(payment|card|3-D Secure)s?\b"}]}),
    ("Cloud spend", "KR-4", {"any": [{"label": ["cost", "finops*"]}, {"milestone": ["Leaner platform"]}]}),
    ("Refunds without hands", "KR-5", {"title": r"(?i)\brefunds?\b"}),
    ("App quality", "KR-6", {"all": [{"project": ["acme/mobile"]}, {"label": ["quality", "a11y"]}]}),
    (
        "Answers before questions",
        "KR-8",
        {
            "all": [
                {"project": ["acme/docs", "HELP"]},
                {"any": [{"label": ["search"]}, {"title": "(?i)help cent"}]},
            ]
        },
    ),
)


def goals(now: datetime) -> Goals:
    """The goals. The cycle is the calendar quarter of `now`; check-ins are four weeks and one week old."""
    quarter = (now.month - 1) // 3 + 1
    first, last = quarter * 3 - 2, quarter * 3
    cycle = {
        "key": f"{now.year}-Q{quarter}",
        "title": f"Quarter {quarter} of {now.year}",
        "starts": f"{now.year}-{first:02d}-01",
        "ends": f"{now.year}-{last:02d}-{calendar.monthrange(now.year, last)[1]}",
        "review": "quarterly",
    }
    objectives = [
        {
            "key": key,
            "title": title,
            "driver": driver,
            "cycle": cycle["key"],
            "owner": owner,
            "sponsor": sponsor,
            "visibility": visibility,
        }
        for key, driver, title, owner, sponsor, visibility in OBJECTIVES
    ]
    rules = [
        {"name": name, "when": when, "key_result": key, "priority": 10 * number, "enabled": True}
        for number, (name, key, when) in enumerate(RULES, 1)
    ]
    agreements = [
        (key, {"side": side, "name": name}) for key, signed in AGREEMENTS.items() for side, name in signed
    ]
    return Goals(cycle, objectives, _key_results(cycle["ends"]), _check_ins(now), agreements, rules)


def _key_results(due: str) -> list[tuple[str, Json]]:
    return [
        (
            objective,
            {
                "key": key,
                "title": title,
                "category": category,
                "metric": {"unit": unit, "baseline": baseline, "target": target, "direction": direction},
                "due": due,
                "state": "achieved" if key == CLOSED else "active",
            },
        )
        for key, objective, title, category, unit, baseline, target, direction, _ in KEY_RESULTS
    ]


def _check_ins(now: datetime) -> list[tuple[str, Json]]:
    check_ins = []
    for key, *_, values in KEY_RESULTS:
        for weeks_ago, (value, confidence) in zip((4, 1), values, strict=True):
            at = (now - timedelta(weeks=weeks_ago)).replace(microsecond=0)
            check_ins.append((key, {"value": value, "confidence": confidence, "at": at.isoformat()}))
    return check_ins
