"""What the pages of a source say: advice without calls of the API, timetables without their codes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from app.web.source_words import advice_for, cron_words, every_words
from mappings.sources.health import HealthConcern, HealthFacts, HealthInput, assess_health

NOW = datetime(2026, 11, 29, 6, tzinfo=UTC)
FINE = HealthConcern("ok", "The last sync read everything.", "")


def test_no_advice_on_a_page_names_a_call_of_the_api() -> None:
    facts = HealthFacts(
        failed_deliveries=2,
        held_by_guard=((3, 5), (4, 1)),
        removals=tuple((run, 9) for run in range(1, 9)),
        paused_projects=(("SHOP", "No right to comment."),),
    )
    for has_secret in (True, False):
        source = HealthInput(
            "acme-jira",
            has_secret,
            NOW,
            FINE,
            unknown_names=(("epics.fields", "customfield_1"),),
            unopened_since=NOW - timedelta(days=1),
        )
        found = advice_for("acme-jira", assess_health(source, facts, NOW).what_to_do)
        for call in ("/api/", "PATCH", "POST", "GET", "webhook_secret"):
            assert call not in found.words
        assert found.ways == [
            ("Held notices", "/notices?state=held&source=acme-jira"),
            ("Failed deliveries", "/deliveries?state=failed&source=acme-jira"),
        ]


@pytest.mark.parametrize(
    ("every", "words"),
    [
        (None, "no timetable"),
        ("PT15M", "every 15 minutes"),
        ("PT1H", "every hour"),
        ("P2D", "every 2 days"),
        ("PT1H30M", "every PT1H30M"),
    ],
)
def test_a_timetable_is_said_in_words(every: str | None, words: str) -> None:
    assert every_words(every) == words


def test_a_cron_line_of_once_a_day_is_said_in_words() -> None:
    assert cron_words("5 3 * * *") == "at 03:05 UTC"
    assert cron_words("0 3 * * 1") == "0 3 * * 1"
