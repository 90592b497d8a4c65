"""What a rule would do if it were saved now: the epics it matches, their links then, and the comments.

Epics are evaluated as they are after a change of rules, with the rules as they are and as they would be; the
results are compared and recorded nowhere. What epics below inherit then is counted, and not shown.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, cast

from sqlalchemy import select

from mappings.evaluation.evaluator import evaluate_records
from mappings.evaluation.load import EVALUATED_COLUMNS, load_records
from mappings.goals.key_results import KeyResult, why_not_live
from mappings.links.resolve import GoalsAndRules
from mappings.parents import load_all_below
from mappings.previews.stored import PAGE_SIZE, in_turns, matched_epics
from mappings.rules.index import Overlaps, Rule, RuleIndex
from mappings.tables import EpicRow, among
from mappings.values import FieldWarning

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

    from mappings.evaluation.context import EvaluationContext
    from mappings.evaluation.record import Evaluation
    from mappings.links.resolve import ResolvedLink
    from mappings.previews.stored import MatchedEpic
    from mappings.rules.operations import DraftRule

MOST_RULES_NAMED = 5


@dataclass(slots=True)
class NoticeCounts:
    """The notices that would change. New comments: `posted` at once, `held` back first (a grace, quiet
    hours), `shadow` where none may be written. `edited`: one line becomes a warning again. `resolved`: a
    warning becomes one line. `spared`: a comment that was to come does not come."""

    posted: int = 0
    held: int = 0
    shadow: int = 0
    edited: int = 0
    resolved: int = 0
    spared: int = 0


@dataclass(slots=True)
class Totals:
    """Counts over all epics. `matches`: the rule matches them. `changed`: their links differ then. `below`:
    only what they inherit differs. `lost_to`: how many of those it matches a rule before it matches too, by
    the id of the first such rule; `taken_from`: how many a rule links now and would not then, by its id."""

    matches: int = 0
    changed: int = 0
    below: int = 0
    notices: NoticeCounts = field(default_factory=NoticeCounts)
    lost_to: Counter[int] = field(default_factory=Counter)
    taken_from: Counter[int] = field(default_factory=Counter)
    overlaps: Overlaps = field(default_factory=Overlaps)


@dataclass(frozen=True, slots=True)
class PreviewedEpic:
    """`now` and `then`: its links by the rules as they are, and as they would be."""

    source: str
    key: str
    now: Sequence[ResolvedLink]
    then: Sequence[ResolvedLink]


@dataclass(frozen=True, slots=True)
class Preview:
    """`next_after`: the id after which the next page begins, None on the last. `totals` are None where the
    walk did not begin at the first epic. `rules`: those enabled now, and the draft."""

    items: Sequence[PreviewedEpic]
    next_after: int | None
    totals: Totals | None
    rules: Sequence[Rule]
    key_results: Mapping[int, KeyResult]


async def preview_rule(
    session: AsyncSession,
    draft: DraftRule,
    contexts: Mapping[int, EvaluationContext],
    now: datetime,
    *,
    after: int = 0,
    limit: int,
) -> Preview:
    """The epics with ids above `after` that the draft or the rule it replaces matches, at most `limit`.

    `contexts` are those of all sources, by id. From the first epic on, all are counted; a later page ends
    where it is full. The caller reads one snapshot: nothing is locked.
    """
    return await _Preview(session, draft, contexts, now, limit, None if after else Totals()).walk(after)


class _Preview:
    def __init__(
        self,
        session: AsyncSession,
        draft: DraftRule,
        contexts: Mapping[int, EvaluationContext],
        now: datetime,
        limit: int,
        totals: Totals | None,
    ) -> None:
        self.session, self.draft, self.now, self.limit, self.totals = session, draft, now, limit, totals
        goals = next((context.goals for context in contexts.values()), GoalsAndRules({}, RuleIndex(())))
        others = [rule for rule in goals.rules.rules if rule.id != draft.rule.id]
        self.rules_now, self.key_results = goals.rules, goals.key_results
        self.with_draft = RuleIndex([*others, draft.rule])
        self.rules_then = self.with_draft if draft.enabled else RuleIndex(others)
        goals_then = GoalsAndRules(goals.key_results, self.rules_then)
        self.contexts_now = contexts
        self.contexts_then = {id: replace(context, goals=goals_then) for id, context in contexts.items()}
        self.items: list[PreviewedEpic] = []
        self.last_shown: int | None = None
        # The ids of epics that the rules link otherwise then, and of those below them.
        self.differing, self.below = set[int](), set[int]()

    async def walk(self, after: int) -> Preview:
        conditions = [self.draft.rule.condition]
        if self.draft.stored is not None:
            conditions.append(self.draft.stored.condition)
        following: int | None = None
        async for page in matched_epics(self.session, conditions, after):
            shown = page[: self.limit - len(self.items)]
            if following is None and len(shown) < len(page):
                following = shown[-1].row.id if shown else self.last_shown
            await self._page(page if self.totals is not None else shown, {one.row.id for one in shown})
            if shown:
                self.last_shown = shown[-1].row.id
            if self.totals is None and following is not None:
                break
        if self.totals is not None:
            await self._count_below(self.totals)
        rules = (*self.rules_now.rules, self.draft.rule)
        return Preview(self.items, following, self.totals, rules, self.key_results)

    async def _page(self, page: Sequence[MatchedEpic], shown: set[int]) -> None:
        differs = set[int]()
        async for one in in_turns(page):
            if self._count(one):
                differs.add(one.row.id)
        if self.totals is not None and differs:
            self.differing |= differs
            self.below |= await load_all_below(self.session, differs)
        evaluated = [one for one in page if one.row.id in differs or one.row.id in shown]
        evaluations = await self._evaluate(one.row for one in evaluated)
        for one in evaluated:
            now, then = evaluations[one.row.id]
            if self.totals is not None and one.row.id in differs:
                self._count_change(self.totals, now, then)
            if one.row.id in shown:
                links = now.resolution.links, then.resolution.links
                self.items.append(PreviewedEpic(one.source, one.row.key, *links))

    async def _count_below(self, totals: Totals) -> None:
        """Count what epics inherit otherwise then, whether the rule matches them or not."""
        ids = sorted(self.below - self.differing)
        for start in range(0, len(ids), PAGE_SIZE):
            of_these = select(*EVALUATED_COLUMNS).select_from(EpicRow)
            of_these = of_these.where(among(EpicRow.id, ids[start : start + PAGE_SIZE]))
            rows = cast("list[EpicRow]", (await self.session.execute(of_these)).all())
            for now, then in (await self._evaluate(rows)).values():
                totals.below += self._count_change(totals, now, then)

    def _count(self, one: MatchedEpic) -> bool:
        """Whether another rule is asked first then, or another key result would be linked by it."""
        matching = self.with_draft.matching(one.source, one.epic)
        before = self.rules_now.first_match(one.source, one.epic)
        then = next((rule for rule in matching if self.draft.enabled or rule is not self.draft.rule), None)
        if self.totals is not None and self.draft.rule in matching:
            self.totals.matches += 1
            self.totals.overlaps.add(self.draft.rule, matching)
            if matching[0] is not self.draft.rule:
                self.totals.lost_to[matching[0].id] += 1
        return _link_of(before) != _link_of(then)

    async def _evaluate(self, rows: Iterable[EpicRow]) -> dict[int, tuple[Evaluation, Evaluation]]:
        """By the epic's id, as it is now and as it would be."""
        by_source: dict[int, list[EpicRow]] = {}
        for row in rows:
            by_source.setdefault(row.source_id, []).append(row)
        evaluations: dict[int, tuple[Evaluation, Evaluation]] = {}
        for source_id, of_source in by_source.items():
            records = await load_records(self.session, of_source)
            both = [
                await evaluate_records(self.session, records, contexts[source_id], self.now)
                for contexts in (self.contexts_now, self.contexts_then)
            ]
            evaluations |= {now.row.id: (now, then) for now, then in zip(*both, strict=True)}
        return evaluations

    def _count_change(self, totals: Totals, now: Evaluation, then: Evaluation) -> bool:
        """Whether the epic's links differ then."""
        rule_now, rule_then = _rule_of(now), _rule_of(then)
        differ = _links_of(now) != _links_of(then)
        totals.changed += differ
        if rule_now != rule_then and rule_then == self.draft.rule.id and rule_now is not None:
            totals.taken_from[rule_now] += 1
        _count_notice(totals.notices, now, then)
        return differ


def _link_of(rule: Rule | None) -> tuple[int, int] | None:
    return None if rule is None else (rule.id, rule.key_result_id)


def _rule_of(evaluation: Evaluation) -> int | None:
    return next((link.rule_id for link in evaluation.resolution.links if link.origin == "rule"), None)


def _links_of(evaluation: Evaluation) -> list[tuple[int, str, int | None, int | None]]:
    return [
        (
            link.key_result.id,
            link.origin,
            link.rule_id,
            None if link.inherited_from is None else link.inherited_from.id,
        )
        for link in evaluation.resolution.links
    ]


# --- comments ---------------------------------------------------------------------------------


def _count_notice(counts: NoticeCounts, now: Evaluation, then: Evaluation) -> None:
    before, after = _comment(now), _comment(then)
    if before == after:
        return
    if after is not None:
        setattr(counts, after, getattr(counts, after) + 1)
    elif before in ("posted", "held", "shadow"):
        counts.spared += 1


def _comment(evaluation: Evaluation) -> str | None:
    """What the evaluation has come to the ticket, as `NoticeCounts` names it; None for nothing new."""
    desired = evaluation.decision.notice
    if desired is None:
        return None
    if not evaluation.on_ticket:
        return "posted" if desired.state == "due" else desired.state
    if desired.target == "resolved":
        return "resolved"
    is_one_line = evaluation.notice is not None and evaluation.notice.state == "resolved"
    return "edited" if desired.target == "posted" and is_one_line else None


# --- what to say of it ------------------------------------------------------------------------


def preview_warnings(draft: DraftRule, previewed: Preview, now: datetime) -> list[FieldWarning]:
    """What the person who saves the rule should know first; of a preview from the first epic on."""
    totals = previewed.totals
    assert totals is not None
    found: list[FieldWarning] = []
    goal = previewed.key_results.get(draft.rule.key_result_id)
    why_not = None if goal is None else why_not_live(goal, now)
    if goal is not None and why_not is not None:
        found.append(FieldWarning("key_result", f"a link to {goal.key} aligns no epic: {why_not}"))
    if not draft.enabled:
        found.append(FieldWarning("enabled", "it is disabled, so it links nothing"))
    if not totals.matches:
        return [*found, FieldWarning("when", "matches no epic")]
    names = {rule.id: rule.name for rule in previewed.rules}
    for id, count in totals.lost_to.most_common(MOST_RULES_NAMED):
        found.append(
            FieldWarning("priority", f"rule {names[id]!r} before it takes {count} of {totals.matches}")
        )
    for id, count in totals.taken_from.most_common(MOST_RULES_NAMED):
        taken = f"takes {count} from rule {names[id]!r}, which links {'them' if count > 1 else 'it'} now"
        found.append(FieldWarning("priority", taken))
    if draft.enabled and draft.stored is None and not totals.changed:
        otherwise = "every epic it matches is linked otherwise, so it changes nothing"
        found.append(FieldWarning("when", otherwise))
    return found
