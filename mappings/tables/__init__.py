"""The tables, one row class each. The pure evaluation never sees rows, only frozen values made from them."""

from mappings.tables.access import ROLES, AuditEntryRow, SavedViewRow, TokenRow, WebSessionRow
from mappings.tables.base import GOAL_STATES, READING_MODES, UNFINISHED_STATES, Base, Claimed, among
from mappings.tables.counters import CounterRow, MachineClockRow, RateLimitRow
from mappings.tables.demo import DemoCompanyRow
from mappings.tables.epics import (
    ChildrenDueRow,
    EpicKeyHistoryRow,
    EpicRow,
    FormerTicketRow,
    OutsideParentRow,
)
from mappings.tables.findings import FindingRow
from mappings.tables.goals import AgreementRow, CheckInRow, CycleRow, KeyResultRow, ObjectiveRow, RuleRow
from mappings.tables.links import MANUAL_ORIGINS, LinkRow, SuggestionRejectionRow
from mappings.tables.notices import (
    MAYBE_SENT,
    NEW_COMMENT,
    NOT_RELEASED,
    ON_TICKET,
    UNSENT,
    NoticeRow,
    NoticeWriteRow,
)
from mappings.tables.policy import InstallationRow
from mappings.tables.reports import CoverageDayRow
from mappings.tables.runs import HeldRemovalRow, RunCauseRow, RunCursorRow, RunRow, UnreadableTicketRow
from mappings.tables.sources import (
    RefusedSignatureRow,
    ScheduleTickRow,
    SourceProjectRow,
    SourceRow,
    TrackerAccountRow,
)
from mappings.tables.webhooks import CommandCommentRow, DeliveryRow

__all__ = [
    "GOAL_STATES",
    "MANUAL_ORIGINS",
    "MAYBE_SENT",
    "NEW_COMMENT",
    "NOT_RELEASED",
    "ON_TICKET",
    "READING_MODES",
    "ROLES",
    "UNFINISHED_STATES",
    "UNSENT",
    "AgreementRow",
    "AuditEntryRow",
    "Base",
    "CheckInRow",
    "ChildrenDueRow",
    "Claimed",
    "CommandCommentRow",
    "CounterRow",
    "CoverageDayRow",
    "CycleRow",
    "DeliveryRow",
    "DemoCompanyRow",
    "EpicKeyHistoryRow",
    "EpicRow",
    "FindingRow",
    "FormerTicketRow",
    "HeldRemovalRow",
    "InstallationRow",
    "KeyResultRow",
    "LinkRow",
    "MachineClockRow",
    "NoticeRow",
    "NoticeWriteRow",
    "ObjectiveRow",
    "OutsideParentRow",
    "RateLimitRow",
    "RefusedSignatureRow",
    "RuleRow",
    "RunCauseRow",
    "RunCursorRow",
    "RunRow",
    "SavedViewRow",
    "ScheduleTickRow",
    "SourceProjectRow",
    "SourceRow",
    "SuggestionRejectionRow",
    "TokenRow",
    "TrackerAccountRow",
    "UnreadableTicketRow",
    "WebSessionRow",
    "among",
]
