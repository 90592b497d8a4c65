"""The tables. One row class a table; judging never sees these, only the frozen values made of them."""

from mappings.tables.access import ROLES, AuditEntry, Token
from mappings.tables.base import GOAL_STATES, READING_MODES, UNFINISHED_STATES, Base, among
from mappings.tables.goals import CheckIn, Cycle, KeyResult, Objective, Rule
from mappings.tables.inbox import CommandComment, Delivery, Tick
from mappings.tables.trackers import (
    Epic,
    EpicKey,
    HeldRemoval,
    Installation,
    Run,
    RunProject,
    Source,
    SourceProject,
)
from mappings.tables.usage import Tally, TrackerReading
from mappings.tables.verdicts import (
    BEHIND_THE_BARRIER,
    MAYBE_SENT,
    ON_TICKET,
    UNSENT,
    Finding,
    Link,
    Notice,
    NoticeWrite,
)

__all__ = [
    "BEHIND_THE_BARRIER",
    "GOAL_STATES",
    "MAYBE_SENT",
    "ON_TICKET",
    "READING_MODES",
    "ROLES",
    "UNFINISHED_STATES",
    "UNSENT",
    "AuditEntry",
    "Base",
    "CheckIn",
    "CommandComment",
    "Cycle",
    "Delivery",
    "Epic",
    "EpicKey",
    "Finding",
    "HeldRemoval",
    "Installation",
    "KeyResult",
    "Link",
    "Notice",
    "NoticeWrite",
    "Objective",
    "Rule",
    "Run",
    "RunProject",
    "Source",
    "SourceProject",
    "Tally",
    "Tick",
    "Token",
    "TrackerReading",
    "among",
]
