"""From GitHub's JSON to our values, and back. Pure.

https://docs.github.com/rest/issues. Missing members are accepted: GHES has no sub-issues and no types,
old responses lack members, and GitHub's own examples do not always fit GitHub's schemas.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from connectors.base import (
    Account,
    BadPayload,
    Children,
    Epic,
    EpicRef,
    Parent,
    Project,
    Unauthorized,
    Unreadable,
)
from connectors.config import unread_project
from connectors.github.config import FULL_NAME
from connectors.github.issue_fields import named_field, plain_values
from connectors.github.text import lines_of
from connectors.markup import quoted
from connectors.members import (
    MISREADINGS,
    NotAsDescribed,
    children_of,
    list_in,
    moment_in,
    number_in,
    object_in,
    reason_of,
    remote_number,
    row_of,
    text_in,
    text_of,
)
from connectors.plan_values import PLANNED, day_of_time, first_moment, set_planned

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from connectors.github.config import GitHubEpics

PAGE_SIZE = 100
MOST_ROWS = 10 * PAGE_SIZE  # no page is larger than asked for; a longer one is no page
MOST_PAGES = 10_000  # a million tickets; a longer list is taken for one without an end

_ISSUE_PATH = re.compile(r"/([^/]+/[^/]+)/(?:issues|pull)/(\d+)\Z")
_REPOSITORY_PATH = re.compile(r"/repos/([^/]+/[^/]+)\Z")
_PARENT_PATH = re.compile(rf"/repos/({FULL_NAME})/issues/([1-9][0-9]{{0,18}})\Z")
_PULL_PATH = re.compile(r"/pull/\d+\Z")
_KEY = re.compile(r"([^/#]+)/([^/#]+)#(\d+)")


# --- issues ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Issue:
    """An issue as an epic, and whether it fits the source's selector."""

    epic: Epic
    fits: bool


def web_base(api_url: str) -> str:
    """The address that people use, from the API's address.

    `https://api.github.com` becomes github.com, `https://api.SUB.ghe.com` becomes SUB.ghe.com,
    `https://HOST/api/v3` becomes HOST; any other address stays as it is.
    """
    url = api_url.rstrip("/").removesuffix("/api/v3")
    parts = urlsplit(url)
    host = (
        parts.netloc.removeprefix("api.")
        if re.search(r"\.(github|ghe)\.com$", parts.netloc)
        else parts.netloc
    )
    return f"{parts.scheme}://{host}{parts.path}"


def issue_of(issue: Any, repository: str, web: str, selector: GitHubEpics) -> Issue | None:
    """One issue of a listing, a fetch or a webhook; None for a pull request. Raises `BadPayload`.

    `repository` is the one that was asked for. The name in the answer takes precedence: it has the right
    case, and it is the current one after a transfer.
    """
    if is_pull_request(issue):
        return None
    try:
        object_in(row_of(issue), "pull_request")
        return _issue_of(issue, repository, web, selector)
    except MISREADINGS as error:
        named = quoted(issue.get("number"), 20) if isinstance(issue, dict) else "None"
        raise BadPayload(
            f"GitHub's issue {repository}#{named} could not be read: {reason_of(error)}"
        ) from None


def _issue_of(issue: dict[str, Any], repository: str, web: str, selector: GitHubEpics) -> Issue:
    repository = repository_of(issue) or repository
    if not is_full_name(repository):
        raise NotAsDescribed(f"its address names no repository but {quoted(repository)}")
    number = number_in(issue, "number")
    if not isinstance(issue.get("labels"), list):
        raise NotAsDescribed(f"its labels are no list but {quoted(issue.get('labels'))}")
    labels = _label_names(issue)
    kind = text_in(object_in(issue, "type"), "name")
    closed, key = _is_closed(issue), f"{repository}#{number}"
    epic = Epic(
        remote_id=number_in(issue, "id"),
        key=key,
        project=repository,
        title=text_in(issue, "title"),
        url=f"{web}/{repository}/issues/{number}",
        type=kind or "Issue",
        status="closed" if closed else "open",
        status_category="done" if closed else "todo",
        created_at=moment_in(issue, "created_at"),
        updated_at=moment_in(issue, "updated_at"),
        labels=labels,
        assignees=tuple(
            login
            for person in list_in(issue, "assignees")
            if person and (login := text_in(row_of(person), "login"))
        ),
        milestone=text_in(object_in(issue, "milestone"), "title") or None,
        parent=_parent_of(issue, key, repository, web),
        children=_children_of(issue),
    )
    fits = _fits(selector, labels, kind, issue)
    return Issue(_with_details(epic, issue, selector) if fits else epic, fits)


def _parent_of(issue: Mapping[str, Any], key: str, repository: str, web: str) -> Parent | None:
    """The parent issue, of which only the address is there; else the milestone.

    A milestone's key is `owner/repo/milestone/3`, as in the address of its page: its number stays when it is
    renamed, and no issue has such a key. One without a number or a title is left out.
    """
    above = _key_in(issue.get("parent_issue_url"))
    if above is not None and above.casefold() != key.casefold():
        return Parent(above, url=f"{web}/{above.replace('#', '/issues/')}")
    milestone = object_in(issue, "milestone")
    number, title = remote_number(milestone.get("number")), text_in(milestone, "title")
    if number is None or not title:
        return None
    page = f"{repository}/milestone/{number}"
    return Parent(page, title=title, url=f"{web}/{page}")


def parent_issue(epic: Epic) -> EpicRef | None:
    """The parent of an issue if it is an issue too."""
    key = "" if epic.parent is None else epic.parent.key
    return EpicRef("", key) if _KEY.fullmatch(key) else None


def named_parent(issue: Any, parent: Parent, web: str) -> Parent:
    """`parent` with what its issue says; its key stays the one that its children name."""
    if not isinstance(issue, dict):
        return parent
    remote_id, number = remote_number(issue.get("id")), remote_number(issue.get("number"))
    repository = repository_of(issue)
    if remote_id is None or number is None or not is_full_name(repository):
        return parent
    return Parent(parent.key, remote_id, _text(issue, "title"), f"{web}/{repository}/issues/{number}")


def _children_of(issue: Mapping[str, Any]) -> Children | None:
    """None also on an Enterprise Server without sub-issues."""
    summary = issue.get("sub_issues_summary")
    return children_of(summary.get("total"), summary.get("completed")) if isinstance(summary, dict) else None


def _is_closed(issue: Mapping[str, Any]) -> bool:
    """Closed work is asked for nothing, so a state that is missing is not taken for an open one."""
    if (state := issue.get("state")) not in ("open", "closed"):
        raise NotAsDescribed(f"its state is neither open nor closed but {quoted(state)}")
    return bool(state == "closed")


def unreadable(issue: Any, repository: str, error: BadPayload) -> tuple[Unreadable, datetime | None]:
    """The issue that `issue_of` could not read, and when it was updated, as far as its row says either."""
    if not isinstance(issue, dict):
        return Unreadable(None, error.message), None
    remote_id, number = remote_number(issue.get("id")), remote_number(issue.get("number"))
    name = repository_of(issue) or repository
    key = f"{name}#{number}" if number and is_full_name(name) else ""
    ref = EpicRef(remote_id or "", key) if remote_id or key else None
    try:
        return Unreadable(ref, error.message), moment_in(issue, "updated_at")
    except ValueError:
        return Unreadable(ref, error.message), None


def _with_details(epic: Epic, issue: Mapping[str, Any], selector: GitHubEpics) -> Epic:
    """`epic` with its plan and with what may name key results: for epics only, as parsing Markdown takes a
    hundred times as long as the rest."""
    text = lines_of(text_of(issue.get("body"), "body"))
    whole = replace(epic, text=text, key_result_field=named_field(issue, selector.key_result_field))
    for member in PLANNED:
        if (name := getattr(selector, member)) is not None:
            set_planned(whole, member, name, plain_values(issue, name))
    if selector.due_field is None:
        _set_due_of_milestone(whole, issue)
    if whole.status_category == "done":
        whole.finished_at = first_moment(issue.get("closed_at"))
    return whole


def _set_due_of_milestone(epic: Epic, issue: Mapping[str, Any]) -> None:
    """GitHub keeps the due day as midnight in California, 07:00 or 08:00 of that day in UTC, whatever time it
    was sent; so the day in UTC is the one that people see there.

    https://docs.github.com/rest/issues/milestones
    """
    due_on = object_in(issue, "milestone").get("due_on")
    set_planned(epic, "due_field", "the milestone", [due_on], day_of_time)


def _fits(selector: GitHubEpics, labels: Iterable[str], kind: str, issue: Mapping[str, Any]) -> bool:
    selected = {label.casefold() for label in selector.labels}
    if any(label.casefold() in selected for label in labels):
        return True
    if kind and kind.casefold() in {name.casefold() for name in selector.issue_types}:
        return True
    return selector.with_sub_issues and (object_in(issue, "sub_issues_summary").get("total") or 0) > 0


def may_fit(issue: Any, selector: GitHubEpics) -> bool:
    """Whether an issue in a webhook may be an epic. True for an issue that cannot be read."""
    try:
        if not isinstance(issue["labels"], list):
            return True
        return _fits(selector, _label_names(issue), text_in(object_in(issue, "type"), "name"), issue)
    except MISREADINGS:
        return True


def _label_names(issue: Mapping[str, Any]) -> tuple[str, ...]:
    """The labels. One without a name may be the one that makes the issue an epic: raises `NotAsDescribed`."""
    names = [label.get("name") if isinstance(label, dict) else label for label in list_in(issue, "labels")]
    if not all(texts := tuple(text_of(name, "label") for name in names)):
        raise NotAsDescribed("one of its labels has no name")
    return texts


def is_pull_request(issue: Any) -> bool:
    """Whether `issue` is a pull request. These share numbers, most events and listings with issues."""
    if not isinstance(issue, dict):
        return False
    mark = issue.get("pull_request")
    return (isinstance(mark, dict) and bool(mark)) or bool(_PULL_PATH.search(_text(issue, "html_url")))


def repository_of(issue: dict[str, Any]) -> str | None:
    """The issue's `owner/repo` as GitHub writes it, from the issue's addresses."""
    found = _REPOSITORY_PATH.search(_text(issue, "repository_url")) or _ISSUE_PATH.search(
        _text(issue, "html_url")
    )
    return found[1] if found else None


def is_full_name(value: Any) -> bool:
    """Whether `value` has the form of `owner/repo`."""
    return (
        isinstance(value, str)
        and re.fullmatch(FULL_NAME, value) is not None
        and not value.endswith(("/.", "/.."))
    )


def _text(issue: dict[str, Any], member: str) -> str:
    value = issue.get(member)
    return value if isinstance(value, str) else ""


def _key_in(url: Any) -> str | None:
    """The key in an issue's API address; None for an address with a repository id instead of its name."""
    found = _PARENT_PATH.search(url) if isinstance(url, str) else None
    return f"{found[1]}#{found[2]}" if found else None


LISTING_ADVICE = (
    "Sync again; if it stays so, see whether a proxy changes the `Link` headers of GitHub's answers."
)


def record_page_url(url: str | None, used: set[str]) -> None:
    """Add the next page's address to `used`. Raises `BadPayload` if it is a repetition, or one too many."""
    if url in used:
        raise BadPayload("GitHub's listing leads back to a page already read.", LISTING_ADVICE)
    if len(used) >= MOST_PAGES:
        raise BadPayload(f"GitHub's listing has more than {MOST_PAGES} pages.", LISTING_ADVICE)
    if url:
        used.add(url)


def repository_and_number(key: str) -> dict[str, str]:
    """The key `acme/shop#7` as the variables of an API address. Raises `BadPayload` for another form."""
    found = _KEY.fullmatch(key)
    if not found:
        raise BadPayload(f"{quoted(key)} is not the key of an issue.")
    return {"owner": found[1], "repo": found[2], "number": found[3]}


def replaced(ref: EpicRef, epic: Epic) -> bool:
    """Whether the issue found under `ref`'s key is a different issue with the same key.

    A transferred issue gets a new id and a new key. But a repository that was created again under an old
    name has other issues under the same keys.
    """
    return epic.remote_id != ref.remote_id and epic.key.casefold() == ref.key.casefold()


# --- repositories, account ------------------------------------------------------------------


ARCHIVED = "The repository is archived. Unarchive it, or take it out of the scope."


def project_of(repository: Any) -> Project:
    """Raises `BadPayload`, also without the id, by which a renamed repository is followed, and where nothing
    says who may read it.

    https://docs.github.com/rest/repos/repos#get-a-repository
    """
    name: Any = repository.get("full_name") if isinstance(repository, dict) else None
    remote_id = remote_number(repository.get("id")) if is_full_name(name) else None
    if remote_id is None:
        raise BadPayload("A repository in GitHub's answer could not be read.")
    visibility, private = repository.get("visibility"), repository.get("private")
    if not isinstance(visibility or private, (str, bool)):
        raise BadPayload(f"GitHub's answer does not say who may read {name}.")
    public = visibility == "public" if visibility else private is False
    issues_disabled = repository.get("has_issues") is False
    return Project(
        name,
        public=public,
        read_only=ARCHIVED if repository.get("archived") else None,
        problem="Issues are turned off in this repository." if issues_disabled else None,
        remote_id=remote_id,
    )


def projects_of(rows: Iterable[Any], organization: str) -> list[Project]:
    """The repositories of a page; in place of those that cannot be read, the organisation with a problem."""
    found: list[Project] = []
    for row in rows:
        try:
            found.append(project_of(row))
        except BadPayload as error:
            found.append(unread_project(f"{organization}/*", error))
    return found


def account_of(user: Any) -> Account:
    if not isinstance(user, dict) or not (account := remote_number(user.get("id"))):
        raise Unauthorized("GitHub does not know the account of the token.", "Give the source a valid token.")
    return Account(account, quoted(user.get("login") or account), is_program=user.get("type") == "Bot")
