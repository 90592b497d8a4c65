"""The operations on what is no goal, called without the API: each refuses the values that the API refuses."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from pydantic import TypeAdapter, ValidationError
from sqlalchemy.ext.asyncio import AsyncSession

from app.api.deps import Line
from app.runtime import Runtime
from mappings.access.operations import create_token
from mappings.errors import Invalid
from mappings.evaluation.operations import waive_finding
from mappings.links.operations import link_epic
from mappings.rules.operations import RuleValues, create_rule
from mappings.sources.operations import create_source
from mappings.sources.values import SourceValues, TrackerFacts
from mappings.values import Bounds, key_error, line_error, number_error

NOW = datetime(2026, 11, 2, 9, tzinfo=UTC)
RULE = RuleValues("One", {"project": ["SHOP"]}, "KR-1", 100, True)
NOTICES: dict[str, Any] = {
    "mode": "shadow",
    "projects": None,
    "per_run": 10,
    "per_day": 25,
    "max_share": 0.2,
}
SOURCE = SourceValues(
    name="acme",
    base_url="http://localhost",
    facts=TrackerFacts("jira:localhost", True, cast(Any, None)),
    credentials=b"",
    credentials_type="api_token",
    webhook_secret=None,
    scope={},
    epics={},
    schedule={"every": None, "full": None},
    notices=NOTICES,
)
KEY = "must be 1 to 64 letters, digits, dots, underscores or hyphens, the first a letter or digit"

Operation = Callable[[AsyncSession], Awaitable[Any]]


def _link(weight: float) -> Operation:
    return lambda db: link_epic(db, "acme", "SHOP-1", "KR-1", "by hand", NOW, weight=weight)


def _token(name: str, role: str, expires_at: datetime | None = None) -> Operation:
    return lambda db: create_token(db, name, role, expires_at, NOW)


def _rule(**changes: Any) -> Operation:
    return lambda db: create_rule(db, replace(RULE, **changes), NOW)


def _noticing(**changes: Any) -> Operation:
    return lambda db: create_source(
        db, "jira", replace(SOURCE, notices={**NOTICES, **changes}), NOW, uuid="u"
    )


REFUSED: list[tuple[Operation, str]] = [
    (_link(-5), "weight: must be more than 0"),
    (_link(0), "weight: must be more than 0"),
    (_link(1000.5), "weight: must be at most 1000"),
    (_token(" ", "root"), "name: must not be empty; role: must be one of viewer, editor, admin"),
    (_token("n" * 101, "admin"), "name: must have 100 characters at most"),
    (
        _token("ci", "admin", NOW.replace(tzinfo=None)),
        "expires_at: must say its time zone, such as 2026-12-31T12:00:00Z",
    ),
    (_token("ci", "admin", NOW.replace(year=2101)), "expires_at: must lie between 1970 and 2100"),
    (_rule(name=""), "name: must not be empty"),
    (_rule(key_result="\0"), f"key_result: {KEY}"),
    (_rule(priority=2**31), "priority: must be less than 2147483648"),
    (_noticing(mode="loud"), "notices.mode: must be one of off, shadow, live"),
    (_noticing(projects=["SHOP", ""]), "notices.projects.1: must not be empty"),
    (_noticing(projects=["SHOP"] * 1_001), "notices.projects: must have 1000 items at most"),
    (_noticing(per_run=-1), "notices.per_run: must be at least 0"),
    (_noticing(per_day=-1), "notices.per_day: must be at least 0"),
    (_noticing(max_share=1.5), "notices.max_share: must be at most 1"),
    (lambda db: create_source(db, "jira", replace(SOURCE, name="a b"), NOW, uuid="u"), f"name: {KEY}"),
    (lambda db: waive_finding(db, 1, "2026-12-31", "", NOW), "reason: must not be empty"),
]


@pytest.mark.parametrize(("operation", "detail"), REFUSED)
async def test_wrong_values_are_refused_without_the_api(
    runtime: Runtime, operation: Operation, detail: str
) -> None:
    with pytest.raises(Invalid) as refused:
        async with runtime.transaction() as session:
            await operation(session)
    assert refused.value.detail == detail


def test_values_at_their_bounds_are_right_and_none_is_never_wrong() -> None:
    share: Bounds = {"ge": 0, "le": 1}
    between: Bounds = {"gt": 0, "lt": 2}
    for number, bounds in ((0, share), (1, share), (0.1, between), (10**400, Bounds(ge=0)), (None, share)):
        assert number_error(number, bounds) is None
    for key in ("a", "9", "A.b_c-d", "x" * 64, None):
        assert key_error(key) is None
    for line in ("x", "x" * 500, " x ", "\x1c", None):
        assert line_error(line) is None


def test_the_domain_and_the_api_agree_on_what_is_blank() -> None:
    line = TypeAdapter(Line)
    for code in (*range(1, 0x3100), 0xFEFF):
        text = chr(code)
        try:
            line.validate_python(text)
        except ValidationError:
            assert line_error(text) == "must not be empty", hex(code)
        else:
            assert line_error(text) is None, hex(code)
