"""When the company means to do its epics, by their titles, and how large it thinks they are. About half of
them have a day, as in most companies; some are late."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import NamedTuple


class Plan(NamedTuple):
    """`start` and `due` in days from now, negative in the past. On GitHub `due` is the milestone's."""

    start: int | None = None
    due: int | None = None
    points: float | None = None


JIRA_PLANS = {
    "One-page checkout": Plan(-75, 20, 21),
    "Guest checkout without an account": Plan(-60, -6, 13),
    "Search that forgives typing errors": Plan(-40, 33, 8),
    "Bring the delivery date forward": Plan(-30, 75, 13),
    "Product pages in under one second": Plan(10, 85, 8),
    "Refunds visible in the account": Plan(-50, 12, 5),
    "Reviews with pictures": Plan(-85, -20, 8),
    "Move nightly jobs to spare capacity": Plan(-80, 5, 13),
    "Archive orders older than two years": Plan(points=5),
    "Right-size the recommendation cluster": Plan(-35, -12, 5),
    "Patch windows for every database": Plan(-45, 60, 8),
    "Secrets out of configuration files": Plan(due=30),
    "Last services off the old sign-on": Plan(-70, -25, 3),
    "Order service in smaller pieces": Plan(-82, 90, 34),
    "Contacts per order on one screen": Plan(-28, 16, 5),
    "Retry failed card payments": Plan(-55, 8, 5),
    "Second acquirer for card payments": Plan(-66, 40, 13),
    "3-D Secure only where the bank insists": Plan(-20),
    "Refunds without a person in between": Plan(-48, 54, 8),
    "Invoices in the new national format": Plan(due=33, points=2.5),
    "Card data out of the log files": Plan(points=3),
    "Instant bank transfer at checkout": Plan(-80, -15, 8),
    "Help centre answers next to the order": Plan(-25, 28, 3),
}
GITHUB_PLANS = {
    "Reorder in two taps": Plan(-70, points=13),
    "Push when a watched item is back": Plan(-45, points=5),
    "Start in under two seconds on old phones": Plan(-20, points=8),
    "Order tracking without calling us": Plan(-60, points=13),
    "Dark theme 🌙": Plan(points=3),
    "Sign in with a passkey": Plan(-84, points=8),
    "Build images on spot machines": Plan(-50, points=5),
    "Tracing through the queues": Plan(-80, points=5),
    "Help centre in nine languages": Plan(-85, points=21),
}
MILESTONES = {"Autumn release": 40, "Leaner platform": 75, "Help centre, second edition": -9}


def plan_of(plans: dict[str, Plan], title: str) -> Plan:
    """The plan of the epic whose title begins so; an empty one where it has none."""
    return next((plan for start, plan in plans.items() if title.startswith(start)), Plan())


def working_day(now: datetime, days: int) -> date:
    """The day `days` from now; of a weekend the Monday after."""
    day = (now + timedelta(days=days)).date()
    return day + timedelta(days=7 - day.weekday() if day.weekday() > 4 else 0)


def day_text(now: datetime, days: int | None) -> str | None:
    """As a tracker's date field has it; None for none."""
    return None if days is None else working_day(now, days).isoformat()
