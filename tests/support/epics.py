"""Epics that conditions and rules are asked of."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from connectors.base import Epic, Parent

NOW = datetime(2026, 1, 5, tzinfo=UTC)
BARE = Epic("1", "SHOP-1", "SHOP", "Faster checkout", "https://t/1", "Epic", "Open", "todo", NOW, NOW)
EPIC = replace(
    BARE,
    labels=("Growth-2026", "infra"),
    assignees=("Ana", "Bo"),
    components=("Payments",),
    milestone="Q4 2026",
    parent=Parent("SHOP-100"),
    fields={"customfield_10020": ("Growth", "Retention")},
)
SOURCE = "acme-jira"
