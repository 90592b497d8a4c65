"""The roadmap as one SVG file, for slides and print: light, with colours of its own, no style, no script."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Literal

from markupsafe import Markup, escape

from app.web.charts import with_unit
from app.web.roadmap_groups import Group, goal_bar
from app.web.templating import moment
from mappings.reports.roadmap import Roadmap
from mappings.reports.roadmap_bars import Axis, PieceKind
from mappings.reports.roadmap_lanes import EpicOnRoadmap, Lane
from mappings.reports.roadmap_moves import MOVE_WORDS
from mappings.words import day_words, number_words, percent

WIDTH, MARGIN = 1280, 24
NAMES, LANE = 400, 760  # the widths of both columns; the third takes what is left
LEFT = MARGIN + NAMES
ROW, HEADING, LINE = 26, 38, 15
SIGNS = 56  # of a name, which is cut after these
FONT = "Inter, 'Segoe UI', Helvetica, Arial, sans-serif"
INK, SOFT, GRID, EDGE, WARN, BLUE, WASH = (
    "#161b22", "#57606d", "#e2e5ea", "#868f9c", "#b54000", "#2450c4", "#e9effd",
)  # fmt: skip
GROUND = "#f5f6f8"
Look = Literal["aligned", "unaligned", "aside"]
# The colours of a line and of what is within, and the dashes.
LOOKS: dict[Look, tuple[str, str, str]] = {
    "aligned": (BLUE, WASH, ""),
    "unaligned": ("#dd6b10", "#fdeadf", "4 3"),
    "aside": (EDGE, "none", "2 3"),
}
# Characters that XML 1.0 cannot hold, and those that turn the direction of what follows them.
_UNFIT = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)


def roadmap_svg(report: Roadmap, groups: Sequence[Group]) -> str:
    """The page of the report that was asked for, whole."""
    picture = _Picture(report.axis)
    picture.head(report)
    for group in groups:
        picture.group(group)
    picture.apart("Work without an outcome", report.unaligned, "unaligned")
    picture.apart("Set aside by a decision", report.set_aside, "aside")
    words = f"Roadmap, {report.axis.words}, as of {day_words(report.at)}"
    height = picture.y + MARGIN
    return str(
        Markup(
            '<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{w}" height="{h}" '
            'viewBox="0 0 {w} {h}" font-family="{font}" font-size="13"><title>{words}</title>'
            '<rect width="{w}" height="{h}" fill="#ffffff"/>{parts}</svg>\n'
        ).format(w=WIDTH, h=height, font=FONT, words=words, parts=Markup("").join(picture.parts))
    )


def moved_words(report: Roadmap) -> str:
    """What moved since the last review, by kind."""
    if report.moves is None:
        return "No review was held yet: what moves is said from the first one on."
    kinds = [f"{count:,} {MOVE_WORDS[kind]}" for kind, (count, _) in report.moves.kinds.items()]
    held_on = day_words(report.moves.review.held_on)
    return f"Since the review of {held_on}: {', '.join(kinds) or 'nothing moved'}."


def fit(text: str, most: int = SIGNS) -> str:
    """One line of at most so many signs, without what a file of XML cannot hold."""
    line = " ".join(_UNFIT.sub("", text).split())
    return line if len(line) <= most else f"{line[: most - 1].rstrip()}…"


class _Picture:
    """Rows from the top down; `y` is where the next begins."""

    def __init__(self, axis: Axis) -> None:
        self.axis, self.y = axis, MARGIN
        self.parts: list[Markup] = []

    def head(self, report: Roadmap) -> None:
        self._text(MARGIN, self.y + 18, "Roadmap", size=22, weight=600)
        total = (
            f"{report.total:,} open epics: {report.aligned:,} aligned, {report.unaligned.total:,} unaligned"
        )
        total += f", {report.exempt:,} exempt, {report.waived:,} waived"
        if report.pages > 1:
            total += f". Page {report.filters.page} of {report.pages}"
        self._text(MARGIN, self.y + 40, f"{total}. As of {moment(report.at)}.", fill=SOFT)
        self._text(MARGIN, self.y + 60, moved_words(report), fill=SOFT)
        self._legend(self.y + 84)
        self.y += 104
        for month in self.axis.months:
            if month.name:
                self._text(self._x(month.at) + 4, self.y + 12, month.name, fill=SOFT, size=12)
        self._text(WIDTH - MARGIN, self.y + 12, "Done", fill=SOFT, size=12, anchor="end")
        self.y += 18

    def _legend(self, y: int) -> None:
        x = MARGIN
        bars: tuple[tuple[PieceKind, Look, str], ...] = (
            ("planned", "aligned", "planned"),
            ("done", "aligned", "done so far"),
            ("planned", "unaligned", "serves no key result"),
            ("dashed", "aligned", "no such date"),
        )
        for kind, look, words in bars:
            self._bar(x, y - 10, 22, kind, look)
            self._text(x + 28, y, words, fill=SOFT, size=12)
            x += 52 + 6 * len(words)
        if self.axis.today is not None:
            self._rect(x + 8, y - 11, 2, 14, INK)
            self._text(x + 18, y, "today", fill=SOFT, size=12)

    def group(self, group: Group) -> None:
        self.y += 12
        self._text(MARGIN, self.y + 22, fit(group.title, 110), size=15, weight=600)
        note = " · ".join(text for text in (group.key, group.note) if text)
        self._text(WIDTH - MARGIN, self.y + 22, fit(note, 60), fill=SOFT, size=12, anchor="end")
        self._rule(self.y + HEADING - 6)
        self.y += HEADING - 6
        for lane in group.lanes:
            if lane.goal is not None:
                self._goal(lane)
            self._lane(lane, "aligned")

    def apart(self, title: str, lane: Lane, look: Look) -> None:
        if not lane.total:
            return
        self.y += 12
        start = len(self.parts)
        top = self.y
        self._text(MARGIN, self.y + 24, title, size=15, weight=600)
        self._text(WIDTH - MARGIN, self.y + 24, f"{lane.total:,}", fill=SOFT, size=12, anchor="end")
        self.y += HEADING
        self._rule(self.y)
        self._lane(lane, look)
        ground = self._tag(
            "rect", x=MARGIN / 2, y=top, width=WIDTH - MARGIN, height=self.y - top, fill=GROUND
        )
        self.parts.insert(start, ground)

    def _goal(self, lane: Lane) -> None:
        goal = lane.goal
        assert goal is not None
        row = goal.row
        figures = ""
        if goal.current is not None and row.target is not None:
            figures = f", {number_words(goal.current)} of {with_unit(number_words(row.target), row.unit)}"
        if goal.confidence is not None:
            figures += f", confidence {goal.confidence:.2g}"
        bar = goal_bar(goal, self.axis)
        self._grid(ROW)
        middle = self.y + ROW / 2
        for piece, fill in ((bar.time, GRID), (bar.covered, EDGE)):
            if piece is not None:
                self._rect(self._x(piece.at), middle - 2, piece.width * LANE / 100, 4, fill)
        self._today(ROW)
        name = fit(row.title, max(12, SIGNS + 4 - len(row.key) - len(figures)))
        self._name(
            row.key, f"{name}{fit(figures, 48)}", MARGIN, strong=True, whole=f"{row.title}: {bar.words}"
        )
        shown = percent(goal.progress)
        self._text(WIDTH - MARGIN, middle + 5, shown, weight=600, anchor="end")
        self._end(ROW)

    def _lane(self, lane: Lane, look: Look) -> None:
        for epic in lane.epics:
            self._epic(epic, look)
        if lane.more > 0:
            self._text(MARGIN, self.y + 17, f"{lane.more:,} more", fill=BLUE)
            self._end(ROW)

    def _epic(self, epic: EpicOnRoadmap, look: Look) -> None:
        row, remarks = epic.details.row, epic.remarks
        height = ROW + (LINE if remarks else 0)
        self._grid(height)
        middle = self.y + height / 2
        for piece in epic.bar.pieces:
            self._bar(self._x(piece.at), middle - 6, piece.width * LANE / 100, piece.kind, look)
        self._today(height)
        x = MARGIN + 18 * min(epic.depth, 3)
        title = fit(row.title, max(12, SIGNS - len(row.key) - 3 * min(epic.depth, 3)))
        self._name(fit(row.key, 40), title, x, whole=f"{row.title}: {epic.bar.words}")
        if remarks:
            warn = any(remark.warn for remark in remarks)
            words = fit("; ".join(remark.words for remark in remarks), 64)
            self._text(x, self.y + 32, words, fill=WARN if warn else SOFT, size=12)
        done = f"{row.children_done or 0}/{row.children}" if row.children else "no parts"
        self._text(WIDTH - MARGIN, middle + 5, done, fill=INK if row.children else SOFT, anchor="end")
        self._end(height)

    # --- what these are made of -------------------------------------------------------------

    def _x(self, share: float) -> float:
        return LEFT + share * LANE / 100

    def _grid(self, height: int) -> None:
        for month in self.axis.months:
            self._rect(self._x(month.at), self.y, 1, height, GRID)

    def _today(self, height: int) -> None:
        if self.axis.today is not None:
            self._rect(self._x(self.axis.today), self.y, 2, height, INK)

    def _end(self, height: int) -> None:
        self.y += height
        self._rule(self.y)

    def _rule(self, y: float) -> None:
        self._rect(MARGIN, y, WIDTH - 2 * MARGIN, 1, GRID)

    def _bar(self, x: float, y: float, width: float, kind: PieceKind, look: Look) -> None:
        line, wash, dashes = LOOKS[look]
        fill = line if kind == "done" else wash
        if kind == "dashed":
            line, fill, dashes = SOFT, "none", "2 3"
        more = {"stroke_dasharray": dashes} if dashes and kind != "done" else {}
        bar = self._tag(
            "rect", x=x, y=y, width=max(width, 1), height=12, rx=3, fill=fill, stroke=line, **more
        )
        self.parts.append(bar)

    def _rect(self, x: float, y: float, width: float, height: float, fill: str) -> None:
        self.parts.append(self._tag("rect", x=x, y=y, width=max(width, 1), height=height, fill=fill))

    def _name(self, key: str, title: str, x: float, *, whole: str, strong: bool = False) -> None:
        """The key before the title, which keeps its own direction."""
        first = Markup('<tspan fill="{}"{}>{}</tspan>').format(
            BLUE if strong else SOFT, Markup(' font-weight="600"') if strong else "", key
        )
        text = Markup('<text x="{}" y="{}" fill="{}"><title>{}</title>{} \u2068{}\u2069</text>')
        fill = SOFT if strong else INK
        self.parts.append(text.format(x, self.y + 17, fill, fit(whole, 1000), first, title))

    def _text(
        self,
        x: float,
        y: float,
        words: str,
        *,
        fill: str = INK,
        size: int = 13,
        weight: int = 400,
        anchor: str = "start",
    ) -> None:
        more = {"font_weight": weight} if weight != 400 else {}
        start = self._tag("text", x=x, y=y, fill=fill, font_size=size, text_anchor=anchor, **more)
        self.parts.append(Markup("{}>{}</text>").format(start[:-2], _UNFIT.sub("", words)))

    def _tag(self, name: str, **members: float | str) -> Markup:
        return Markup("<{}{}/>").format(name, Markup("").join(_members(members)))


def _members(members: dict[str, float | str]) -> Iterator[Markup]:
    for name, value in members.items():
        shown = f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else value
        yield Markup(' {}="{}"').format(name.replace("_", "-"), escape(str(shown)))
