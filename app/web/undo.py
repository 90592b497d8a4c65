"""Taking the last change back, once, by the same operations as any change; the audit log has it as one.

A page that changes something says how to take it back: `await done(request, session, text, undo=steps)`. The
steps of one change are of one kind, all are done or none, and each is refused with a sentence where what it
is about has changed since. They are stored with the session, as JSON:

* `{"act": "unlink", "link": 12}`: a link by hand was made; its id. `unlink_steps(ids, answers)` makes them.
  The first has as `answers`, by id, the findings that were snoozed, waived or disputed and that the links
  resolve: what `mappings.evaluation.many.answers_of` returns.
* `{"act": "link", "epic": 5, "key_result": 3, "origin": "manual", "weight": 1.0, "primary": false,
  "why": "…"}`: a link by hand was taken back; ids. `link_steps(values)`, of what `unlink_all` returns.
* `{"act": "finding", "id": 3, "before": {"state": "disputed", "until": null, "reason": "…", "by": "…",
  "changed_at": "…"}, "after": {…}}`: a finding was waived, snoozed or reopened, or its dispute upheld or
  dismissed. `finding_steps(found.changes)`, of what `mappings.evaluation.many.change_findings` returns:

      async with runtime.transaction(caller.who) as session:
          found = await change_findings(session, [id], UPHELD, await runtime.now(session))
      await pipeline.evaluate_at_once(runtime, found.runs)

* `{"act": "decision", "decision_id": 7}`: one was recorded. `app.web.decision_lines.decision_step(id)`.
* `{"act": "accept", "source": "jira", "key": "SHOP-9", "key_result": "KR-1"}`: a suggestion was rejected.
  `accept_step(…)`; `reject_step(…)` makes the same with `"act": "reject"`: that was taken back.
* `{"act": "estimate", "id": 7}`: an estimate was added; its id. `{"act": "estimate_again", "of": {"epic_id":
  5}, "kind": "planned", …}`: one was deleted. `estimate_step(row)` and `estimate_again_step(row)`.
* `{"act": "value", "epic": 5, "version": 3, "before": {"answer": "…", …}}`: an epic's value was answered or
  asked for; its id and the version that this made. `value_step(found)`, of what `answer_value` returns.
* `{"act": "stage", "epic": 5, "before": {"stage": "idea", …}, "after": {…}}`: an epic moved to another stage;
  null for none. `stage_step(…)`, of what `mappings.governance.stages.stored_stage` returns.
* `{"act": "scores", "source": "jira", "key": "SHOP-9", "before": {"VALUE": null}, "after": {"VALUE": 4}}`:
  an epic was scored, by criterion. `scores_step(given)`, of what `set_scores` returns.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from app import pipeline
from app.api.deps import CallerDep, RuntimeDep
from app.api.problems import Problem
from app.web.page import done
from app.web.router import FormDep, WebSessionDep, needs, redirect
from mappings.errors import Conflict, DomainError
from mappings.evaluation.many import FindingChange, FindingValues, answer_again, restore_findings
from mappings.governance.decisions import undo_decision
from mappings.governance.estimates import EstimateValues, delete_estimate, estimate_again
from mappings.governance.scores import GivenScores, set_scores
from mappings.governance.stages import take_stage_back
from mappings.governance.value import AnsweredValue, ValueOfEpic, restore_value
from mappings.links.reversal import LinkValues, link_again, unlink_all
from mappings.suggestions.operations import accept_suggestion_again, reject_suggestion
from mappings.tables import EstimateRow, WebSessionRow

router = APIRouter()

Step = dict[str, Any]


def unlink_steps(link_ids: Iterable[int], answers: Mapping[int, FindingValues]) -> list[Step]:
    steps: list[Step] = [{"act": "unlink", "link": id} for id in link_ids]
    if steps and answers:
        steps[0]["answers"] = {str(id): values.as_json() for id, values in answers.items()}
    return steps


def link_steps(links: Iterable[LinkValues]) -> list[Step]:
    return [{"act": "link", **asdict(link)} for link in links]


def finding_steps(changes: Iterable[FindingChange]) -> list[Step]:
    return [
        {
            "act": "finding",
            "id": change.id,
            "before": change.before.as_json(),
            "after": change.after.as_json(),
        }
        for change in changes
    ]


def accept_step(source: str, key: str, key_result: str) -> Step:
    return {"act": "accept", "source": source, "key": key, "key_result": key_result}


def reject_step(source: str, key: str, key_result: str) -> Step:
    return {**accept_step(source, key, key_result), "act": "reject"}


def stage_step(epic_id: int, before: Step | None, after: Step | None) -> Step:
    return {"act": "stage", "epic": epic_id, "before": before, "after": after}


def value_step(found: AnsweredValue) -> Step:
    return {
        "act": "value",
        "epic": found.epic.id,
        "version": found.after.version,
        "before": found.before.as_json(),
    }


def estimate_step(row: EstimateRow) -> Step:
    return {"act": "estimate", "id": row.id}


def estimate_again_step(row: EstimateRow) -> Step:
    of = {"epic_id": row.epic_id} if row.epic_id is not None else {"key_result_id": row.key_result_id}
    values = {name: getattr(row, name) for name in ("kind", "amount", "currency", "estimated_by", "note")}
    return {"act": "estimate_again", "of": of, "at": row.at.isoformat(), **values}


def scores_step(given: GivenScores) -> Step:
    now = {row.key: given.scores[row.id].score for row in given.criteria if row.id in given.scores}
    return {
        "act": "scores",
        "source": given.source.name,
        "key": given.epic.key,
        "before": dict(given.before),
        "after": {key: now.get(key) for key in given.before},
    }


@router.get("/undo", dependencies=[needs("GET /epics")])
async def show_last(request: Request, web_session: WebSessionDep) -> RedirectResponse:
    """Where the last change was said; nothing is taken back by a link."""
    last = web_session.last_action
    return redirect(request, "/" if last is None else last["to"])


@router.post("/undo", dependencies=[needs("POST /links")])
async def undo_last(
    request: Request,
    form: FormDep,
    runtime: RuntimeDep,
    caller: CallerDep,
    web_session: WebSessionDep,
) -> RedirectResponse:
    """`of` in the form: which change, for another window may have made one since."""
    last = web_session.last_action
    if last is None or not last["undo"] or last["id"] != form.get("of"):
        raise Problem(
            409, "That was undone already, or another change was made since, perhaps in another window."
        )
    try:
        async with runtime.transaction(caller.who) as session:
            runs = await _take_back(session, last["undo"], await runtime.now(session))
            await _use_up(session, web_session.id, last)
    except DomainError as error:
        text = f"Not undone: {error.detail}"
    else:
        await pipeline.evaluate_at_once(runtime, runs)
        text = f"Undone: {last['text']}"
    async with runtime.transaction() as session:
        return await done(request, session, text, to=last["to"])


async def _take_back(session: AsyncSession, steps: Sequence[Mapping[str, Any]], now: datetime) -> list[int]:
    """The ids of the runs that evaluate the epics. Raises a `DomainError` where a step cannot be done."""
    plain = [{name: value for name, value in step.items() if name != "act"} for step in steps]
    match steps[0]["act"]:
        case "unlink":
            _, runs = await unlink_all(session, [step["link"] for step in plain], now)
            stored = plain[0].get("answers", {})
            answers = {int(id): FindingValues.from_json(values) for id, values in stored.items()}
            await answer_again(session, answers, now)
            return runs
        case "link":
            return await link_again(session, [LinkValues(**step) for step in plain], now)
        case "finding":
            return await restore_findings(session, _finding_changes(plain), now)
        case "decision":
            return (await undo_decision(session, plain[0]["decision_id"], now)).runs
        case act:
            for step in plain:
                await _restore(session, act, step, now)
            return []


async def _restore(session: AsyncSession, act: str, step: Mapping[str, Any], now: datetime) -> None:
    """One step of a kind that no evaluation depends on."""
    match act:
        case "accept":
            await accept_suggestion_again(session, step["source"], step["key"], step["key_result"])
        case "reject":
            await reject_suggestion(session, step["source"], step["key"], step["key_result"], now)
        case "stage":
            await take_stage_back(session, step["epic"], step["before"], step["after"])
        case "value":
            before = ValueOfEpic.from_json(step["before"])
            await restore_value(session, step["epic"], before, step["version"])
        case "scores":
            expected = step["after"]
            await set_scores(session, step["source"], step["key"], step["before"], now, expected=expected)
        case "estimate":
            await delete_estimate(session, step["id"])
        case "estimate_again":
            values = {**step, "at": datetime.fromisoformat(step["at"])}
            of = values.pop("of")
            await estimate_again(session, now, EstimateValues(**values), **of)


def _finding_changes(steps: Sequence[Step]) -> list[FindingChange]:
    return [
        FindingChange(
            step["id"], FindingValues.from_json(step["before"]), FindingValues.from_json(step["after"])
        )
        for step in steps
    ]


async def _use_up(session: AsyncSession, session_id: int, last: Mapping[str, Any]) -> None:
    """Of two at one moment, one alone: the other waits here, finds the steps gone and is rolled back."""
    used = await session.scalar(
        update(WebSessionRow)
        .where(WebSessionRow.id == session_id, WebSessionRow.last_action["id"].astext == last["id"])
        .values(last_action={**last, "id": "", "undo": []})
        .returning(WebSessionRow.id)
    )
    if used is None:
        raise Conflict("it was undone already.")
