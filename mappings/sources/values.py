"""A source as a person configures it, in the values that its operations take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol


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
