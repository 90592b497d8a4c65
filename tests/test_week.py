"""The digest of a week: which changes become which lines."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from app.web import overview
from mappings.reports.week import KINDS, LINES_AT_MOST, Entry, digest

MONDAY = datetime(2026, 11, 23, 9, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def entry(what: str, key: str, action: str = "changed", after: timedelta = HOUR, **members: Any) -> Entry:
    return Entry(at=MONDAY + after, action=action, what=what, key=key, **members)


def kinds(*entries: Entry) -> list[str]:
    return [line.kind for line in digest(entries).lines]


CASES: list[tuple[Entry, list[str]]] = [
    (entry("key_result", "KR-1", was="active", now="achieved"), ["goals_closed"]),
    (entry("objective", "O-1", was="active", now="archived"), ["goals_closed"]),
    (entry("key_result", "KR-1", was="achieved", now="active"), ["goals_opened"]),
    (entry("key_result", "KR-1", was="draft", now="active"), []),
    (entry("key_result", "KR-1", members=frozenset(["target"])), ["metric"]),
    (entry("key_result", "KR-1", members=frozenset(["title"])), []),
    (entry("objective", "O-1", "created"), ["goals_made"]),
    (entry("source", "acme", was="shadow", now="live"), ["source_live"]),
    (entry("source", "acme", was="live", now="shadow"), ["source_quiet"]),
    (entry("source", "acme", was="live", now="live"), []),
    (entry("source", "acme"), []),
    (entry("source", "acme", "created", now="shadow"), ["source_made"]),
    (entry("source", "acme", "deleted", was="shadow"), ["source_deleted"]),
    (entry("rule", "Checkout"), ["rule_changed"]),
    (entry("rule", "Checkout", "deleted"), ["rule_deleted"]),
    (entry("policy", "policy", members=frozenset(["grace"])), ["policy"]),
    (entry("finding", "a/S-1", was="open", now="waived"), ["waived"]),
    (entry("finding", "a/S-1", was="open", now="disputed"), ["disputed"]),
    (entry("finding", "a/S-1", was="disputed", now="open"), ["ruled"]),
    (entry("finding", "a/S-1", was="disputed", now="waived"), ["ruled"]),
    (entry("finding", "a/S-1", was="open", now="snoozed"), []),
    (entry("notices", "run 7", "approved"), ["approved"]),
    (entry("notices", "by id", "withdrawn", number=3), ["taken_back"]),
    (entry("rule", "Checkout", "approved"), []),
    (entry("run", "7", "created", members=frozenset(["withdraws"])), ["withdrawn"]),
    (entry("run", "7", "created", members=frozenset(["accepts_run_id"])), ["removals"]),
    (entry("run", "7", "created", members=frozenset(["mode"])), []),
    (entry("link", "KR-1", "created"), ["linked"]),
    (entry("link", "KR-1", "deleted"), ["unlinked"]),
    (entry("link", "KR-1", "changed"), []),
    (entry("check_in", "KR-1", "created"), ["checked_in"]),
    (entry("agreement", "KR-1", "created"), ["signed"]),
    (entry("agreement", "KR-1", "changed"), []),
    (entry("token", "3 (ci)", "created"), []),
    (entry("delivery", "jira 1"), []),
]


@pytest.mark.parametrize(("one", "expected"), CASES)
def test_each_change_is_the_line_it_should_be_or_none(one: Entry, expected: list[str]) -> None:
    assert kinds(one) == expected


def test_a_change_that_was_taken_back_on_its_day_is_none() -> None:
    there = entry("key_result", "KR-1", was="active", now="achieved")
    back = entry("key_result", "KR-1", was="achieved", now="active", after=2 * HOUR)
    assert kinds(there, back) == []
    assert kinds(there, entry("key_result", "KR-1", was="achieved", now="active", after=DAY)) == [
        "goals_opened",
        "goals_closed",
    ]


def test_changes_alike_are_one_line_a_day_and_great_numbers_one_a_week() -> None:
    closed = [
        entry("key_result", f"KR-{n}", was="active", now="achieved", after=n * HOUR) for n in range(1, 6)
    ]
    linked = [entry("link", "KR-1", "created", after=n * DAY, number=100) for n in range(3)]
    lines = {line.kind: line for line in digest([*closed, *linked]).lines}
    assert list(lines) == ["linked", "goals_closed"], "newest first"
    many = lines["goals_closed"]
    assert (many.names, many.different, many.more) == (("KR-5", "KR-4", "KR-3"), 5, 2)
    assert (lines["linked"].number, lines["linked"].different) == (300, 1)


def test_the_reason_and_the_day_stand_where_one_was_waived() -> None:
    one = entry("finding", "a/S-1", was="open", now="waived", until="2026-12-31", reason="New brand")
    two = entry("finding", "a/S-2", was="open", now="waived", until="2026-12-31", reason="Other")
    (alone,) = digest([one]).lines
    (both,) = digest([one, two]).lines
    assert (alone.detail, alone.until) == ("New brand", "2026-12-31")
    assert (both.detail, both.until, both.different) == (None, None, 2)


def test_each_kind_of_line_has_its_sentence() -> None:
    """Else the page would show an empty one."""
    template = (Path(overview.__file__).parent / "templates" / "overview_parts.html").read_text()
    assert [kind for kind in KINDS if f'"{kind}"' not in template] == []


def test_ten_lines_at_most_and_what_weighs_most_stays() -> None:
    rules = [entry("rule", f"R-{n}", after=n * DAY) for n in range(20)]
    closed = entry("key_result", "KR-1", was="active", now="missed")
    found = digest([*rules, closed], cut=True)
    assert (len(found.lines), found.left_out, found.cut) == (LINES_AT_MOST, 11, True)
    assert "goals_closed" in [line.kind for line in found.lines]
    assert {line.kind for line in found.lines} <= set(KINDS)
