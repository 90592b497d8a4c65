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
from mappings.tables.governance import (
    DECISIONS,
    STAGES,
    ConflictRow,
    CriterionRow,
    DecisionRow,
    EpicStageRow,
    EpicValueRow,
    EstimateRow,
    ReviewEpicRow,
    ReviewItemRow,
    ReviewKeyResultRow,
    ReviewRow,
    ScoreRow,
)
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
from mappings.tables.reports import AllocationMonthRow, AllocationRow, CoverageDayRow
from mappings.tables.runs import HeldRemovalRow, RunCauseRow, RunCursorRow, RunRow, UnreadableTicketRow
from mappings.tables.sources import (
    KnownAnswerRow,
    RefusedSignatureRow,
    ScheduleTickRow,
    SourceProjectRow,
    SourceRow,
    TrackerAccountRow,
)
from mappings.tables.webhooks import CommandCommentRow, DeliveryRow

__all__ = [
    "DECISIONS",
    "GOAL_STATES",
    "MANUAL_ORIGINS",
    "MAYBE_SENT",
    "NEW_COMMENT",
    "NOT_RELEASED",
    "ON_TICKET",
    "READING_MODES",
    "ROLES",
    "STAGES",
    "UNFINISHED_STATES",
    "UNSENT",
    "AgreementRow",
    "AllocationMonthRow",
    "AllocationRow",
    "AuditEntryRow",
    "Base",
    "CheckInRow",
    "ChildrenDueRow",
    "Claimed",
    "CommandCommentRow",
    "ConflictRow",
    "CounterRow",
    "CoverageDayRow",
    "CriterionRow",
    "CycleRow",
    "DecisionRow",
    "DeliveryRow",
    "DemoCompanyRow",
    "EpicKeyHistoryRow",
    "EpicRow",
    "EpicStageRow",
    "EpicValueRow",
    "EstimateRow",
    "FindingRow",
    "FormerTicketRow",
    "HeldRemovalRow",
    "InstallationRow",
    "KeyResultRow",
    "KnownAnswerRow",
    "LinkRow",
    "MachineClockRow",
    "NoticeRow",
    "NoticeWriteRow",
    "ObjectiveRow",
    "OutsideParentRow",
    "RateLimitRow",
    "RefusedSignatureRow",
    "ReviewEpicRow",
    "ReviewItemRow",
    "ReviewKeyResultRow",
    "ReviewRow",
    "RuleRow",
    "RunCauseRow",
    "RunCursorRow",
    "RunRow",
    "SavedViewRow",
    "ScheduleTickRow",
    "ScoreRow",
    "SourceProjectRow",
    "SourceRow",
    "SuggestionRejectionRow",
    "TokenRow",
    "TrackerAccountRow",
    "UnreadableTicketRow",
    "WebSessionRow",
    "among",
]
