"""What changed in the last days, as few lines: a digest of the audit log. Pure.

It names what was changed, and of people nothing: the audit log, which names them, is for admins alone. All
that a line says, a viewer can read of the things themselves.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import date, datetime

LINES_AT_MOST = 10
NAMES_SHOWN = 3

Kind = Literal[
    "goals_closed",
    "goals_opened",
    "source_live",
    "source_quiet",
    "source_made",
    "source_deleted",
    "rule_made",
    "rule_changed",
    "rule_deleted",
    "policy",
    "disputed",
    "ruled",
    "waived",
    "approved",
    "taken_back",
    "withdrawn",
    "removals",
    "metric",
    "linked",
    "unlinked",
    "goals_made",
    "checked_in",
    "signed",
]
# Where there are more lines than are shown, the first kinds stay.
KINDS: tuple[Kind, ...] = Kind.__args__  # type: ignore[attr-defined]  # of the literal above
# Of these a week is one line, of the others a day: they come in great numbers.
_OF_A_WEEK: frozenset[Kind] = frozenset(("linked", "unlinked", "goals_made", "checked_in", "signed"))
CLOSING = ("achieved", "missed", "archived")
METRIC = frozenset(("unit", "baseline", "target", "direction"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An entry of the audit log, with what the digest uses of it. `was` and `now`: a goal's or finding's
    state, or a source's mode, before and after. `members`: those that it wrote. `number`: how many entries it
    stands for."""

    at: datetime
    action: str
    what: str
    key: str
    was: str | None = None
    now: str | None = None
    members: frozenset[str] = frozenset()
    until: str | None = None
    reason: str | None = None
    number: int = 1


@dataclass(frozen=True, slots=True)
class Line:
    """`at`: of the latest of the changes. `names`: of what was changed, each once, at most `NAMES_SHOWN`, of
    `different`. `number`: how many changes. `detail`: the goals' state, the source's mode, the policy's
    members or the reason of one waiver; `until`: the day of one waiver."""

    kind: Kind
    at: datetime
    names: tuple[str, ...]
    different: int
    number: int
    detail: str | None = None
    until: str | None = None

    @property
    def more(self) -> int:
        return self.different - len(self.names)


@dataclass(frozen=True, slots=True)
class Digest:
    """`lines`, newest first. `left_out`: how many further lines there would be. `cut`: there were more
    entries than were read, so that its numbers may be too small."""

    lines: Sequence[Line]
    left_out: int
    cut: bool


class _Group(NamedTuple):
    kind: Kind
    day: date | None
    detail: str | None


def digest(entries: Iterable[Entry], *, cut: bool = False, most: int = LINES_AT_MOST) -> Digest:
    """`entries` in any order. Of a kind one line a day, or a week."""
    groups: defaultdict[_Group, list[Entry]] = defaultdict(list)
    for entry in _net(entries):
        found = _READERS.get(entry.what, _nothing)(entry)
        if found is not None:
            kind, detail = found
            groups[_Group(kind, None if kind in _OF_A_WEEK else entry.at.date(), detail)].append(entry)
    lines = [_line(group, found) for group, found in groups.items()]
    kept = sorted(lines, key=lambda line: (KINDS.index(line.kind), -line.at.timestamp()))[:most]
    kept.sort(key=lambda line: (line.at, -KINDS.index(line.kind)), reverse=True)
    return Digest(kept, len(lines) - len(kept), cut)


def _net(entries: Iterable[Entry]) -> list[Entry]:
    """What is left of goals, findings and modes that were changed to and fro on one day: from the first state
    of the day to the last. Other entries stay."""
    stated: dict[tuple[str, str, date], Entry] = {}
    rest: list[Entry] = []
    for entry in sorted(entries, key=lambda one: one.at):
        if entry.now is None or entry.what not in _READERS or entry.action != "changed":
            rest.append(entry)
            continue
        name = (entry.what, entry.key, entry.at.date())
        before = stated.get(name)
        stated[name] = (
            entry
            if before is None
            else replace(entry, was=before.was, members=before.members | entry.members)
        )
    return [*rest, *(entry for entry in stated.values())]


def _line(group: _Group, entries: Sequence[Entry]) -> Line:
    entries = sorted(entries, key=lambda one: one.at, reverse=True)
    names = list(dict.fromkeys(entry.key for entry in entries))
    one = entries[0] if len(entries) == 1 else None
    detail = group.detail
    if group.kind == "policy":
        detail = ", ".join(sorted(frozenset[str]().union(*(entry.members for entry in entries)))) or None
    elif group.kind == "waived" and one is not None:
        detail = one.reason
    return Line(
        kind=group.kind,
        at=entries[0].at,
        names=tuple(names[:NAMES_SHOWN]),
        different=len(names),
        number=sum(entry.number for entry in entries),
        detail=detail,
        until=one.until if one is not None and group.kind == "waived" else None,
    )


# --- what an entry is a change of -----------------------------------------------------------------

_Found = tuple[Kind, str | None] | None


def _nothing(_: Entry) -> _Found:
    return None


def _goal(entry: Entry) -> _Found:
    if entry.action == "created":
        return "goals_made", None
    if entry.action == "changed" and entry.now in CLOSING and entry.was != entry.now:
        return "goals_closed", entry.now
    if entry.action == "changed" and entry.was in CLOSING and entry.now not in (None, *CLOSING):
        return "goals_opened", entry.now
    if entry.action == "changed" and entry.what == "key_result" and entry.members & METRIC:
        return "metric", None
    return None


def _source(entry: Entry) -> _Found:
    if entry.action == "created":
        return "source_made", entry.now
    if entry.action == "deleted":
        return "source_deleted", None
    if entry.now is not None and entry.was != entry.now:
        return ("source_live" if entry.now == "live" else "source_quiet"), entry.now
    return None


def _rule(entry: Entry) -> _Found:
    kinds: Mapping[str, Kind] = {
        "created": "rule_made",
        "changed": "rule_changed",
        "deleted": "rule_deleted",
    }
    return (kinds[entry.action], None) if entry.action in kinds else None


def _notices(entry: Entry) -> _Found:
    kinds: Mapping[str, Kind] = {"approved": "approved", "withdrawn": "taken_back"}
    return (kinds[entry.action], None) if entry.action in kinds else None


def _finding(entry: Entry) -> _Found:
    if entry.action != "changed" or entry.was == entry.now:
        return None
    if entry.now == "disputed":
        return "disputed", None
    if entry.was == "disputed":
        return "ruled", None
    return ("waived", None) if entry.now == "waived" else None


def _link(entry: Entry) -> _Found:
    kinds: Mapping[str, Kind] = {"created": "linked", "deleted": "unlinked"}
    return (kinds[entry.action], None) if entry.action in kinds else None


def _run(entry: Entry) -> _Found:
    if "withdraws" in entry.members:
        return "withdrawn", None
    return ("removals", None) if "accepts_run_id" in entry.members else None


_READERS: Mapping[str, Callable[[Entry], _Found]] = {
    "agreement": lambda entry: ("signed", None) if entry.action == "created" else None,
    "check_in": lambda entry: ("checked_in", None) if entry.action == "created" else None,
    "finding": _finding,
    "key_result": _goal,
    "link": _link,
    "notices": _notices,
    "objective": _goal,
    "policy": lambda entry: ("policy", None),
    "rule": _rule,
    "run": _run,
    "source": _source,
}
READ = tuple(sorted(_READERS))  # the kinds of things whose entries are read
