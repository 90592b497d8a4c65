"""What a rule would do if it were saved now: the epics it matches, their links then, and the comments.

Epics are evaluated as they are after a change of rules, with the rules as they are and as they would be; the
results are compared and recorded nowhere.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from mappings.evaluation.evaluator import evaluate_records
from mappings.evaluation.load import load_records
from mappings.goals.key_results import KeyResult, why_not_live
from mappings.links.resolve import GoalsAndRules
from mappings.previews.stored import StoredEpic, in_turns, matched_epics
from mappings.rules.index import Overlaps, Rule, RuleIndex
from mappings.values import FieldWarning

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

    from mappings.evaluation.context import EvaluationContext
    from mappings.evaluation.record import Evaluation
    from mappings.links.resolve import ResolvedLink
    from mappings.rules.operations import DraftRule
    from mappings.tables import EpicRow

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
    """Counts over all epics. `matches`: the rule matches them. `changed`: their links differ then. `lost_to`:
    how many of those it matches a rule before it matches too, by the id of the first such rule; `taken_from`:
    how many a rule links now and would not then, by its id."""

    matches: int = 0
    changed: int = 0
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
        rules = (*self.rules_now.rules, self.draft.rule)
        return Preview(self.items, following, self.totals, rules, self.key_results)

    async def _page(self, page: Sequence[StoredEpic], shown: set[int]) -> None:
        # What epics below these inherit would have to be added here: to `page`, whether shown or not.
        differs = set[int]()
        async for one in in_turns(page):
            if self._count(one):
                differs.add(one.row.id)
        evaluated = [one for one in page if one.row.id in differs or one.row.id in shown]
        evaluations = await self._evaluate(evaluated, differs)
        for one in evaluated:
            now, then = evaluations[one.row.id]
            if self.totals is not None and now is not then:
                self._count_change(self.totals, now, then)
            if one.row.id in shown:
                links = now.resolution.links, then.resolution.links
                self.items.append(PreviewedEpic(one.source, one.row.key, *links))

    def _count(self, one: StoredEpic) -> bool:
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

    async def _evaluate(
        self, found: Iterable[StoredEpic], differs: Collection[int]
    ) -> dict[int, tuple[Evaluation, Evaluation]]:
        """By the epic's id, as it is now and as it would be; the same where the rules say the same."""
        by_source: dict[int, list[EpicRow]] = {}
        for one in found:
            by_source.setdefault(one.row.source_id, []).append(one.row)
        evaluations: dict[int, tuple[Evaluation, Evaluation]] = {}
        for source_id, rows in by_source.items():
            records = await load_records(self.session, rows)
            changed = [one for one in records if one.row.id in differs]
            then = {
                one.row.id: one
                for one in await evaluate_records(
                    self.session, changed, self.contexts_then[source_id], self.now
                )
            }
            for now in await evaluate_records(self.session, records, self.contexts_now[source_id], self.now):
                evaluations[now.row.id] = now, then.get(now.row.id, now)
        return evaluations

    def _count_change(self, totals: Totals, now: Evaluation, then: Evaluation) -> None:
        rule_now, rule_then = _rule_of(now), _rule_of(then)
        totals.changed += _links_of(now) != _links_of(then)
        if rule_now != rule_then and rule_then == self.draft.rule.id and rule_now is not None:
            totals.taken_from[rule_now] += 1
        _count_notice(totals.notices, now, then)


def _link_of(rule: Rule | None) -> tuple[int, int] | None:
    return None if rule is None else (rule.id, rule.key_result_id)


def _rule_of(evaluation: Evaluation) -> int | None:
    return next((link.rule_id for link in evaluation.resolution.links if link.rule_id is not None), None)


def _links_of(evaluation: Evaluation) -> list[tuple[int, str, int | None]]:
    return [(link.key_result.id, link.origin, link.rule_id) for link in evaluation.resolution.links]


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
