"""Rules, and what saving one would do, as they are sent and shown."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.api.deps import Body, Key, Line, Moment
from app.api.epic_models import EpicName, Origin
from mappings.rules.operations import MOST_RULES, PRIORITY, RuleValues

EXAMPLE: dict[str, Any] = {
    "all": [{"project": ["SHOP"]}, {"any": [{"label": ["growth*"]}, {"title": "(?i)checkout"}]}]
}

RuleSort = Literal["order"]
RuleId = Annotated[int, Field(strict=True, ge=1, lt=2**63)]
RuleIds = Annotated[list[RuleId], Field(max_length=MOST_RULES)]
Priority = Annotated[int, Field(strict=True, **PRIORITY)]


class RuleIn(Body):
    name: Line = Field(description="Unique, in any case.", examples=["Checkout work in SHOP"])
    when: dict[str, Any] = Field(
        description="A tree of `all`, `any`, `not` and tests: source, project, label, type, title, parent, "
        "assignee, component, milestone, field.",
        examples=[EXAMPLE],
    )
    key_result: Key = Field(description="The key of the key result.", examples=["KR-3"])
    priority: Priority = Field(100, description="The lowest is tried first, then the oldest.")
    enabled: bool = Field(True, strict=True, description="A disabled rule links nothing.")

    def values(self) -> RuleValues:
        return RuleValues(self.name, self.when, self.key_result, self.priority, self.enabled)


class RulePatch(Body):
    """JSON merge patch, except for `when`: the condition is replaced as a whole."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"priority": 10, "enabled": True}]})

    name: Line | None = Field(None, description="Unique, in any case.")
    when: dict[str, Any] | None = Field(None, description="The whole condition.", examples=[EXAMPLE])
    key_result: str | None = Field(None, description="The key of the key result.")
    priority: Priority | None = Field(None, description="The lowest is tried first.", examples=[10])
    enabled: bool | None = Field(None, strict=True, description="A disabled rule links nothing.")


class PreviewIn(RulePatch):
    """A rule as for `POST /rules`; `name` may be left out. With `id`, what is left out stays as it is."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"when": EXAMPLE, "key_result": "KR-3"}]})

    id: RuleId | None = Field(
        None, description="The rule that this would change; left out for a new one.", examples=[None]
    )


class RuleOrderIn(Body):
    model_config = ConfigDict(json_schema_extra={"examples": [{"order": [3, 1, 2], "seen": [1, 2, 3]}]})

    order: RuleIds = Field(description="The id of every rule, disabled ones too, the first asked first.")
    seen: RuleIds | None = Field(
        None, description="The order as you read it: 409 where it is another now. Left out: whatever it is."
    )


class RuleOrderOut(BaseModel):
    order: list[int] = Field(description="The ids of all rules, the first asked first.")
    priorities: dict[int, int] = Field(description="The priorities that changed, by the rule's id.")


class WarningOut(BaseModel):
    field: str = Field(description="The member that it is about.", examples=["when.all[0].label[1]"])
    message: str = Field(
        description="What is probably not meant, in words.",
        examples=["no epic of any source has the label 'growht'"],
    )


class RuleOut(BaseModel):
    id: int = Field(description="Among rules of the same priority the lowest id is tried first.")
    name: str = Field(description="Unique, in any case.")
    when: dict[str, Any] = Field(description="The condition.")
    says: str = Field(description="The condition in words.")
    key_result: str = Field(description="The key of the key result.")
    priority: int = Field(description="The lowest is tried first.")
    enabled: bool = Field(description="A disabled rule links nothing.")
    matches: int = Field(description="How many epics it links now; what is below them may inherit that.")
    last_matched_at: Moment | None = Field(
        description="When it last linked an epic, to the day; null where it never did."
    )
    unmatched_since: Moment | None = Field(
        description="Since when it has linked none, counted from its last change; null where it links any, "
        "or is disabled."
    )
    warnings: list[WarningOut] = Field(
        description="What is probably not meant: it has linked nothing for a cycle; and, where one rule is "
        "shown or saved, a name in it that no source has."
    )


class OverlapOut(BaseModel):
    rule: int = Field(description="The id of another enabled rule.")
    name: str = Field(description="Its name.")
    epics: int = Field(description="How many of the epics that this rule matches the other matches too.")
    wins: int = Field(description="On how many of these this rule is the first of all that match.")


class RuleWithOverlaps(RuleOut):
    overlaps: list[OverlapOut] = Field(
        description="Other enabled rules that match the same epics, the 20 with the most."
    )


class PreviewedLink(BaseModel):
    key_result: str = Field(description="The key of the key result.", examples=["KR-3"])
    origin: Origin = Field(description="As in the epic's `links`.")
    live: bool = Field(description="False where the key result, its objective or its cycle is over.")
    rule: str | None = Field(
        description="The name of the rule that gives it, or gives it to the epic that this one inherits it "
        "from; null for others."
    )


class PreviewedEpic(BaseModel):
    epic: EpicName = Field(description="An epic that the rule matches, or matched before the change.")
    now: list[PreviewedLink] = Field(description="Its links by the rules as they are.")
    then: list[PreviewedLink] = Field(description="Its links if the rule were saved.")


class NoticeCounts(BaseModel):
    posted: int = Field(description="New comments that would come at once, before the guard and the caps.")
    held: int = Field(description="New comments that would be held first: grace, quiet hours, stale data.")
    shadow: int = Field(description="New texts that would be worked out and not written: mode `shadow`.")
    edited: int = Field(description="Comments of one line that would become warnings again.")
    resolved: int = Field(description="Comments that would become one line.")
    spared: int = Field(description="Comments that were to come and would not.")


class PreviewOut(BaseModel):
    matches: int = Field(description="How many epics the rule matches, whatever else links them.")
    changes: int = Field(description="How many epics would have other links than now.")
    below: int = Field(
        description="How many of these would only inherit other links, from epics above them. Those that the "
        "rule does not match are not among the items."
    )
    items: list[PreviewedEpic] = Field(
        description="Every epic that the rule matches, and with `id` those that it matches now."
    )
    next: str | None = Field(
        description="Send it as `cursor`, with the same body, to get the next page; null on the last. The "
        "counts stay those of the first page."
    )
    would_post: int = Field(description="The same as `notices.posted`.")
    notices: NoticeCounts = Field(description="What would become of comments.")
    overlaps: list[OverlapOut] = Field(
        description="Other enabled rules that match the same epics, the 20 with the most."
    )
    warnings: list[WarningOut] = Field(description="What to know before it is saved.")
