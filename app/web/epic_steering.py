"""What an epic's page says of its value, stage, scores, estimates, conflicts and decisions: a block each.

A block is one module `epic_<noun>.py` with a `Block`, one template `epic_steering_<noun>.html`, and its line
in `BLOCKS`, in the order of the page. Its forms are posted to the page of the epic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.web.epic_block import Block, ChangeOfEpic, PageOfEpic
from app.web.epic_changes import Changed
from app.web.epic_conflicts import CONFLICTS
from app.web.epic_decisions import DECISIONS
from app.web.epic_scores import SCORES
from app.web.epic_stage import STAGE
from app.web.epic_value import VALUE

BLOCKS: tuple[Block, ...] = (VALUE, STAGE, SCORES, CONFLICTS, DECISIONS)
ACTS: Mapping[str, str] = {act: operation for block in BLOCKS for act, operation in block.acts.items()}
_BY_ACT: Mapping[str, Block] = {act: block for block in BLOCKS for act in block.acts}


@dataclass(frozen=True, slots=True)
class Refused:
    """A form that was not taken: the value of its button, what is wrong by field, and what was typed."""

    act: str = ""
    errors: Mapping[str, str] = field(default_factory=dict)
    typed: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ShownBlock:
    """`block`: what its `load` returned. `errors` and `typed` as of `Refused`, where its form was refused."""

    noun: str
    block: Any
    act: str
    errors: Mapping[str, str]
    typed: Mapping[str, str]


async def load_steering(page: PageOfEpic, refused: Refused | None) -> Sequence[ShownBlock]:
    """The blocks of the page; one that has nothing to say returns None and is left out."""
    of = None if refused is None else _BY_ACT[refused.act]
    shown = []
    for block in BLOCKS:
        loaded = await block.load(page)
        form = refused if block is of and refused is not None else Refused()
        if loaded is not None:
            shown.append(ShownBlock(block.noun, loaded, form.act, form.errors, form.typed))
    return shown


async def change_steering(change: ChangeOfEpic) -> Changed:
    """Do one of `ACTS`. Raises what the operation raises."""
    do = _BY_ACT[change.act].change
    assert do is not None, change.act
    return await do(change)
