"""The goals of the company, as bodies of Northing's API, from the cycle to the rules.

Plain data. The caller creates it in this order: cycle, objectives, key results, check-ins, agreements, rules.
"""

from __future__ import annotations

import calendar
from dataclasses import dataclass
from datetime import date, datetime, timedelta
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


# key, driver, title, owner, sponsor, visibility, weight; the last has a label and an objective above it
OBJECTIVES: tuple[tuple[str, str, str, str, str, str, int], ...] = (
    ("O-1", "growth", "Turn more visits into orders", "head-of-commerce", "coo", "public", 3),
    ("O-2", "cost", "Serve every order for less", "head-of-platform", "cfo", "internal", 2),
    ("O-3", "experience", "Customers get what they need without asking us", "head-of-service", "coo",
     "public", 2),
    ("O-4", "risk", "Nothing we run can take the shop down or leak data", "head-of-security", "cto",
     "internal", 1),
    ("O-5", "growth", "Sell the wholesale arm by summer", "cfo", "ceo", "confidential", 1),
)  # fmt: skip
CONFIDENTIAL = {"O-5": {"public_label": "A goal of the company's structure", "parent": "O-1"}}

# key, objective, title, category, owner, days from its due day to the end of the cycle (None: no due day),
# unit, baseline, target, direction
KEY_RESULTS: tuple[tuple[str, str, str, str, str | None, int | None, str, float, float, str], ...] = (
    ("KR-1", "O-1", "Checkout conversion from 2.4 to 3.2 %", "revenue", "dev-lead", 0, "%", 2.4, 3.2,
     "increase"),
    ("KR-2", "O-1", "Orders from the app from 18,000 to 26,000 a week", "revenue", "mobile-lead", 0,
     "orders/week", 18000, 26000, "increase"),
    ("KR-3", "O-1", "Card payments accepted at first try from 91 to 95 %", "revenue", "pay-lead", 0, "%", 91,
     95, "increase"),
    ("KR-4", "O-2", "Cloud cost from 0.42 to 0.30 EUR an order", "roi", "platform-lead", 0, "EUR/order", 0.42,
     0.30, "decrease"),
    ("KR-5", "O-2", "Refunds handled by hand from 340 to 100 a week", "productivity", "finance-lead", 30,
     "refunds/week", 340, 100, "decrease"),
    ("KR-6", "O-3", "App store rating from 4.1 to 4.5", "customer", "mobile-lead", 14, "stars", 4.1, 4.5,
     "increase"),
    ("KR-7", "O-3", "Support contacts from 38 to 25 per 1,000 orders", "customer", None, None,
     "contacts/1000", 38, 25, "decrease"),
    ("KR-8", "O-3", "Help searches that find an answer from 55 to 75 %", "quality", "docs-lead", 0, "%", 55,
     75, "increase"),
    ("KR-9", "O-4", "Critical findings older than 30 days from 27 to 0", "risk", "security-lead", 0,
     "findings", 27, 0, "decrease"),
    ("KR-10", "O-4", "All 40 services off the old sign-on", "risk", "security-lead", 45, "services", 0, 40,
     "increase"),
    ("KR-11", "O-5", "Wholesale orders on books of their own from 0 to 100 %", "revenue", "finance-lead", 0,
     "%", 0, 100, "increase"),
)  # fmt: skip

# By key result: how many weeks ago the last one was, then a value and the confidence of each week to it.
CHECK_INS: dict[str, tuple[int, tuple[tuple[float, float], ...]]] = {
    "KR-1": (1, ((2.4, 0.5), (2.42, 0.5), (2.5, 0.6), (2.48, 0.5), (2.55, 0.6), (2.6, 0.6), (2.7, 0.7))),
    "KR-2": (1, ((18100, 0.6), (18600, 0.6), (19500, 0.7), (20400, 0.7), (21000, 0.8), (21800, 0.8))),
    "KR-3": (1, ((91, 0.5), (91.2, 0.5), (91.4, 0.5), (91.9, 0.5), (92.6, 0.6))),
    "KR-4": (1, ((0.42, 0.4), (0.41, 0.5), (0.41, 0.5), (0.39, 0.5), (0.38, 0.6), (0.37, 0.6))),
    "KR-5": (2, ((340, 0.5), (325, 0.6), (310, 0.6), (280, 0.6), (240, 0.7))),
    "KR-6": (5, ((4.1, 0.4), (4.1, 0.4), (4.2, 0.5))),
    "KR-7": (1, ((38, 0.5), (37, 0.5), (36, 0.6), (36, 0.6), (34, 0.6), (33, 0.7))),
    "KR-8": (1, ((55, 0.4), (56, 0.5), (57, 0.5), (59, 0.5), (61, 0.6))),
    "KR-9": (1, ((27, 0.5), (25, 0.5), (22, 0.6), (21, 0.6), (17, 0.7), (14, 0.7))),
    "KR-10": (1, ((12, 0.6), (20, 0.7), (31, 0.8), (36, 0.9), (40, 1.0))),
    "KR-11": (2, ((0, 0.4), (20, 0.4))),
}
# What the owner says with the latest check-in.
NOTES = {
    "KR-1": "Guests buy more since the basket and the address share a page; payment follows next.",
    "KR-2": "Half of the gain is reordering. Push messages start with the autumn release.",
    "KR-3": "The second acquirer has answered since Tuesday; one payment in ten goes there.",
    "KR-4": "Night jobs are cheaper already. The order service still needs its large machine.",
    "KR-5": "Small refunds go through by themselves now; those above 200 EUR still wait for a person.",
    "KR-6": "Old phones still crash. I expect no better rating before that is mended.",
    "KR-8": "Articles are found more often, but only in the three languages that are done.",
    "KR-9": "What is left needs a maintenance window, and each database has one from next week.",
    "KR-10": "All forty are off. The servers can be switched off.",
    "KR-11": "The books are being set up; the auditors have asked for one more month.",
}

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
    # Overlaps with "Payments", which comes first, and with "Security backlog".
    ("Card data", "KR-9", {"all": [{"project": ["PAY"]}, {"title": r"(?i)\bcard\b"}]}),
)


def goals(now: datetime) -> Goals:
    """The goals. The cycle is the calendar quarter of `now`; check-ins are weeks old."""
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
            "weight": weight,
            **CONFIDENTIAL.get(key, {}),
        }
        for key, driver, title, owner, sponsor, visibility, weight in OBJECTIVES
    ]
    rules = [
        {"name": name, "when": when, "key_result": key, "priority": 10 * number, "enabled": True}
        for number, (name, key, when) in enumerate(RULES, 1)
    ]
    agreements = [
        (key, {"side": side, "name": name}) for key, signed in AGREEMENTS.items() for side, name in signed
    ]
    return Goals(cycle, objectives, _key_results(cycle["ends"]), _check_ins(now), agreements, rules)


def _key_results(ends: str) -> list[tuple[str, Json]]:
    last = date.fromisoformat(ends)
    return [
        (
            objective,
            {
                "key": key,
                "title": title,
                "category": category,
                "owner": owner,
                "metric": {"unit": unit, "baseline": baseline, "target": target, "direction": direction},
                "due": None if before is None else (last - timedelta(days=before)).isoformat(),
                "state": "achieved" if key == CLOSED else "active",
            },
        )
        for (
            key, objective, title, category, owner, before, unit, baseline, target, direction,
        ) in KEY_RESULTS
    ]  # fmt: skip


def _check_ins(now: datetime) -> list[tuple[str, Json]]:
    made = []
    for key, (latest, values) in CHECK_INS.items():
        for weeks_ago, (value, confidence) in zip(
            range(latest + len(values) - 1, latest - 1, -1), values, strict=True
        ):
            at = (now - timedelta(weeks=weeks_ago)).replace(microsecond=0)
            body = {"value": value, "confidence": confidence, "at": at.isoformat()}
            if weeks_ago == latest and key in NOTES:
                body["note"] = NOTES[key]
            made.append((key, body))
    return made
