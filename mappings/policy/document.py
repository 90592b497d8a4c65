"""The policy: its document as people write it, and the effective policy of one project. Pure.

A member given in a scope replaces the same member of the top level, `exempt` and `initiatives` as a whole.
`checks` is the exception: each check given in it replaces that check alone.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import MISSING, AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from connectors.base import Epic, StatusCategory
from mappings.checks.check import Channel, Check, Severity
from mappings.checks.registry import CHECK_NAMES, CHECKS, CheckName
from mappings.policy.durations import Duration, add_grace, parse_duration, start_of_day
from mappings.policy.quiet_hours import QuietHours
from mappings.rules.patterns import MAX_LENGTH, Patterns, fold
from mappings.values import FieldErrors, day_error

# No person closed a goal whose cycle merely ended, so its epics have more time to move to another.
CYCLE_GRACE = parse_duration("P20D")
_ONE_WEEK = [datetime(2026, 1, day, tzinfo=UTC) for day in range(5, 12)]
_SEVERITIES = {check.name: check.severity for check in CHECKS}


def _refuse(message: str) -> PydanticCustomError:
    return PydanticCustomError("policy", "{message}", {"message": message})


def _grace(value: str) -> str:
    try:
        parse_duration(value)
    except ValueError as error:
        raise _refuse(str(error)) from None
    return value


def _since(value: object) -> object:
    if value is None or value == "connected" or (isinstance(value, date) and not isinstance(value, datetime)):
        return value
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d{2}-\d{2}", value, re.ASCII):
        with suppress(ValueError):
            return date.fromisoformat(value)
    raise _refuse('must be "connected", a date such as 2026-01-31, or null for every epic')


def _channel(value: object) -> object:
    if value in ("label", "digest"):
        raise _refuse(f'channel "{value}" is not in this build; use "comment" or "none"')
    return value


def _escalation(steps: list[EscalationStep]) -> list[EscalationStep]:
    for number, step in enumerate(steps):
        if step.to in {other.to for other in steps[:number]}:
            raise _refuse(f"{step.to} is named twice; name each once")
    for earlier, later in pairwise(steps):
        if not _always_before(parse_duration(earlier.after), parse_duration(later.after)):
            raise _refuse(
                f"{later.to} comes after {earlier.to} in the list, so it must come later:"
                f" {later.after} is not always longer than {earlier.after}"
            )
    return steps


def _always_before(earlier: Duration, later: Duration) -> bool:
    """On whatever day of the week they start: a working day is longer than 24 hours over a weekend."""
    return all(add_grace(day, earlier) < add_grace(day, later) for day in _ONE_WEEK)


def _checks(value: object) -> object:
    if not isinstance(value, Mapping):
        return value
    for name in value:
        if name not in CHECK_NAMES:
            raise _refuse(
                f"there is no check {str(name)[:64]!r} in this build; it has {', '.join(CHECK_NAMES)}"
            )
    return {name: _with_severity(name, setting) for name, setting in value.items()}


def _with_severity(name: str, setting: object) -> object:
    """The setting with the severity of the check itself, where it gives none."""
    return {"severity": _SEVERITIES[name], **setting} if isinstance(setting, Mapping) else setting


# PostgreSQL's text cannot contain NUL.
ShortText = Annotated[str, Field(min_length=1, max_length=MAX_LENGTH, pattern=r"^[^\x00]+$")]
ShortTexts = Annotated[list[ShortText], Field(max_length=1_000)]
Grace = Annotated[
    str,
    AfterValidator(_grace),
    Field(
        description="ISO 8601. Days are working days (a week is five), hours are plain hours.",
        examples=["P5D", "PT4H"],
    ),
]
Since = Annotated[
    Literal["connected"] | date | None,
    BeforeValidator(_since),
    Field(
        description="Epics created in the tracker before this get a finding and no notice; null is no limit."
    ),
]
ChannelField = Annotated[
    Channel,
    BeforeValidator(_channel),
    Field(description="`none` finds and reports, and writes nothing on tickets."),
]
Quiet = Annotated[
    QuietHours | None,
    Field(description="When no new comment is written; it is held until they end. Null: no quiet hours."),
]


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


EscalatedTo = Literal["owner", "lead", "sponsor", "committee"]


class EscalationStep(_Document):
    """Who an open conflict goes to, and how long after it was raised."""

    to: EscalatedTo = Field(description="Who it goes to.")
    after: Grace


Escalation = Annotated[
    list[EscalationStep],
    AfterValidator(_escalation),
    Field(
        description="Who an open conflict goes to as time passes, the earliest first; in this build it is of"
        " conflicts alone. An empty list: the lead at once, the sponsor after P5D, the committee after P10D.",
        examples=[[{"to": "owner", "after": "PT0S"}, {"to": "committee", "after": "P10D"}]],
    ),
]


class CheckSetting(_Document):
    on: bool = Field(default=True, strict=True, description="Whether the check runs.")
    severity: Severity = Field(
        default="warning", description="How a finding is shown; it changes nothing else."
    )
    grace: Grace | None = Field(default=None, description="This check's own grace; null is the policy's.")


class Exempt(_Document):
    """Epics that need no link. Names are compared in any case and may be globs; finished epics need none."""

    labels: ShortTexts = Field(default=[], description="Labels, or globs of labels.", examples=[["ktlo"]])
    types: ShortTexts = Field(default=[], description="The tracker's names of types.")
    status_categories: list[StatusCategory] = Field(default=[], description="`done` is always exempt.")
    projects: ShortTexts = Field(default=[], description="Project keys or owner/repository.")


class Initiatives(_Document):
    """Epics that are initiatives, beside those that are another epic's parent. Names are compared in any case
    and may be globs."""

    types: ShortTexts = Field(
        default=[], description="The tracker's names of types.", examples=[["Initiative"]]
    )
    labels: ShortTexts = Field(default=[], description="Labels, or globs of labels.")


def _every_check(value: dict[CheckName, CheckSetting]) -> dict[CheckName, CheckSetting]:
    # So that a reader of the policy sees every check.
    return {check.name: value.get(check.name) or _default_setting(check) for check in CHECKS}


def _default_setting(check: Check[Any]) -> CheckSetting:
    return CheckSetting(severity=check.severity)


Checks = Annotated[dict[CheckName, CheckSetting], BeforeValidator(_checks)]
EveryCheck = Annotated[Checks, AfterValidator(_every_check)]


class Scope(_Document):
    """What differs in one source, one project, or one project of one source.

    A member left out is as at the top level. Without `source` and `project` the scope fits every project.
    """

    source: ShortText | MISSING = Field(default=MISSING, description="Only epics of this source.")
    project: ShortText | MISSING = Field(default=MISSING, description="Only epics of this project.")
    grace: Grace | MISSING = MISSING
    since: Since | MISSING = MISSING
    checks: Checks | MISSING = Field(
        default=MISSING, description="The settings of the checks named here, by check."
    )
    exempt: Exempt | MISSING = Field(
        default=MISSING, description="Epics that need no link here; it replaces that of the top level."
    )
    initiatives: Initiatives | MISSING = Field(
        default=MISSING, description="Epics that are initiatives here; it replaces that of the top level."
    )
    quiet_hours: Quiet | MISSING = MISSING
    channel: ChannelField | MISSING = MISSING
    escalation: Escalation | MISSING = MISSING

    def fits(self, source: str, projects: Collection[str]) -> bool:
        """Whether this scope is for the source, and for the project that has one of these names."""
        known = ((self.source, (source,)), (self.project, projects))
        return all(
            name is MISSING or fold(name) in {fold(value) for value in values} for name, values in known
        )


class Policy(_Document):
    """Which checks run, where, and with what effect. The first scope that fits overrides the top level."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "grace": "P5D",
                    "since": "connected",
                    "exempt": {"labels": ["ktlo"]},
                    "quiet_hours": {"from": "18:00", "to": "08:00", "zone": "Europe/Berlin"},
                    "scopes": [{"project": "CORE", "grace": "P10D"}],
                }
            ]
        }
    )

    grace: Grace = "P5D"
    since: Since = "connected"
    checks: EveryCheck = Field(
        default={}, validate_default=True, description="The settings of every check, by check."
    )
    exempt: Exempt = Field(default=Exempt(), description="Epics that need no link.")
    initiatives: Initiatives = Field(
        default=Initiatives(),
        description="Epics that are initiatives, beside those that are another epic's parent.",
    )
    quiet_hours: Quiet = None
    channel: ChannelField = "comment"
    escalation: Escalation = []
    scopes: Annotated[
        list[Scope],
        Field(
            max_length=500,
            description="What differs in a source or project; the first scope that fits is used.",
        ),
    ] = []


def since_errors(policy: Policy) -> FieldErrors:
    """What is wrong with the days of a policy that a person sends. The document itself takes any day: one
    that was stored before must still be read."""
    given = [("since", policy.since)]
    given += [
        (f"scopes.{number}.since", scope.since)
        for number, scope in enumerate(policy.scopes)
        if scope.since is not MISSING
    ]
    return [(field, day_error(day)) for field, day in given if isinstance(day, date)]


# --- the effective policy of one project -------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CheckPolicy:
    """The setting of one check in one project. `grace` is the check's own, else the policy's."""

    on: bool
    severity: Severity
    grace: Duration


@dataclass(frozen=True, slots=True)
class EffectivePolicy:
    """The policy of one project. `since_moment` is the first moment of the date `since`, UTC; None where
    `since` is no date. `scope` is the position of the scope that fits, None where no scope does."""

    grace: Duration
    since: Literal["connected"] | date | None
    since_moment: datetime | None
    checks: Mapping[str, CheckPolicy]
    quiet_hours: QuietHours | None
    channel: Channel
    labels: Patterns
    types: Patterns
    projects: Patterns
    status_categories: frozenset[StatusCategory]
    scope: int | None = field(default=None, compare=False)


def effective_policy(
    policy: Policy,
    source: str,
    project: str,
    checks: Sequence[Check[Any]] = CHECKS,
    former_names: Sequence[str] = (),
) -> EffectivePolicy:
    """The policy of `project` of `source`, for `checks`. Costly: callers compute it once a project, not once
    an epic. Of a whole source `project` is empty, of goals `source` too: then no scope that names one fits.
    `former_names`: keys that the project had; a scope may name it by one of them.
    """
    position, scope = _scope_of(policy, source, (project, *former_names))
    grace = parse_duration(policy.grace if scope.grace is MISSING else scope.grace)
    since = policy.since if scope.since is MISSING else scope.since
    exempt = policy.exempt if scope.exempt is MISSING else scope.exempt
    settings = dict(policy.checks) if scope.checks is MISSING else {**policy.checks, **scope.checks}
    return EffectivePolicy(
        grace=grace,
        since=since,
        since_moment=start_of_day(since) if isinstance(since, date) else None,
        checks={
            check.name: _check(settings.get(check.name) or _default_setting(check), grace) for check in checks
        },
        quiet_hours=policy.quiet_hours if scope.quiet_hours is MISSING else scope.quiet_hours,
        channel=policy.channel if scope.channel is MISSING else scope.channel,
        labels=Patterns(exempt.labels),
        types=Patterns(exempt.types),
        projects=Patterns(exempt.projects),
        status_categories=frozenset(exempt.status_categories),
        scope=position,
    )


def _scope_of(policy: Policy, source: str, projects: Collection[str]) -> tuple[int | None, Scope]:
    return next(
        ((index, scope) for index, scope in enumerate(policy.scopes) if scope.fits(source, projects)),
        (None, Scope()),
    )


def escalation_of(
    policy: Policy, source: str, project: str, former_names: Sequence[str] = ()
) -> list[EscalationStep]:
    """Of one project, named as for `effective_policy`; empty for the default."""
    _, scope = _scope_of(policy, source, (project, *former_names))
    return policy.escalation if scope.escalation is MISSING else scope.escalation


def _check(setting: CheckSetting, grace: Duration) -> CheckPolicy:
    own = grace if setting.grace is None else parse_duration(setting.grace)
    return CheckPolicy(setting.on, setting.severity, own)


def grace_for(policy: EffectivePolicy, check: str) -> Duration:
    return policy.checks[check].grace


def is_recent_enough(policy: EffectivePolicy, created_at: datetime, connected_at: datetime) -> bool:
    """Whether an epic is young enough for a notice: created in the tracker at or after `since`; for
    `connected` at or after `connected_at`, the creation of its source in Northing."""
    floor = connected_at if policy.since == "connected" else policy.since_moment
    return floor is None or created_at >= floor


def exemption(policy: EffectivePolicy, epic: Epic) -> str | None:
    """Why the epic needs no link, in words; None where it needs one."""
    if epic.status_category == "done":
        return "finished"
    if epic.status_category in policy.status_categories:
        return f"exempt by policy: status category {epic.status_category}"
    return named_exemption(policy, epic.labels, epic.type, (epic.project, *epic.former_projects))


def named_exemption(
    policy: EffectivePolicy, labels: Sequence[str], type: str, projects: Sequence[str]
) -> str | None:
    """Why an epic with these labels, of this type and in the project of these names, needs no link whatever
    its status, in words; None where it needs one."""
    for kind, patterns, values in (
        ("label", policy.labels, labels),
        ("type", policy.types, (type,)),
        ("project", policy.projects, projects),
    ):
        if patterns.texts and any(map(patterns.matches, values)):
            return f"exempt by policy: {patterns.comparison(kind, f'{kind}s', values)}"
    return None
