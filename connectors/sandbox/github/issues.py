"""Issues: list, read, create, edit; sub-issues and parent.

See https://docs.github.com/rest/issues/issues. The list holds pull requests too and, without
`state`, only open issues.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from connectors.sandbox.github.answers import Call, GitHubError, Handler, invalid

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.responses import Response

    from connectors.sandbox.github.records import Issue, Json, Repository

SORTS: dict[str, Callable[[Issue], Any]] = {
    "created": lambda issue: (issue.created, issue.id),
    "updated": lambda issue: (issue.updated, issue.id),
    "comments": lambda issue: (len(issue.comments), issue.id),
}
LONGEST_BODY = 65_536
LONGEST_TITLE = 256


def handlers() -> list[tuple[str, str, Handler]]:
    return [
        ("GET", "{repository}/issues", page),
        ("POST", "{repository}/issues", create),
        ("GET", "{repository}/issues/{number:int}", read),
        ("PATCH", "{repository}/issues/{number:int}", edit),
        ("GET", "{repository}/issues/{number:int}/sub_issues", sub_issues),
        ("GET", "{repository}/issues/{number:int}/parent", parent),
    ]


async def page(call: Call) -> Response:
    repository = call.repository()
    call.must_read_issues(repository)
    found = _filtered(call, repository)
    sort = SORTS[call.choice("sort", "created", set(SORTS))]
    descending = call.choice("direction", "desc", {"asc", "desc"}) == "desc"
    found.sort(key=sort, reverse=descending)
    return call.page(found, call.views.issue_bytes, cursor=True)


def _filtered(call: Call, repository: Repository) -> list[Issue]:
    query = call.request.query_params
    state = call.choice("state", "open", {"open", "closed", "all"})
    labels = {name.lower() for name in query.get("labels", "").split(",") if name}
    since = moment(query["since"]) if "since" in query else None
    kind = query.get("type") if "issue_types" in call.host.features else None
    creator, assignee, milestone = query.get("creator"), query.get("assignee"), query.get("milestone")

    def matches(issue: Issue) -> bool:
        return (
            (state == "all" or issue.state == state)
            and (since is None or issue.updated >= since)
            and labels <= {name.lower() for name in issue.labels}
            and _matches_filter(kind, issue.type.name if issue.type else None)
            and _matches_filter(creator, issue.author.login)
            and _matches_assignee(assignee, issue)
            and _matches_filter(milestone, str(issue.milestone.number) if issue.milestone else None)
        )

    return [issue for issue in repository.issues.values() if matches(issue)]


def _matches_filter(filter_value: str | None, value: str | None) -> bool:
    """Whether a value matches a filter: `*` is any value, `none` is no value."""
    if filter_value is None:
        return True
    if filter_value in {"*", "none"}:
        return (value is None) == (filter_value == "none")
    return value is not None and value.lower() == filter_value.lower()


def _matches_assignee(filter_value: str | None, issue: Issue) -> bool:
    logins = [account.login for account in issue.assignees]
    if filter_value is None or filter_value in {"*", "none"}:
        return _matches_filter(filter_value, logins[0] if logins else None)
    return filter_value in logins


def moment(text: str) -> datetime:
    """An ISO 8601 time; without a zone it is in UTC. 422 for other text."""
    try:
        value = datetime.fromisoformat(text)
    except ValueError:
        raise invalid("Issue", "since") from None
    return value if value.tzinfo else value.replace(tzinfo=UTC)


async def read(call: Call) -> Response:
    return call.reply(call.views.issue_bytes(call.issue()))


async def create(call: Call) -> Response:
    repository, author = call.repository(), call.known()
    call.must_write(repository)
    changes = _changes(call, await call.body())
    if "title" not in changes:
        raise invalid("Issue", "title", "missing_field")
    made = call.host.create(repository.full_name, changes.pop("title"), author=author.login, **changes)
    shown = call.views.issue(made)
    return call.reply(shown, 201, {"Location": shown["url"]})


async def edit(call: Call) -> Response:
    issue = call.issue()
    call.must_write(issue.repository)
    call.host.edit(issue.key, by=call.known(), **_changes(call, await call.body()))
    return call.reply(call.views.issue_bytes(issue))


async def sub_issues(call: Call) -> Response:
    issue = call.issue()
    _require_feature(call, "sub_issues")
    return call.page(issue.children, call.views.issue_bytes)


async def parent(call: Call) -> Response:
    issue = call.issue()
    _require_feature(call, "sub_issues")
    if issue.parent is None or not call.sees(issue.parent.repository):
        raise GitHubError(404, "Not Found")
    return call.reply(call.views.issue_bytes(issue.parent))


def _require_feature(call: Call, feature: str) -> None:
    if feature not in call.host.features:
        raise GitHubError(404, "Not Found")


def _changes(call: Call, body: Json) -> dict[str, Any]:
    """The members of a body that change an issue. Unknown ones are ignored, as on GitHub."""
    changes = {name: READERS[name](call, body[name]) for name in READERS if name in body}
    if "state" in changes and body.get("state_reason"):
        changes["state_reason"] = body["state_reason"]
    if "issue_types" not in call.host.features:
        changes.pop("type", None)
    if "issue_field_values" in body and "issue_fields" in call.host.features:
        changes["fields"] = _fields(call, body["issue_field_values"])
    return changes


def _fields(call: Call, values: Any) -> Json:
    """By the field's name; an unknown id or option is refused."""
    found: Json = {}
    for one in values if isinstance(values, list) else ():
        number, chosen = (one.get("field_id"), one.get("value")) if isinstance(one, dict) else (None, None)
        known = call.host.fields.get(number) if isinstance(number, int) else None
        options = chosen if isinstance(chosen, list) else [chosen]
        if known is None or (known.options and not {*options} <= {None, *known.options}):
            raise invalid("Issue", "issue_field_values")
        found[known.name] = chosen
    return found


def _title(call: Call, value: Any) -> str:
    title = str(value or "")
    if not title.strip() or len(title) > LONGEST_TITLE:
        raise invalid("Issue", "title", "invalid" if title.strip() else "missing_field")
    return title


def _body(call: Call, value: Any) -> str:
    text = value or ""
    if not isinstance(text, str) or len(text) > LONGEST_BODY:
        raise invalid("Issue", "body")
    return text


def _state(call: Call, value: Any) -> str:
    if value not in {"open", "closed"}:
        raise invalid("Issue", "state")
    return str(value)


def _assignees(call: Call, value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(login, str) for login in value):
        raise invalid("Issue", "assignees")
    return value


def _type(call: Call, value: Any) -> str | None:
    if value is not None and value not in call.host.types:
        raise invalid("Issue", "type")
    return value  # type: ignore[no-any-return]


def _labels(call: Call, values: Any) -> list[str]:
    if not isinstance(values, list):
        raise invalid("Issue", "labels")
    names = [value.get("name") if isinstance(value, dict) else value for value in values]
    labels = [name for name in names if isinstance(name, str) and name]
    if len(labels) != len(names):
        raise invalid("Label", "name")
    return list(dict.fromkeys(labels))


READERS: dict[str, Callable[[Call, Any], Any]] = {
    "title": _title,
    "body": _body,
    "state": _state,
    "labels": _labels,
    "assignees": _assignees,
    "type": _type,
}
