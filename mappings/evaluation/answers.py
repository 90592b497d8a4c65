"""The answer to a command: which text shows it, whether a comment is made for it, and when it ends. Pure.

An answer ends with a text that says something else, never alone: no comment is edited only to take it back.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from mappings.evaluation.desired_notice import NO_WORDS, DesiredText, why_no_warning
from mappings.notices.gates import Facts, first_hold

if TYPE_CHECKING:
    from mappings.evaluation.model import CommandAnswer, CurrentNotice, EvaluationInput
    from mappings.policy.document import EffectivePolicy

ANSWERED_WITHIN = timedelta(hours=1)  # a comment is made for an answer; later it helps nobody


def with_answer(
    desired: DesiredText, answer: CommandAnswer, facts: Facts, current: CurrentNotice | None
) -> DesiredText:
    """The text to show with the answer: the desired one and the answer, or the answer alone where the
    desired one is a warning that has to wait, or where there is nothing to say on a ticket without a comment.
    """
    alone = NO_WORDS.with_answer(answer.text, answer.key_result_ids)
    is_there = current is not None and current.on_ticket
    stands = is_there and current is not None and current.posted_hash == alone.facts_hash
    if desired.kind == "warning":
        is_warned = is_there and current is not None and current.state == "posted"
        # What follows an answer alone is the first warning there: quiet hours hold it too.
        edit = is_there and not stands
        waits = not is_warned and first_hold("evaluation", facts, edit=edit) is not None
    else:
        waits = desired.kind == "unchecked" and (stands or not is_there)
    return alone if waits else desired.with_answer(answer.text, answer.key_result_ids)


def may_be_given(
    answer: CommandAnswer,
    epic: EvaluationInput,
    policy: EffectivePolicy,
    facts: Facts,
    current: CurrentNotice | None,
) -> bool:
    """Whether our comment may show the answer. Where none is on the ticket, one is made for it, unless no
    comment may be made there at all, or the answer is too old or a refusal."""
    if current is not None and current.on_ticket:
        return True
    if (
        answer.is_refusal
        or epic.removal_reason is not None
        or why_no_warning(epic, policy) in ("service_desk", "channel")
    ):
        return False
    if first_hold("evaluation", facts, answer=True) is not None:
        return False
    return facts.now < answer.at + ANSWERED_WITHIN


def is_over(shown: DesiredText, current: CurrentNotice | None, *, changed: bool, answers: bool) -> bool:
    """Whether the answer ends, with which the text would be `shown`. `changed`: a finding changed its state
    without the command. `answers`: the answer is not on the ticket yet."""
    if current is None or not current.on_ticket:
        return changed
    if current.posted_hash == shown.facts_hash:
        return False
    returns = shown.kind == "warning" and current.state == "resolved"
    return changed or (returns and not answers)
