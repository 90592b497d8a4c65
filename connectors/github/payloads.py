"""From GitHub's JSON to our values, and back. Pure.

https://docs.github.com/rest/issues. Missing members are accepted: GHES has no sub-issues and no types,
old responses lack members, and GitHub's own examples do not always fit GitHub's schemas.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from connectors.base import Account, BadPayload, Epic, EpicRef, Marker, Project, TicketComment, Unauthorized
from connectors.github.text import lines_of
from connectors.markup import storable, to_markdown

if TYPE_CHECKING:
    from connectors.document import Document
    from connectors.github.config import GitHubEpics

PAGE_SIZE = 100
MOST_PAGES = 10_000  # a million tickets; a longer list is taken for one without an end
OVERLAP = timedelta(minutes=5)  # issues that change while a listing is read move between its pages
NOTICE = "<!-- northing:notice -->"

_ISSUE_PATH = re.compile(r"/([^/]+/[^/]+)/(?:issues|pull)/(\d+)$")
_PULL_PATH = re.compile(r"/pull/\d+$")
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
    try:
        if is_pull_request(issue):
            return None
        repository = repository_of(issue) or repository
        number = int(issue["number"])
        labels = _label_names(issue.get("labels") or ())
        kind = (issue.get("type") or {}).get("name")
        closed = issue.get("state") == "closed"
        epic = Epic(
            remote_id=str(int(issue["id"])),
            key=f"{repository}#{number}",
            project=repository,
            title=storable(str(issue.get("title") or "")),
            url=f"{web}/{repository}/issues/{number}",
            type=storable(str(kind or "Issue")),
            status="closed" if closed else "open",
            status_category="done" if closed else "todo",
            created_at=_moment(issue["created_at"]),
            updated_at=_moment(issue["updated_at"]),
            labels=labels,
            assignees=tuple(str(u["login"]) for u in issue.get("assignees") or () if u and u.get("login")),
            milestone=storable(str((issue.get("milestone") or {}).get("title") or "")) or None,
            parent_key=_key_in(issue.get("parent_issue_url")),
        )
        fits = _fits(selector, labels, kind, issue.get("sub_issues_summary") or {})
        return Issue(_with_text(epic, issue.get("body")) if fits else epic, fits)
    except (KeyError, TypeError, OverflowError, ValueError, AttributeError) as error:
        named = issue.get("number") if isinstance(issue, dict) else None
        raise BadPayload(f"GitHub's issue {repository}#{named} could not be read: {error!r}") from error


def _with_text(epic: Epic, body: str | None) -> Epic:
    """`epic` with its text: for epics only, as parsing Markdown takes a hundred times as long as the rest."""
    return replace(epic, text=lines_of(body))


def _fits(selector: GitHubEpics, labels: Iterable[str], kind: str | None, sub_issues: Any) -> bool:
    selected = {label.casefold() for label in selector.labels}
    if any(label.casefold() in selected for label in labels):
        return True
    if kind and kind.casefold() in {name.casefold() for name in selector.issue_types}:
        return True
    return selector.with_sub_issues and sub_issues.get("total", 0) > 0


def may_fit(issue: Any, selector: GitHubEpics) -> bool:
    """Whether an issue in a webhook may be an epic. True for an issue that cannot be read."""
    try:
        kind = (issue.get("type") or {}).get("name")
        return _fits(selector, _label_names(issue["labels"]), kind, issue.get("sub_issues_summary") or {})
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError):
        return True


def _label_names(labels: Iterable[Any]) -> tuple[str, ...]:
    names = (label.get("name") if isinstance(label, dict) else label for label in labels)
    return tuple(storable(str(name)) for name in names if name)


def is_pull_request(issue: Any) -> bool:
    """Whether `issue` is a pull request. These share numbers, most events and listings with issues."""
    if not isinstance(issue, dict):
        return False
    return bool(issue.get("pull_request")) or bool(_PULL_PATH.search(_text(issue, "html_url")))


def repository_of(issue: dict[str, Any]) -> str | None:
    """The issue's `owner/repo` as GitHub writes it, from the issue's addresses."""
    tail = re.search(r"/repos/([^/]+/[^/]+)$", _text(issue, "repository_url"))
    tail = tail or _ISSUE_PATH.search(_text(issue, "html_url"))
    return tail[1] if tail else None


def _text(issue: dict[str, Any], member: str) -> str:
    value = issue.get(member)
    return value if isinstance(value, str) else ""


def _key_in(url: Any) -> str | None:
    """The key in an issue's API address; None for an address with a repository id instead of its name."""
    found = re.search(r"/repos/([^/]+/[^/]+)/issues/(\d+)$", url) if isinstance(url, str) else None
    return f"{found[1]}#{found[2]}" if found else None


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"no time zone in {text!r}")
    return moment.astimezone(UTC)


def listing_query(since: datetime | None) -> dict[str, str]:
    """Open and closed issues, oldest change first.

    https://docs.github.com/rest/issues/issues#list-repository-issues
    """
    query = {"state": "all", "sort": "updated", "direction": "asc", "per_page": str(PAGE_SIZE)}
    if since is not None:
        query["since"] = (since - OVERLAP).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return query


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
        raise BadPayload(f"{key!r} is not the key of an issue.")
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
    """https://docs.github.com/rest/repos/repos#get-a-repository"""
    try:
        visibility = repository.get("visibility")
        public = visibility == "public" if visibility else repository.get("private") is False
        issues_disabled = repository.get("has_issues") is False
        return Project(
            str(repository["full_name"]),
            public=public,
            read_only=ARCHIVED if repository.get("archived") else None,
            problem="Issues are turned off in this repository." if issues_disabled else None,
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise BadPayload("A repository in GitHub's answer could not be read.") from error


def account_of(user: Any) -> Account:
    if not isinstance(user, dict) or not user.get("id"):
        raise Unauthorized("GitHub does not know the account of the token.", "Give the source a valid token.")
    return Account(str(user["id"]), str(user.get("login") or user["id"]))


# --- comments -------------------------------------------------------------------------------


def comment_body(text: Document, marker: Marker) -> dict[str, str]:
    return {"body": f"{_head(marker)}\n\n{to_markdown(text)}"}


_ID = re.compile(r"<!-- northing:id (.{1,100}/[0-9]{1,19}(?: [0-9a-f]{1,64})?) -->")


def _head(marker: Marker) -> str:
    return f"{NOTICE}\n<!-- northing:id {marker} -->"


def marker_of(comment: Any) -> str | None:
    """The marker in the first two lines of a comment; a marker on other lines is a quotation."""
    body = comment.get("body") if isinstance(comment, dict) else None
    lines = [line.strip() for line in str(body or "").splitlines()[:2]]
    if len(lines) < 2 or lines[0] != NOTICE:
        return None
    found = _ID.fullmatch(lines[1])
    return found and found[1]


def author_of(comment: Any) -> str | None:
    """The id of the account that wrote a comment; None where GitHub does not name one."""
    user = comment.get("user") if isinstance(comment, dict) else None
    return str(user["id"]) if isinstance(user, dict) and user.get("id") else None


def is_notice(body: Any) -> bool:
    """Whether a comment's text begins like a notice of any installation."""
    return isinstance(body, str) and body.lstrip().partition("\n")[0].rstrip() == NOTICE


# The author associations with which a person may edit an issue; CONTRIBUTOR (of code) is not one of them.
# https://docs.github.com/graphql/reference/enums#commentauthorassociation
_MAY_STEER = {"OWNER", "MEMBER", "COLLABORATOR"}


def ticket_comment(comment: Any, number: str) -> TicketComment | None:
    """From `GET /repos/{owner}/{repo}/issues/comments/{id}`; None if it is on another issue than `number`.

    A comment by a bot or through an app counts as a program's. A comment that the token's owner wrote by
    hand counts as a person's. Raises `BadPayload`.
    https://docs.github.com/rest/issues/comments#get-an-issue-comment
    """
    try:
        if not comment["issue_url"].endswith(f"/issues/{number}"):
            return None
        user, body = comment.get("user") or {}, comment.get("body") or ""
        program = user.get("type") == "Bot" or comment.get("performed_via_github_app") is not None
        ours = is_notice(body) or program
        return TicketComment(
            id=str(comment["id"]),
            author=storable(str(user.get("login") or "ghost")),  # GitHub's own name for a deleted account
            lines=lines_of(body),
            ours=ours,
            author_id=author_of(comment),
            may_steer=not ours and comment.get("author_association") in _MAY_STEER,
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise BadPayload(f"A comment in GitHub's answer could not be read: {error!r}") from error


def is_author_or_assignee(issue: Any, comment: Any) -> bool:
    """Whether the comment's author opened the issue or is assigned to it. Raises `BadPayload`."""
    try:
        author = (comment.get("user") or {}).get("id")
        people = [issue["user"], *(issue.get("assignees") or ())]
        return author is not None and author in [person.get("id") for person in people if person]
    except (KeyError, TypeError, AttributeError) as error:
        raise BadPayload(f"The author and assignees of an issue could not be read: {error!r}") from error


def comment_url(web: str, key: str, comment_id: str) -> str:
    url_vars = repository_and_number(key)
    return (
        f"{web}/{url_vars['owner']}/{url_vars['repo']}/issues/{url_vars['number']}#issuecomment-{comment_id}"
    )
