"""Comments of issues, oldest first. See https://docs.github.com/rest/issues/comments."""

from __future__ import annotations

from typing import TYPE_CHECKING

from connectors.sandbox.github.answers import Call, GitHubError, Handler, invalid
from connectors.sandbox.github.issues import LONGEST_BODY, moment
from connectors.sandbox.github.views import dump

if TYPE_CHECKING:
    from starlette.responses import Response

    from connectors.sandbox.github.records import Comment, Issue


def handlers() -> list[tuple[str, str, Handler]]:
    return [
        ("GET", "{repository}/issues/{number:int}/comments", page),
        ("GET", "{repository}/issues/comments", page_of_repository),
        ("POST", "{repository}/issues/{number:int}/comments", create),
        ("GET", "{repository}/issues/comments/{comment:int}", read),
        ("PATCH", "{repository}/issues/comments/{comment:int}", edit),
        ("DELETE", "{repository}/issues/comments/{comment:int}", delete),
    ]


async def page(call: Call) -> Response:
    issue, query = call.issue(), call.request.query_params
    since = moment(query["since"]) if "since" in query else None
    found = [comment for comment in issue.comments if since is None or comment.updated >= since]
    return call.page(found, lambda comment: dump(call.views.comment(issue, comment)))


async def page_of_repository(call: Call) -> Response:
    """The comments of all issues, by their ids; sorted, the earliest or latest first."""
    repository, query = call.repository(), call.request.query_params
    call.must_read_issues(repository)
    since = moment(query["since"]) if "since" in query else None
    found = [
        (issue, comment)
        for issue in repository.issues.values()
        for comment in issue.comments
        if since is None or comment.updated >= since
    ]
    found.sort(key=lambda pair: pair[1].id)
    if "sort" in query:
        by_update = call.choice("sort", "created", {"created", "updated"}) == "updated"
        backwards = call.choice("direction", "desc", {"asc", "desc"}) == "desc"
        found.sort(key=lambda pair: pair[1].updated if by_update else pair[1].created, reverse=backwards)
    return call.page(found, lambda pair: dump(call.views.comment(*pair)))


async def create(call: Call) -> Response:
    issue = call.issue()
    call.must_comment(issue, "create")
    made = call.host.comment(issue.key, await _text(call), call.known())
    shown = call.views.comment(issue, made)
    return call.reply(shown, 201, {"Location": shown["url"]})


async def read(call: Call) -> Response:
    issue, comment = comment_of_repository(call)
    return call.reply(call.views.comment(issue, comment))


async def edit(call: Call) -> Response:
    issue, comment = _editable_comment(call, "update")
    call.host.edit_comment(comment.id, await _text(call), by=call.known())
    return call.reply(call.views.comment(issue, comment))


async def delete(call: Call) -> Response:
    _, comment = _editable_comment(call, "delete")
    call.host.delete_comment(comment.id, by=call.known())
    return call.done()


def comment_of_repository(call: Call) -> tuple[Issue, Comment]:
    repository = call.repository()
    found = call.host.comments.get(call.request.path_params["comment"])
    if found is None or found[0].repository is not repository:
        raise GitHubError(404, "Not Found")
    return found


def _editable_comment(call: Call, verb: str) -> tuple[Issue, Comment]:
    """One of the caller's own, or any for the bot where its role is `push`."""
    issue, comment = comment_of_repository(call)
    call.must_comment(issue, verb)
    if comment.author != call.viewer and not call.pushes_as_bot(issue.repository):
        raise GitHubError(403, "Must have admin rights to Repository.")
    return issue, comment


async def _text(call: Call) -> str:
    text = (await call.body()).get("body")
    if not isinstance(text, str) or not text.strip():
        raise invalid("IssueComment", "body", "missing_field")
    if len(text) > LONGEST_BODY:
        raise invalid("IssueComment", "body")
    return text
