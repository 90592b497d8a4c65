"""What trackers tell of their limits and clocks in the headers of their answers."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from connectors.rate_limits import Budget, ResponseMeta, response_meta

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
RESET = datetime(2026, 11, 20, 12, 1, 30, tzinfo=UTC)
CASES: list[tuple[dict[str, str], Budget | None]] = [
    ({}, None),
    # GitHub
    ({"x-ratelimit-limit": "5000", "x-ratelimit-remaining": "4999", "x-ratelimit-used": "1",
      "x-ratelimit-reset": str(int(RESET.timestamp()))}, Budget(4999, 5000, RESET)),
    # Jira, with the moment in ISO 8601, which it sends with a 429 alone
    ({"x-ratelimit-limit": "350", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "2026-11-20T12:01:30Z"},
     Budget(0, 350, RESET)),
    ({"x-ratelimit-limit": "350", "x-ratelimit-remaining": "12"}, Budget(12, 350)),
    ({"x-ratelimit-remaining": "12"}, Budget(12)),
    # structured fields
    ({"ratelimit": '"quota";r=64000;t=90', "ratelimit-policy": '"quota";q=65000;w=3600'},
     Budget(64000, 65000, RESET)),
    ({"beta-ratelimit": '"quota";r=64000;t=90', "beta-ratelimit-policy": '"quota";q=65000;w=3600'},
     Budget(64000, 65000, RESET)),
    # the least that is left, as a share
    ({"ratelimit": '"hour";r=300;t=3000, "burst";r=90;t=90',
      "ratelimit-policy": '"hour";q=65000;w=3600, "burst";q=100;w=1'}, Budget(300, 65000,
      datetime(2026, 11, 20, 12, 50, tzinfo=UTC))),
    ({"ratelimit": '"hour";t=90'}, None),
    # nothing that can be believed
    ({"x-ratelimit-remaining": "many"}, None), ({"x-ratelimit-remaining": "-1"}, None),
    ({"x-ratelimit-remaining": "9" * 5000}, None), ({"x-ratelimit-remaining": "²"}, None),
    ({"x-ratelimit-remaining": "5", "x-ratelimit-limit": "", "x-ratelimit-reset": "soon"}, Budget(5)),
    ({"x-ratelimit-remaining": "5", "x-ratelimit-reset": "2147483648"}, Budget(5)),
    ({"ratelimit": '"' * 100_000}, None), ({"ratelimit": '"a";r=' + "9" * 12}, Budget(2**31 - 1)),
]  # fmt: skip


@pytest.mark.parametrize(("headers", "budget"), CASES)
def test_a_budget_is_read_from_any_form_of_it(headers: dict[str, str], budget: Budget | None) -> None:
    assert response_meta(headers, NOW).budget == budget


@pytest.mark.parametrize(
    ("headers", "ahead"),
    [
        ({"date": "Fri, 20 Nov 2026 12:00:00 GMT"}, 0.0),
        ({"date": "Fri, 20 Nov 2026 14:00:00 GMT"}, 7200.0),
        ({"date": "Fri, 20 Nov 2026 11:59:00 GMT"}, -60.0),
        ({"date": "Fri, 20 Nov 2026 10:00:00 GMT", "age": "7200"}, None),  # a cache's answer
        ({"date": "today"}, None),
        ({}, None),
    ],
)
def test_clocks_are_compared(headers: dict[str, str], ahead: float | None) -> None:
    assert response_meta(headers, NOW) == ResponseMeta(None, ahead)
