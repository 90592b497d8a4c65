"""What a person answers to connect a tracker, step by step: found out, checked, and made into a draft.

`northing connect` and the pages ask the questions; here is what they have in common. Nothing is stored.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from pydantic import BaseModel, SecretStr, ValidationError

from app.diagnostics.kind_probe import kind_at
from app.source_drafts import SourceDraft, connect_draft
from connectors.base import ConnectorError, Unauthorized
from connectors.inspector import remedy
from connectors.pasted import Pasted, page_of_server, tracker_pasted
from connectors.registry import KINDS, check_base_url
from mappings.errors import Conflict, Invalid
from mappings.sources.operations import check_free_name
from mappings.sources.values import DEFAULT_NOTICES
from mappings.values import key_error

if TYPE_CHECKING:
    from app.runtime import Runtime
    from connectors.diagnostics import Choice
    from connectors.network import Network

ALL = "*"
_WHOSE = "See that the e-mail address is that of the token's account."
PLAN_FIELDS = ("start_field", "due_field", "points_field")
SCHEDULE = {"every": "PT15M", "full": "0 3 * * *"}


class WrongAnswer(Exception):
    """An answer that cannot be used, by the member of the source. `by_tracker`: the tracker refused it, or
    did not answer."""

    def __init__(self, field: str, message: str, *, by_tracker: bool = False) -> None:
        super().__init__(f"{field}: {message}")
        self.field, self.message, self.by_tracker = field, message, by_tracker


@dataclass
class Answers:
    """What is known of the source by now; None is not answered yet."""

    kind: str | None = None
    base_url: str | None = None
    email: str | None = None
    token: SecretStr | None = field(default=None, repr=False)
    projects: list[str] | None = None  # or repositories; `owner/*` is an organisation, `*` all there are
    jql: str | None = None
    issue_types: list[str] | None = None
    labels: list[str] | None = None
    with_sub_issues: bool | None = None
    start_field: str | None = None
    due_field: str | None = None
    points_field: str | None = None
    name: str | None = None

    def forget(self, member: str) -> None:
        """Forget what the source's member was made of."""
        if member == "base_url":
            self.base_url = self.kind = None
        elif member.startswith("credentials"):
            self.email = self.token = None
        elif member in ("scope.projects", "scope.repositories", "scope.organizations", "scope"):
            self.projects = None
        elif (last := member.rpartition(".")[2]) in ("jql", "issue_types", "labels", *PLAN_FIELDS, "name"):
            setattr(self, last, None)

    def draft(self) -> SourceDraft:
        """The source that all answers make. Raises `WrongAnswer`."""
        kind, names = KINDS[self.kind or ""], self.projects or []
        if self.kind == "jira":
            scope: dict[str, Any] = {"projects": None if ALL in names else names, "jql": self.jql}
        elif ALL in names:
            raise WrongAnswer("scope.repositories", "takes OWNER/NAME, or OWNER/* for all of an organisation")
        else:
            scope = {
                "repositories": [name for name in names if not name.endswith("/*")],
                "organizations": [name.removesuffix("/*") for name in names if name.endswith("/*")],
            }
        selectors = {
            "issue_types": self.issue_types,
            "labels": self.labels,
            "with_sub_issues": self.with_sub_issues,
            **{member: getattr(self, member) for member in PLAN_FIELDS},
        }
        epics = {name: value for name, value in selectors.items() if value is not None}
        return self.draft_with(_model(kind.scope, scope, "scope"), _model(kind.epics, epics, "epics"))

    def draft_with(self, scope: Any, epics: Any) -> SourceDraft:
        kind, token = self.kind or "", self.token or SecretStr("")
        credentials: dict[str, Any] = {"type": "token", "token": token}
        if kind == "jira":
            credentials = {"type": "api_token", "email": self.email, "token": token}
        return SourceDraft(
            name=self.name or "",
            kind=kind,
            base_url=self.base_url or "",
            credentials=_model(KINDS[kind].credentials, credentials, "credentials"),
            scope=scope,
            epics=epics,
            schedule=dict(SCHEDULE),
            notices=dict(DEFAULT_NOTICES),
        )


def _model(model: type[BaseModel], values: dict[str, Any], member: str) -> BaseModel:
    """The values as a member of the source. Raises `WrongAnswer` for the first that cannot be used."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        name = ".".join([member, *(str(part) for part in first["loc"][:1])])
        shown = "must have another form" if first["type"] == "string_pattern_mismatch" else first["msg"]
        raise WrongAnswer(name, shown.removeprefix("Value error, ")) from None


# --- pure -----------------------------------------------------------------------------------------


def names_in(text: str) -> list[str]:
    """The names of a list by commas, in its order, each once."""
    return list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def name_for(answers: Answers) -> str:
    """A name for the source: what its tracker or owner is called, and the kind."""
    kind, host = answers.kind or "", urlsplit(answers.base_url or "").hostname or ""
    first = host.removeprefix("www.").removeprefix("api.").partition(".")[0]
    if kind == "github" and answers.projects and "/" in answers.projects[0]:
        first = answers.projects[0].partition("/")[0]
    made = re.sub(r"[^A-Za-z0-9._-]", "-", first)[:40].strip("-._")
    return kind if not made or made.isdecimal() or made == "localhost" else f"{made}-{kind}"


# --- asked of the tracker -------------------------------------------------------------------------


class FoundTracker(NamedTuple):
    """`project`: the project key, or `owner/name`, that the pasted page was about; empty for none."""

    kind: str
    base_url: str
    project: str


class Login(NamedTuple):
    """The name of the account, and the projects or repositories that it sees."""

    account: str
    choices: list[Choice]


async def find_tracker(network: Network, text: str, kind: str | None = None) -> FoundTracker:
    """The tracker at an address, or at the page that the address is of; asked where the address alone does
    not say its kind. Raises `WrongAnswer`."""
    pasted = tracker_pasted(text)
    if pasted is None:
        raise WrongAnswer("base_url", "is no address; paste it from the browser")
    kind, base_url = kind or pasted.kind, pasted.base_url
    try:
        if kind is None:
            check_base_url("", base_url)
            kind, base_url, pasted = await _probed(network, pasted)
        return FoundTracker(kind, check_base_url(kind, base_url), pasted.project)
    except ValueError as error:
        raise WrongAnswer("base_url", str(error)) from None


async def _probed(network: Network, pasted: Pasted) -> tuple[str, str, Pasted]:
    """What answers at the address, else at the site that it may be a page of."""
    page = page_of_server(pasted.base_url)
    try:
        for place in filter(None, (pasted, page)):
            found = await kind_at(network, place.base_url)
            if found is not None:
                return *found, place if found[0] == "github" else place._replace(project="")
    except ConnectorError as error:
        raise WrongAnswer("base_url", f"{error.message} {remedy(error)}", by_tracker=True) from None
    raise WrongAnswer(
        "base_url", f"neither a Jira nor a GitHub answers at {pasted.base_url}", by_tracker=True
    )


async def sign_in(runtime: Runtime, answers: Answers) -> Login:
    """Who the answers' login is, and what it sees. Raises `WrongAnswer`."""
    kind = KINDS[answers.kind or ""]
    # No scope yet: what the login sees does not depend on it.
    draft = answers.draft_with(kind.scope.model_construct(), kind.epics())
    connector = await connect_draft(runtime, draft)
    try:
        account = await connector.account()
        return Login(account.name, await connector.choices())
    except ConnectorError as error:
        member = "credentials.token" if isinstance(error, Unauthorized) else "base_url"
        # Of two answers, most trackers do not say which is wrong.
        whose = _WHOSE if isinstance(error, Unauthorized) and answers.email else ""
        message = " ".join(filter(None, (error.message, whose, remedy(error))))
        raise WrongAnswer(member, message, by_tracker=True) from None
    finally:
        await connector.aclose()


async def check_name(runtime: Runtime, name: str) -> None:
    """Raises `WrongAnswer` where no source can be made under this name."""
    if (wrong := key_error(name)) is not None:
        raise WrongAnswer("name", wrong)
    try:
        async with runtime.sessions() as session:
            await check_free_name(session, name)
    except Conflict as taken:
        raise WrongAnswer("name", taken.detail) from None
    except Invalid as refused:
        raise WrongAnswer("name", refused.errors[0][1]) from None
