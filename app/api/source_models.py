"""A source as it is sent and shown. Each kind of tracker defines the models of its own members."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from functools import partial, reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    create_model,
    field_validator,
)
from pydantic_core import PydanticCustomError

from app.api.deps import Body, Key, Line
from app.api.runs import RunOut
from app.diagnostics.states import State, state_of
from app.jobs.schedule import EPOCH, next_moment
from app.source_drafts import SourceDraft
from connectors.config import hidden_end
from connectors.registry import KINDS, check_base_url
from mappings.policy.durations import parse_span
from mappings.policy.modes import NoticesMode
from mappings.policy.names import NO_NAMES, NamedProjects
from mappings.sources.values import DEFAULT_NOTICES, NOTICES_COUNT, NOTICES_SHARE, PROJECTS_AT_MOST

if TYPE_CHECKING:
    from connectors.diagnostics import Fact


class Schedule(Body):
    """With a timetable the first sync starts at once."""

    every: str | None = Field(
        None,
        description="Time between incremental syncs, ISO 8601, a second to 366 days of 24 hours; counted "
        "from 1970-01-01T00:00:00Z, so PT15M is at 0, 15, 30 and 45 past, P1D at midnight UTC. Null: none.",
        examples=["PT15M"],
    )
    full: str | None = Field(
        None, description="Cron line of the full sync, UTC. Null: none.", examples=["0 3 * * *"]
    )

    @field_validator("every")
    @classmethod
    def _is_a_duration(cls, value: str | None) -> str | None:
        if value is not None:
            parse_span(value)
            next_moment(value, EPOCH)
        return value

    @field_validator("full")
    @classmethod
    def _is_a_cron_line(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            first = next_moment(value, EPOCH)
        except ValueError as error:
            raise ValueError(f"is not a cron line ({error}); write for example 0 3 * * *") from None
        if value.startswith("P"):
            raise ValueError("is not a cron line but a duration; write for example 0 3 * * *")
        if first is None:
            raise ValueError("is a cron line that never comes; write for example 0 3 * * *")
        return value


class Notices(Body):
    """What may be written on tickets. A source begins in `shadow`."""

    mode: NoticesMode = Field(
        DEFAULT_NOTICES["mode"],
        description="`shadow` prepares every comment and writes none. `live` writes them; for a tracker "
        "beyond this machine it is 409 until a full run of it has succeeded in shadow.",
    )
    projects: list[Line] | None = Field(
        None,
        max_length=PROJECTS_AT_MOST,
        description="`live` in these projects only (Jira keys, GitHub `owner/name`, in any case), the others "
        "stay in shadow; null is all. One that the source does not read is 422.",
        examples=[["SHOP"]],
    )
    per_run: int = Field(
        DEFAULT_NOTICES["per_run"],
        strict=True,
        **NOTICES_COUNT,
        description="The burst guard: a run that would make more new comments than this makes none; all are "
        "held until a person approves them. Runs of mode `evaluate` count together over an hour. 0 holds "
        "every new comment.",
    )
    per_day: int = Field(
        DEFAULT_NOTICES["per_day"],
        strict=True,
        **NOTICES_COUNT,
        description="New comments in any 24 hours; the rest are held (reason `cap`) and become due by "
        "themselves, oldest first. 0 allows none. Edits and resolutions are not counted.",
    )
    max_share: float = Field(
        DEFAULT_NOTICES["max_share"],
        strict=True,
        **NOTICES_SHARE,
        description="The burst guard, by project: no more than this share of its open epics get a new "
        "comment from one run, or three where that is more.",
    )


def _left_out(value: Any) -> Any:
    """Null means the same as leaving it out."""
    return Schedule() if value is None else value


def _without_hidden_ends(secret: SecretStr) -> SecretStr:
    hidden = hidden_end(secret.get_secret_value())
    if hidden is not None:
        raise PydanticCustomError(
            "hidden_end",
            "{hidden}, which is easily copied along; send it without, and give the tracker the same",
            {"hidden": hidden},
        )
    return secret


class _SourceBody(Body):
    name: Key = Field(description="The name of the source; unique in any case.", examples=["acme-jira"])
    base_url: str = Field(
        max_length=2000,
        description="Jira: the site. GitHub: https://api.github.com, or https://HOST/api/v3.",
        examples=["https://acme.atlassian.net"],
    )
    webhook_secret: Annotated[SecretStr, AfterValidator(_without_hidden_ends)] | None = Field(
        None,
        min_length=1,
        max_length=500,
        description="What the tracker signs its webhooks with; stored encrypted, never returned. Without one "
        "no webhook is accepted. It must be hard to guess: use 32 random characters or more. One that begins "
        "or ends with a blank or an invisible character is refused.",
    )
    schedule: Annotated[Schedule, BeforeValidator(_left_out, json_schema_input_type=Schedule | None)] = Field(
        default_factory=Schedule,
        description="When it is synced automatically; the first sync then starts at once. Null: never.",
    )
    notices: Notices = Field(default_factory=Notices, description="What may be written on tickets.")


def _member(model: type[BaseModel], description: str) -> Any:
    needed = any(info.is_required() for info in model.model_fields.values())
    if needed:
        return (model, Field(description=description))
    return (model, Field(default_factory=dict, validate_default=True, description=description))


def _address(kind: str) -> Any:
    """`base_url`, checked by the rules of its kind."""
    info = _SourceBody.model_fields["base_url"]
    return (Annotated[str, *info.metadata, AfterValidator(partial(check_base_url, kind))], info)


def _literal(value: str) -> Any:
    return Literal[value]


BODIES: dict[str, type[_SourceBody]] = {
    name: create_model(
        f"{kind.name.capitalize()}Source",
        __base__=_SourceBody,
        __doc__=f"A {kind.name} source.",
        kind=(_literal(name), Field(description="The kind of tracker.")),
        base_url=_address(name),
        credentials=(kind.credentials, Field(description="How Northing signs in; never returned.")),
        scope=_member(kind.scope, "Which projects or repositories are read."),
        epics=_member(kind.epics, "What counts as an epic."),
    )
    for name, kind in KINDS.items()
}
EXAMPLES = [
    {
        "name": "acme-jira",
        "kind": "jira",
        "base_url": "https://acme.atlassian.net",
        "credentials": {"type": "api_token", "email": "bot@acme.example", "token": "…"},
        "scope": {"projects": ["SHOP", "CORE"]},
        "epics": {"issue_types": ["Epic"]},
    },
    {
        "name": "acme-github",
        "kind": "github",
        "base_url": "https://api.github.com",
        "credentials": {"type": "token", "token": "…"},
        "scope": {"repositories": ["acme/shop"]},
        "epics": {"labels": ["epic"]},
    },
]
if TYPE_CHECKING:
    SourceIn = Any
else:
    SourceIn = Annotated[reduce(or_, BODIES.values()), Field(discriminator="kind")]


class SourcePatch(Body):
    """JSON merge patch. `credentials` are replaced whole; a new `base_url` needs them in the same patch."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"scope": {"projects": ["SHOP"]}}]})

    name: Key | None = Field(None, description="Another name.")
    base_url: str | None = Field(None, description="Another address; needs `credentials` in the same patch.")
    credentials: dict[str, Any] | None = Field(None, description="All members, as on creation.")
    scope: dict[str, Any] | None = Field(None, description="Members to change.")
    epics: dict[str, Any] | None = Field(None, description="Members to change.")
    webhook_secret: str | None = Field(None, description="Null removes it.")
    schedule: dict[str, Any] | None = Field(None, description="Members to change.")
    notices: dict[str, Any] | None = Field(
        None, description="Members to change.", examples=[{"mode": "live", "projects": ["SHOP"]}]
    )


class CredentialsOut(BaseModel):
    type: str = Field(description="The kind of credentials; what they hold is never returned.")


class Refused(BaseModel):
    hour: int = Field(description="In the past hour, to within ten minutes.")
    day: int = Field(description="In the past 24 hours.")
    since: datetime | None = Field(description="When the first of the past 24 hours came.")


class Health(BaseModel):
    state: Literal["unknown", "ok", "degraded", "failing"] = Field(
        description="The worst of all problems; `unknown` before the first run that reads, `degraded` where "
        "a part does not work, the tracker is unreachable or a person must act, `failing` where the last run "
        "failed, credentials are refused, the tracker has been unreachable for 15 minutes since a run began "
        "and nothing was read yet, or no worker runs."
    )
    message: str = Field(description="The problems, the worst first.")
    what_to_do: str = Field(description="What a person can do about them, in the same order.")
    checked_at: datetime | None = Field(
        description="When the last run recorded its result; all else is as of now."
    )
    unknown_deliveries: int = Field(
        description="Webhooks of the past 90 days whose event or action this version does not know."
    )
    refused_signatures: Refused = Field(description="Webhooks refused for their signature.")


class SourceOut(BaseModel):
    name: str = Field(description="Unique in any case.")
    kind: str = Field(description="`jira` or `github`.")
    base_url: str = Field(description="The tracker's address.")
    credentials: CredentialsOut = Field(description="Only which kind they are.")
    scope: dict[str, Any] = Field(description="Which projects or repositories are read.")
    epics: dict[str, Any] = Field(description="What counts as an epic.")
    webhook_url: str = Field(description="Where the tracker is to send its webhooks.")
    webhook_secret_set: bool = Field(description="Whether one is stored.")
    schedule: Schedule = Field(description="When it is synced automatically.")
    notices: Notices = Field(description="What may be written on its tickets.")
    health: Health = Field(description="Whether it can be read, and what to do if not.")
    last_run: RunOut | None = Field(description="The newest run, whatever its mode.")
    disconnecting_at: datetime | None = Field(
        description="Since when it is being disconnected: it is deleted once our comments are withdrawn."
    )
    created_at: datetime = Field(description="Epics created before this get no notice by default.")
    updated_at: datetime = Field(description="When the source was last changed.")


class FactOut(BaseModel):
    name: str = Field(description="What was checked, such as a right by the tracker's own name for it.")
    state: State = Field(
        description="`missing`: Northing cannot do its work without it; `not_needed`: a right that it has "
        "and never uses, or lacks and does not need in its mode; `not_shown`: the tracker does not say; "
        "`failed`: what was tried did not work."
    )
    message: str = Field(description="What was found.")
    what_to_do: str = Field(description="What a person can do about it; empty where there is nothing to do.")
    field: str = Field(description="The member of the source that it is about, dotted; empty for none.")
    projects: list[str] = Field(description="The projects that it is about; empty for the whole source.")


class CheckedOut(BaseModel):
    facts: list[FactOut] = Field(description="In the order in which they were found out.")


def facts_out(facts: Iterable[Fact]) -> CheckedOut:
    shown = [
        FactOut(
            name=fact.what,
            state=state_of(fact),
            message=fact.why,
            what_to_do=fact.what_to_do,
            field=fact.field,
            projects=list(fact.projects),
        )
        for fact in facts
    ]
    return CheckedOut(facts=shown)


def draft_of(body: Any, named: NamedProjects = NO_NAMES) -> SourceDraft:
    """The source that a body describes."""
    return SourceDraft(
        name=body.name,
        kind=body.kind,
        base_url=body.base_url,
        credentials=body.credentials,
        scope=body.scope,
        epics=body.epics,
        schedule=body.schedule.model_dump(mode="json"),
        notices=body.notices.model_dump(mode="json"),
        webhook_secret=body.webhook_secret,
        named=named,
    )
