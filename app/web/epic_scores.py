"""On an epic's page: its scores, by whom and when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.web.epic_block import Block, ChangeOfEpic, PageOfEpic
from app.web.epic_changes import Changed
from app.web.priorities import scored_words, scores_in
from app.web.undo import scores_step
from mappings.governance.criteria import load_criteria
from mappings.governance.scores import scores_of, set_scores
from mappings.reports.priorities import GivenScore, given_scores
from mappings.tables import CriterionRow


@dataclass(frozen=True, slots=True)
class ScoresBlock:
    """Each criterion with the score for it, None where it has none."""

    lines: Sequence[tuple[CriterionRow, GivenScore | None]]

    @property
    def missing(self) -> Sequence[str]:
        return [row.key for row, given in self.lines if row.weight and given is None]


async def _load(page: PageOfEpic) -> ScoresBlock | None:
    criteria = await load_criteria(page.session)
    if not criteria or page.row.status_category == "done":
        return None
    stored = (await scores_of(page.session, [page.row.id])).get(page.row.id, {})
    given = {one.criterion: one for one in given_scores(criteria, stored)}
    return ScoresBlock([(row, given.get(row.key)) for row in criteria])


async def _change(change: ChangeOfEpic) -> Changed:
    scores = scores_in(change.form)
    async with change.runtime.transaction(change.caller.who) as session:
        now = await change.runtime.now(session)
        given = await set_scores(session, change.source, change.key, scores, now)
    return Changed(scored_words(given), [scores_step(given)] if given.before else [], True)


SCORES = Block("scores", _load, {"score": "PUT /epics/{source}/{key}/scores"}, _change)
