"""Who a conflict is with as its working days pass. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from mappings.governance.escalation import (
    DEFAULT_LADDER,
    LadderStep,
    conflict_step,
    ladder_of,
    position_on,
)
from mappings.policy.document import Policy
from mappings.policy.durations import Duration


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


LATE = [{"to": "sponsor", "after": "P5D"}]


@pytest.mark.parametrize(
    ("raised", "now", "step"),
    [
        ("2026-11-23 15:00", "2026-11-23 15:00", "lead"),
        ("2026-11-23 15:00", "2026-11-30 14:59", "lead"),
        ("2026-11-23 15:00", "2026-11-30 15:00", "sponsor"),  # a week: five working days
        ("2026-11-23 15:00", "2026-12-07 14:59", "sponsor"),
        ("2026-11-23 15:00", "2026-12-07 15:00", "committee"),
        ("2026-11-28 15:00", "2026-12-06 23:59", "lead"),  # a Saturday counts from Monday
        ("2026-11-28 15:00", "2026-12-07 00:00", "sponsor"),
        ("2026-11-28 15:00", "2026-12-14 00:00", "committee"),
        ("2026-12-30 09:00", "2027-01-06 08:59", "lead"),  # over the end of a year
        ("2026-12-30 09:00", "2027-01-06 09:00", "sponsor"),
        ("2026-12-30 09:00", "2027-01-13 09:00", "committee"),
        ("2026-11-23 15:00", "2036-11-23 15:00", "committee"),
        ("2026-11-23 15:00", "2026-11-23 14:00", None),  # a clock that was put back
    ],
)
def test_the_default_ladder(raised: str, now: str, step: str | None) -> None:
    assert conflict_step(at(raised), DEFAULT_LADDER, at(now)) == step


def test_the_position_says_since_when_and_who_is_next() -> None:
    raised = at("2026-11-27 15:00")
    first = position_on(DEFAULT_LADDER, raised, at("2026-12-04 14:00"))
    assert (first.step, first.since) == ("lead", raised)
    assert (first.next_step, first.next_at) == ("sponsor", at("2026-12-04 15:00"))
    last = position_on(DEFAULT_LADDER, raised, at("2026-12-24 14:00"))
    assert (last.step, last.since) == ("committee", at("2026-12-11 15:00"))
    assert (last.next_step, last.next_at) == (None, None)


def test_before_the_first_step_it_is_with_nobody_yet() -> None:
    ladder = (LadderStep("sponsor", Duration(5)),)
    position = position_on(ladder, at("2026-11-23 15:00"), at("2026-11-24 15:00"))
    assert (position.step, position.since) == (None, at("2026-11-23 15:00"))
    assert (position.next_step, position.next_at) == ("sponsor", at("2026-11-30 15:00"))


def test_the_first_scope_that_fits_has_its_own_ladder() -> None:
    policy = Policy.model_validate(
        {
            "escalation": LATE,
            "scopes": [
                {"project": "CORE", "escalation": [{"to": "committee", "after": "PT0S"}]},
                {"source": "jira", "escalation": []},
                {"project": "OPS", "grace": "P1D"},
            ],
        }
    )

    def steps(source: str, project: str, *former: str) -> list[str]:
        return [step.to for step in ladder_of(policy, source, project, former)]

    assert steps("jira", "core") == ["committee"]
    assert steps("github", "acme/new", "CORE") == ["committee"]  # by the name that it had
    assert steps("jira", "SHOP") == ["lead", "sponsor", "committee"]  # empty: the default
    assert steps("github", "OPS") == ["sponsor"]
    assert steps("", "") == ["sponsor"]  # a goal


@pytest.mark.parametrize(
    ("steps", "where", "part"),
    [
        ([{"after": "P5D"}], ("escalation", 0, "to"), "required"),
        ([{"to": "lead"}], ("escalation", 0, "after"), "required"),
        ([{"to": "boss", "after": "P5D"}], ("escalation", 0, "to"), "'owner'"),
        ([{"to": "lead", "after": "soon"}], ("escalation", 0, "after"), "ISO 8601"),
        ([{"to": "lead", "after": "P1M"}], ("escalation", 0, "after"), "no fixed length"),
        ([{"to": "lead", "after": 5}], ("escalation", 0, "after"), "string"),
        ([{"to": "lead", "after": "P1D", "by": "mail"}], ("escalation", 0, "by"), "not permitted"),
        ([*LATE, {"to": "sponsor", "after": "P9D"}], ("escalation",), "named twice"),
        ([*LATE, {"to": "lead", "after": "P5D"}], ("escalation",), "not always longer"),
        ([*LATE, {"to": "lead", "after": "P1W"}], ("escalation",), "not always longer"),
        ([*LATE, {"to": "lead", "after": "P4D"}], ("escalation",), "lead comes after sponsor"),
        # From Friday on a working day is longer than 36 hours.
        ([{"to": "lead", "after": "P1D"}, {"to": "owner", "after": "PT36H"}], ("escalation",), "always"),
        ("lead", ("escalation",), "list"),
    ],
)
def test_ladders_that_are_refused(steps: object, where: tuple[object, ...], part: str) -> None:
    for document, place in (
        ({"escalation": steps}, where),
        ({"scopes": [{"escalation": steps}]}, ("scopes", 0, *where)),
    ):
        with pytest.raises(ValidationError) as refused:
            Policy.model_validate(document)
        (error,) = refused.value.errors()
        assert error["loc"] == place
        assert part in error["msg"]
