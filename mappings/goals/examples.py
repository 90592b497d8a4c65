"""Key results to start from: three outcomes for each driver, each with a metric. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mappings.goals.values import MetricValues

if TYPE_CHECKING:
    from mappings.goals.values import Category, Driver


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """`name` is the driver and a number, as `growth-1`; `why` says what the metric shows."""

    name: str
    driver: Driver
    title: str
    why: str
    category: Category
    metric: MetricValues


def _example(
    name: str,
    driver: Driver,
    category: Category,
    title: str,
    figures: tuple[float, float, str],
    why: str,
) -> Example:
    baseline, target, unit = figures
    metric = MetricValues(
        unit=unit,
        baseline=baseline,
        target=target,
        direction="increase" if target > baseline else "decrease",
    )
    return Example(name=name, driver=driver, title=title, why=why, category=category, metric=metric)


EXAMPLES = (
    _example(
        "growth-1",
        "growth",
        "revenue",
        "More visitors of the checkout pay",
        (2.4, 3.2, "%"),
        "Orders divided by visits: it moves when buying becomes easier, whoever makes it so.",
    ),
    _example(
        "growth-2",
        "growth",
        "revenue",
        "New customers buy a second time within 60 days",
        (22, 30, "%"),
        "Of those whose first order is 60 days old: it shows whether growth lasts.",
    ),
    _example(
        "growth-3",
        "growth",
        "customer",
        "Teams that try the product use it in their second week",
        (35, 50, "%"),
        "Of the teams that began: a trial that stays is worth more than one that begins.",
    ),
    _example(
        "cost-1",
        "cost",
        "productivity",
        "Cloud cost of an order falls",
        (0.42, 0.30, "EUR"),
        "The bill divided by orders: it may fall while the business grows.",
    ),
    _example(
        "cost-2",
        "cost",
        "productivity",
        "Fewer refunds are handled by hand",
        (340, 100, "a week"),
        "What people still do: an automation counts once nobody has to do its work.",
    ),
    _example(
        "cost-3",
        "cost",
        "productivity",
        "A change reaches production sooner",
        (9, 3, "days"),
        "The median from the first commit to production.",
    ),
    _example(
        "experience-1",
        "experience",
        "customer",
        "Customers need to contact support less often",
        (38, 25, "per 1,000 orders"),
        "Contacts for the same number of orders: it falls where the cause is gone.",
    ),
    _example(
        "experience-2",
        "experience",
        "quality",
        "More searches in the help find an answer",
        (55, 75, "%"),
        "Searches with no second one and no ticket after them.",
    ),
    _example(
        "experience-3",
        "experience",
        "quality",
        "Pages show their content sooner on a phone",
        (4.1, 2.5, "s"),
        "The 75th percentile of the largest paint, as visitors have it.",
    ),
    _example(
        "risk-1",
        "risk",
        "risk",
        "Fewer critical findings stay open for more than 30 days",
        (27, 0, "findings"),
        "Their age and not their number: new ones will always come.",
    ),
    _example(
        "risk-2",
        "risk",
        "risk",
        "Service is back sooner after an outage",
        (180, 45, "min"),
        "The median of the quarter's outages, from the first alarm to normal service.",
    ),
    _example(
        "risk-3",
        "risk",
        "quality",
        "Fewer changes have to be taken back",
        (14, 6, "%"),
        "Of the changes in production: those that were rolled back or mended within a day.",
    ),
)


def example_named(name: str) -> Example | None:
    return next((one for one in EXAMPLES if one.name == name), None)


def examples_for(driver: Driver | None) -> list[Example]:
    """Those of the driver; one of each driver where the objective has none."""
    if driver is None:
        return [one for one in EXAMPLES if one.name.endswith("-1")]
    return [one for one in EXAMPLES if one.driver == driver]
