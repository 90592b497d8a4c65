"""The columns of each kind of file, and which cell of a file is which column. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, get_args

from mappings.errors import Invalid
from mappings.files.table import BadCell, Cell, is_empty, plain_name
from mappings.goals.key_results import GoalState, Visibility
from mappings.goals.values import (
    Category,
    Direction,
    Driver,
)

KindName = Literal["objectives", "key-results", "links"]
CellKind = Literal["key", "line", "text", "number", "day", "word", "yes_no"]
MAPS_AT_MOST = 50
_SHOWN_AT_MOST = 80  # characters of a file's own name of a column, in an error


@dataclass(frozen=True, slots=True)
class Column:
    """`what` is in its words for people; `default` is what an empty cell means, where that is not nothing."""

    name: str
    holds: CellKind
    what: str
    words: tuple[str, ...] = ()
    default: Any = None


@dataclass(frozen=True)
class Kind:
    """One kind of file. A new row needs the columns in `needed`. `also` are other names of columns, in the
    form of `plain_name`; `passed_over` are names whose columns hold nothing to import."""

    name: KindName
    columns: tuple[Column, ...]
    needed: tuple[str, ...]
    also: Mapping[str, str] = field(default_factory=dict)
    passed_over: frozenset[str] = frozenset()

    @cached_property
    def by_name(self) -> dict[str, Column]:
        return {column.name: column for column in self.columns}

    @property
    def names(self) -> list[str]:
        return list(self.by_name)


OBJECTIVES = Kind(
    "objectives",
    (
        Column("key", "key", "Its key; where it is empty, its title finds it."),
        Column("title", "line", "What will be reached."),
        Column("description", "text", "More about it."),
        Column("driver", "word", "How it helps.", get_args(Driver)),
        Column("cycle", "key", "The key of its cycle."),
        Column("parent", "key", "The key of the objective above it; another line may make it."),
        Column("owner", "line", "Who answers for it."),
        Column("sponsor", "line", "Who pays for it."),
        Column("weight", "number", "Relative to the others.", default=1.0),
        Column("visibility", "word", "Who may read its title.", get_args(Visibility), "internal"),
        Column("public_label", "line", "What a ticket shows instead of the title."),
        Column("state", "word", "Where it stands.", get_args(GoalState), "active"),
    ),
    needed=("title",),
    also={"objective": "title", "objectivekey": "key", "parentobjective": "parent"},
)
KEY_RESULTS = Kind(
    "key-results",
    (
        Column("key", "key", "Its key; where it is empty, its title finds it within its objective."),
        Column("objective", "key", "The key of its objective."),
        Column("title", "line", "What will be true when it is reached."),
        Column("description", "text", "More about it."),
        Column("owner", "line", "Who answers for it."),
        Column("category", "word", "What kind of result it is.", get_args(Category)),
        Column("unit", "line", "What baseline and target count."),
        Column("baseline", "number", "Where it starts."),
        Column("target", "number", "Where it is to get."),
        Column("direction", "word", "Which way is better.", get_args(Direction)),
        Column("due", "day", "The day it is to be reached by."),
        Column("state", "word", "Where it stands.", get_args(GoalState), "active"),
    ),
    needed=("title", "objective"),
    also={"keyresult": "title", "keyresultkey": "key", "objectivekey": "objective", "duedate": "due"},
)
ORIGINS = ("manual", "rule", "ticket", "command", "inherited")
# What a file of epics has beside the columns of links. Filled with key results, it comes in as links.
EPICS_COLUMNS = (
    "source", "key", "key_result", "title", "project", "type", "status", "status_category", "labels",
    "assignees", "alignment", "key_results", "parent", "children", "children_done", "starts_on", "due_on",
    "points", "finished_at", "url", "id", "created_at", "updated_at",
)  # fmt: skip
LINKS = Kind(
    "links",
    (
        Column("source", "key", "The name of the epic's source."),
        Column("epic", "line", "The epic's key, or a former one."),
        Column("key_result", "key", "The key of the key result."),
        Column("weight", "number", "Relative to the epic's other links.", default=1.0),
        Column("primary", "yes_no", "Whether it is the epic's primary link.", default=False),
        Column("origin", "word", "What made the link; only `manual` ones are made.", ORIGINS, "manual"),
    ),
    needed=("source", "epic", "key_result"),
    also={"key": "epic", "epickey": "epic", "kr": "key_result"},
    passed_over=frozenset(
        plain_name(name) for name in EPICS_COLUMNS if name not in ("source", "key", "key_result")
    ),
)
KINDS: dict[str, Kind] = {kind.name: kind for kind in (OBJECTIVES, KEY_RESULTS, LINKS)}
# "Key Result" is the key where a title column stands beside it, else the title; so is "Objective".
_KEY_BESIDE_TITLE = {"objectives": "objective", "key-results": "keyresult"}


@dataclass(frozen=True, slots=True)
class Header:
    """Which column stands where: the index of its cell by its name. `named` are all cells that name a column,
    also one that is passed over. `of_epics`: the file is an export of epics, most of whose lines name no key
    result."""

    places: Mapping[str, int]
    named: frozenset[int]
    of_epics: bool


def known_columns(kind: Kind, maps: Mapping[str, str], cells: Sequence[Cell]) -> int:
    """How many of the cells name a column of this kind, in one of the ways that `read_header` takes."""
    names = {plain_name(name) for name in kind.names} | set(kind.also) | set(kind.passed_over) | set(maps)
    return sum(isinstance(cell, str) and plain_name(cell) in names for cell in cells)


def read_maps(kind: Kind, maps: Sequence[str]) -> dict[str, str]:
    """From the file's names, in `plain_name`'s form, to ours; "" leaves a column out. Raises `Invalid`."""
    found: dict[str, str] = {}
    ours_by_plain = {plain_name(name): name for name in kind.names}
    for text in maps[: MAPS_AT_MOST + 1]:
        theirs, colon, ours = text.rpartition(":")
        name = ours_by_plain.get(plain_name(ours), "")
        if not colon or not plain_name(theirs) or (ours.strip() and not name):
            raise Invalid(
                "map", f"{text!r} must be `theirs:ours`, and ours one of {', '.join(kind.names)}, or empty"
            )
        found[plain_name(theirs)] = name
    if len(maps) > MAPS_AT_MOST:
        raise Invalid("map", f"may stand {MAPS_AT_MOST} times at most")
    return found


@dataclass(frozen=True, slots=True)
class FileColumn:
    """A column of a file by its own name, and which of ours it is taken for: "" is passed over, None is
    unknown."""

    theirs: str
    ours: str | None


def file_columns(kind: Kind, cells: Sequence[Cell], maps: Mapping[str, str]) -> list[FileColumn]:
    """The named columns of a header in their order, as `read_header` takes them, whether it takes all or
    not."""
    texts = [str(cell).strip() for cell in cells if not is_empty(cell) and not isinstance(cell, BadCell)]
    names = _names(kind, [plain_name(text) for text in texts], maps)
    return [FileColumn(text, names.get(plain_name(text))) for text in texts]


def read_header(kind: Kind, cells: Sequence[Cell], maps: Mapping[str, str]) -> Header:
    """Raises `Invalid` on `file` for a column that is unknown, missing or there twice, and on `map`."""
    for number, cell in enumerate(cells, 1):
        if isinstance(cell, BadCell):
            raise Invalid("file", f"has no name in column {number} of its header: the cell {cell.message}")
    texts = {index: str(cell).strip() for index, cell in enumerate(cells) if not is_empty(cell)}
    plain = {index: plain_name(text) for index, text in texts.items()}
    missing = [name for name in maps if name not in plain.values()]
    if missing:
        there = ", ".join(map(_shown, texts.values()))
        raise Invalid("map", f"the file has no column {_shown(missing[0])!r}; it has {there}")
    names = _names(kind, list(plain.values()), maps)
    unknown = [texts[index] for index, name in plain.items() if name not in names]
    if unknown:
        raise Invalid("file", _unknown(kind, unknown, {names.get(name) for name in plain.values()}))
    places: dict[str, int] = {}
    for index, name in plain.items():
        ours = names[name]
        if ours and ours in places:
            both = f"{_shown(texts[places[ours]])!r} and {_shown(texts[index])!r}"
            raise Invalid("file", f"has the column {ours} twice: {both}")
        if ours:
            places[ours] = index
    _check_complete(kind, places)
    of_epics = kind is LINKS and plain_name("alignment") in plain.values()
    return Header(places, frozenset(texts), of_epics)


def _names(kind: Kind, plain: Sequence[str], maps: Mapping[str, str]) -> dict[str, str]:
    """From the names in the header to ours."""
    names = {plain_name(name): name for name in kind.names}
    taken = {maps.get(name) or names.get(name, "") for name in plain}
    also = {name: ours for name, ours in kind.also.items() if ours not in taken}
    beside = _KEY_BESIDE_TITLE.get(kind.name)
    if beside is not None and beside in plain and beside not in maps and "title" in taken:
        also[beside] = "key"
    passed_over = dict.fromkeys(kind.passed_over, "")
    return {**passed_over, **also, **names, **maps}


def _shown(text: str) -> str:
    """A file's name of a column for a message: a few visible characters of it."""
    visible = "".join(sign if sign.isprintable() else "\ufffd" for sign in text[: _SHOWN_AT_MOST + 1])
    return visible if len(visible) <= _SHOWN_AT_MOST else f"{visible[: _SHOWN_AT_MOST - 1]}…"


def _unknown(kind: Kind, unknown: Sequence[str], taken: Collection[str | None]) -> str:
    """All of them at once, with an example that helps: of a column that is needed and not there."""
    named = [_shown(text) for text in unknown]
    text = named[0]
    ours = next((name for name in kind.needed if name not in taken), kind.names[-1])
    which = f"a column {text!r}, which is"
    if len(unknown) > 1:
        which = f"columns {', '.join(map(repr, named[:10]))}{' …' * (len(unknown) > 10)}, which are"
    return (
        f"has {which} not known here; there are {', '.join(kind.names)}. "
        f"`map={text}:{ours}` takes it as one of these, `map={text}:` leaves it out"
    )


def _check_complete(kind: Kind, places: Collection[str]) -> None:
    """A file of goals must name each, one of links both ends."""
    needed = kind.needed if kind is LINKS else ()
    missing = [name for name in needed if name not in places]
    if kind is not LINKS and "key" not in places:
        missing = [name for name in kind.needed if name not in places]
    if missing:
        raise Invalid(
            "file",
            f"has no column {missing[0]}; {kind.name} have the columns {', '.join(kind.names)}. "
            f"`map=…:{missing[0]}` takes another name for it",
        )
