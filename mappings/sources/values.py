"""A source as a person configures it, in the values that its operations take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, get_args

from mappings.policy.modes import NoticesMode
from mappings.values import Bounds, FieldErrors, key_error, line_error, number_error, one_of_error

PROJECTS_AT_MOST = 1_000
NOTICES_COUNT: Bounds = {"ge": 0}
NOTICES_SHARE: Bounds = {"ge": 0, "le": 1}
# What a source has where a person does not say otherwise.
DEFAULT_NOTICES: dict[str, Any] = {
    "mode": "shadow",
    "projects": None,
    "per_run": 10,
    "per_day": 25,
    "max_share": 0.2,
}


class ProjectScope(Protocol):
    """Which projects a source reads, by the rules of its kind of tracker."""

    def covers(self, project: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class TrackerFacts:
    """What a source's kind makes of its configuration: only the connectors know the rules for that.

    `tracker`: one name for the tracker, however its address is written. `loopback`: whether the address names
    this machine.
    """

    tracker: str
    loopback: bool
    scope: ProjectScope


@dataclass(frozen=True, slots=True)
class SourceValues:
    """A source as it is to be.

    `scope`, `epics`, `schedule` and `notices` are JSON objects whose shape the caller has checked.
    `credentials` and `webhook_secret` are encrypted; where they stay as they are, they are the stored bytes.
    """

    name: str
    base_url: str
    facts: TrackerFacts
    credentials: bytes
    credentials_type: str
    webhook_secret: bytes | None
    scope: dict[str, Any]
    epics: dict[str, Any]
    schedule: dict[str, Any]
    notices: dict[str, Any]


def source_errors(values: SourceValues) -> FieldErrors:
    notices = values.notices
    projects = notices["projects"] or ()
    many = len(projects) > PROJECTS_AT_MOST
    return [
        ("name", key_error(values.name)),
        ("notices.mode", one_of_error(notices["mode"], get_args(NoticesMode))),
        ("notices.projects", f"must have {PROJECTS_AT_MOST} items at most" if many else None),
        *((f"notices.projects.{place}", line_error(name)) for place, name in enumerate(projects)),
        ("notices.per_run", number_error(notices["per_run"], NOTICES_COUNT)),
        ("notices.per_day", number_error(notices["per_day"], NOTICES_COUNT)),
        ("notices.max_share", number_error(notices["max_share"], NOTICES_SHARE)),
    ]
