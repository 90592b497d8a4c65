"""What the commands of one comment do on one epic, and what is answered.

A command changes links and findings with the functions that the API's operations use. Its own are the origin,
the answer in words, and that one run evaluates the epic after all commands of a comment.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mappings.command_words import VERBS
from mappings.commands.answers import (
    HIDDEN_REASON,
    MOST_KEYS,
    ONE_A_LINE,
    help_text,
    joined_answer,
    kept_link_text,
    no_review_text,
    not_linked_text,
    not_live_text,
    nothing_to_change_text,
    one_to_move_to_text,
    suggestions_text,
    unknown_keys_text,
)
from mappings.commands.grammar import like_a_key
from mappings.commands.model import (
    Command,
    DisputeCommand,
    HelpCommand,
    InvalidCommand,
    LinkCommand,
    MoveCommand,
    ReviewCommand,
    SnoozeCommand,
    SuggestCommand,
    UnlinkCommand,
    WaiveCommand,
)
from mappings.commands.spelling import near_keys
from mappings.evaluation.operations import CHANGED_BY_COMMANDS, change_shown
from mappings.goals.key_results import KeyResult, is_live, may_name, why_not_live
from mappings.links.operations import link_manually, move_manually, unlink_manually

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

    from mappings.checks.check import Check
    from mappings.evaluation.context import EvaluationContext
    from mappings.evaluation.model import FindingState
    from mappings.tables import EpicRow, LinkRow, SourceRow


@dataclass
class CommandRun:
    """One comment's commands on one epic, which the caller has locked. Only `help`, `suggest` and what cannot
    be done get an answer in words.

    `author` is None where not everybody who sees the ticket sees the comment: then neither its author nor
    what was typed is named. `done`: what was done, in words. `explained`: the ids of the key results of which
    the answer tells what only a ticket may show that may name them.
    """

    session: AsyncSession
    source: SourceRow
    epic: EpicRow
    author: str | None
    load_context: Callable[[AsyncSession, SourceRow], Awaitable[EvaluationContext]]
    now: datetime
    checks: Sequence[Check[Any]]
    done: list[str] = field(default_factory=list)
    explained: list[int] = field(default_factory=list)
    links_changed: bool = False
    _answers: list[str] = field(default_factory=list)
    _loaded: EvaluationContext | None = None

    @property
    def answer(self) -> str | None:
        return joined_answer(self._answers)

    async def execute(self, command: Command) -> bool:
        """Whether it was done; what else is to be said about it is in the answer."""
        match command:
            case LinkCommand(keys):
                return await self._link(keys)
            case UnlinkCommand(keys):
                return await self._unlink(keys)
            case MoveCommand(keys):
                return await self._move(keys)
            case SnoozeCommand(until):
                return await self._change("snooze", "snoozed", until, self._why("snoozed"))
            case WaiveCommand(until, reason):
                return await self._change("waive", "waived", until, reason)
            case DisputeCommand(reason):
                return await self._change("dispute", "disputed", None, reason)
        return await self._answer(command)

    async def _answer(self, command: Command) -> bool:
        """Of a command that only asks, and of what is none."""
        match command:
            case HelpCommand():
                self._answers.append(help_text())
                self.done.append("help")
                return True
            case SuggestCommand():
                await self._suggest()
                return True
            case ReviewCommand(word):
                self._answers.append(no_review_text(word))
            case InvalidCommand(reply, discreet):
                self._answers.append(reply if self.author is not None else discreet or reply)
        return False

    @property
    def _hidden(self) -> bool:
        return self.author is None

    def _why(self, done: str) -> str:
        return f"{done} by a comment" if self._hidden else f"{done} by {self.author} in a comment"

    async def _context(self) -> EvaluationContext:
        """Loaded once, where a command of the comment needs it."""
        if self._loaded is None:
            self._loaded = await self.load_context(self.session, self.source)
        return self._loaded

    async def _public(self) -> bool:
        return (await self._context()).project_info(self.epic.project).public

    # --- links ------------------------------------------------------------------------------------

    async def _keys(self, words: Sequence[str]) -> tuple[list[KeyResult], bool]:
        """The key results of the words up to the first that is no key of one, and whether that ended them
        well: it is a word of prose, not a mistyped key or another command."""
        by_key = (await self._context()).goals.by_key
        goals: list[KeyResult] = []
        for at, word in enumerate(words):
            goal = by_key.get(word.lower())
            if goal is not None:
                goals.append(goal)
            elif at == 0 or like_a_key(word):
                await self._unknown(words[at : at + 2])
                return goals, False
            elif word.lower() in VERBS:
                self._answers.append(ONE_A_LINE)
                return goals, False
            else:
                break
        if len(goals) > MOST_KEYS:
            self._answers.append(f"At most {MOST_KEYS} key results can be named at once.")
            return [], False
        return goals, True

    async def _unknown(self, words: Sequence[str]) -> None:
        """Say that there is no such key result, and which may be meant: of those that may be named here."""
        context, public = await self._context(), await self._public()
        named = [
            goal.key
            for goal in context.goals.key_results.values()
            if may_name(goal, public) and is_live(goal, self.now)
        ]
        near = near_keys(words[0], named) or near_keys("".join(words), named)
        self._answers.append(
            unknown_keys_text(words[:1], near) if not self._hidden else unknown_keys_text([], [])
        )

    async def _link(self, words: Sequence[str]) -> bool:
        goals, well = await self._keys(words)
        for goal in goals:
            link, is_new = await link_manually(
                self.session, self.epic.id, goal.key, "command", self._why("linked"), self.now
            )
            await self._linked(link, is_new)
        self._did("link", goals)
        return well

    async def _linked(self, link: LinkRow, changed: bool) -> None:
        self.links_changed = self.links_changed or changed
        goal = (await self._context()).goals.key_results[link.key_result_id]
        why_not = why_not_live(goal, self.now)
        if why_not is None:
            return
        key = None if self._hidden else goal.key
        if may_name(goal, await self._public()):
            self.explained.append(goal.id)
            self._answers.append(not_live_text(key, why_not))
        else:
            self._answers.append(not_live_text(key, None))

    def _did(self, verb: str, goals: Sequence[KeyResult]) -> None:
        if goals:
            self.done.append(verb if self._hidden else f"{verb} {', '.join(goal.key for goal in goals)}")

    async def _unlink(self, words: Sequence[str]) -> bool:
        """A key that no key result has is answered as one that is not linked."""
        by_key = (await self._context()).goals.by_key
        well, goals = True, list[KeyResult]()
        for at, word in enumerate(words[:MOST_KEYS]):
            goal = by_key.get(word.lower())
            if goal is None and at and not like_a_key(word):
                break
            removed, left = (
                (False, []) if goal is None else await unlink_manually(self.session, self.epic.id, [goal.id])
            )
            if goal is not None and removed:
                goals.append(goal)
                self.links_changed = True
            self._kept(left)
            if not removed and not left:
                self._answers.append(not_linked_text([] if self._hidden else [word]))
            well = well and removed and not left
        self._did("unlink", goals)
        return well

    def _kept(self, links: Sequence[LinkRow]) -> None:
        goals = self._loaded.goals.key_results if self._loaded is not None else {}
        for link in links:
            key = None if self._hidden else goals[link.key_result_id].key
            self._answers.append(kept_link_text(key, link.origin))

    async def _move(self, words: Sequence[str]) -> bool:
        goals, well = await self._keys(words)
        if len(goals) != 1:
            if goals:
                self._answers.append(one_to_move_to_text(None))
            return False
        why = self._why("linked")
        link, changed, left = await move_manually(
            self.session, self.epic.id, goals[0].key, "command", why, self.now
        )
        await self._linked(link, changed)
        # Those of rules and parents give way to a link by hand.
        by_ticket = [other for other in left if other.origin == "ticket"]
        self._kept(by_ticket)
        self._did("move", goals)
        return well and not by_ticket

    async def _suggest(self) -> None:
        suggestions = await (await self._context()).suggest(self.session, self.epic, self.now)
        public = await self._public()
        self._answers.append(suggestions_text(suggestions, public))
        goals = [one.key_result for one in suggestions]
        self.explained += [goal.id for goal in goals if may_name(goal, public)]
        self.done.append("suggest")

    # --- findings ---------------------------------------------------------------------------------

    async def _change(self, verb: str, state: FindingState, until: datetime | None, reason: str) -> bool:
        if self._hidden and verb != "snooze":
            reason = HIDDEN_REASON
        before = await change_shown(self.session, self.epic.id, self.checks, state, until, reason, self.now)
        if before not in CHANGED_BY_COMMANDS:
            self._answers.append(nothing_to_change_text(verb, before))
            return False
        day = "" if until is None or self._hidden else f" until {until:%Y-%m-%d %H:%M} UTC"
        self.done.append(f"{verb}{day}")
        return True
