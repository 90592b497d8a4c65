"""Comments and their properties.

See https://developer.atlassian.com/cloud/jira/platform/rest/v3/api-group-issue-comments/ and
.../api-group-issue-comment-properties/. A list of an issue's comments never shows properties; POST
/comment/list does.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from connectors.sandbox.faults import PAGE_SIZE
from connectors.sandbox.jira import adf
from connectors.sandbox.jira.answers import BAD_PAYLOAD, Call, Handler, JiraError
from connectors.sandbox.jira.views import comment as shown, dump

if TYPE_CHECKING:
    from starlette.responses import Response

    from connectors.sandbox.jira.records import Comment, Issue, Json

MOST_COMMENTS = 5000
MOST_LISTED = 1000
LONGEST_BODY = 32_767
LONGEST_KEY, LARGEST_VALUE = 255, 32_768
ORDERS = {None: False, "created": False, "+created": False, "-created": True}


def handlers() -> list[tuple[str, str, Handler]]:
    comment_path = "issue/{issue}/comment/{comment}"
    property_path = "comment/{comment}/properties/{key}"
    return [
        ("GET", "issue/{issue}/comment", page),
        ("POST", "issue/{issue}/comment", create),
        ("GET", comment_path, read),
        ("PUT", comment_path, edit),
        ("DELETE", comment_path, delete),
        ("POST", "comment/list", by_ids),
        ("GET", property_path, read_property),
        ("PUT", property_path, write_property),
    ]


async def page(call: Call) -> Response:
    issue = call.issue()
    order = call.request.query_params.get("orderBy")
    if order not in ORDERS:
        raise JiraError(400, f"Can not order by field: {order}.")
    start, most = call.number("startAt", 0), min(call.number("maxResults", 100), 5000)
    comments = issue.comments[::-1] if ORDERS[order] else issue.comments
    part = comments[start : start + min(most, call.request.scope.get(PAGE_SIZE, most))]
    body = [shown(call.site, issue, comment) for comment in part]
    return call.reply({"startAt": start, "maxResults": most, "total": len(issue.comments), "comments": body})


async def create(call: Call) -> Response:
    issue = call.issue()
    if not call.may("ADD_COMMENTS", issue.project):
        raise JiraError(400, comment="You do not have the permission to comment on this issue.")
    if len(issue.comments) >= MOST_COMMENTS:
        raise JiraError(413, f"The issue has reached the limit of {MOST_COMMENTS} comments.")
    body = await call.body()
    properties = _properties(body.get("properties", []))
    made = call.site.comment(issue.id, _document(body), call.known(), properties)
    return call.reply(shown(call.site, issue, made), 201)


async def read(call: Call) -> Response:
    issue, comment = _comment_of_issue(call)
    return call.reply(shown(call.site, issue, comment))


async def edit(call: Call) -> Response:
    issue, comment = _comment_of_issue(call)
    _require_author(call, issue, comment, "EDIT", "edit")
    body = await call.body()
    call.site.edit_comment(comment.id, _document(body))
    comment.properties |= _properties(body.get("properties", []))
    return call.reply(shown(call.site, issue, comment))


async def delete(call: Call) -> Response:
    issue, comment = _comment_of_issue(call)
    _require_author(call, issue, comment, "DELETE", "delete")
    call.site.delete_comment(comment.id)
    return call.done()


async def by_ids(call: Call) -> Response:
    """Comments by id. The answer leaves out those that do not exist or that the viewer may not see."""
    body = await call.body(
        {"ids": lambda ids: isinstance(ids, list) and all(type(one) is int for one in ids)}
    )
    ids = body.get("ids", [])
    if not 0 < len(ids) <= MOST_LISTED:
        raise JiraError(400, f"Between 1 and {MOST_LISTED} comment ids are needed.")
    found = [call.site.comments[str(one)] for one in ids if str(one) in call.site.comments]
    with_properties = "properties" in call.request.query_params.get("expand", "")
    values = [
        shown(call.site, issue, comment, properties=with_properties)
        for issue, comment in found
        if call.sees(issue)
    ]
    return call.reply(
        {"startAt": 0, "maxResults": MOST_LISTED, "total": len(values), "isLast": True, "values": values}
    )


async def read_property(call: Call) -> Response:
    _, comment = _comment_by_id(call)
    key = call.request.path_params["key"]
    if key not in comment.properties:
        raise JiraError(404, f"The comment has no property '{key}'.")
    return call.reply({"key": key, "value": comment.properties[key]})


async def write_property(call: Call) -> Response:
    issue, comment = _comment_by_id(call)
    _require_author(call, issue, comment, "EDIT", "edit", status=403)
    key = call.request.path_params["key"]
    try:
        value = json.loads(await call.request.body())
    except ValueError:
        raise JiraError(400, BAD_PAYLOAD) from None
    status = 200 if key in comment.properties else 201
    comment.properties |= _properties([{"key": key, "value": value}])
    return call.reply(b"{}", status)


def _comment_of_issue(call: Call) -> tuple[Issue, Comment]:
    issue = call.issue()
    found = call.site.comments.get(call.request.path_params["comment"])
    if found is None or found[0] is not issue:
        raise JiraError(404, f"Can not find a comment for the id: {call.request.path_params['comment']}.")
    return found


def _comment_by_id(call: Call) -> tuple[Issue, Comment]:
    found = call.site.comments.get(call.request.path_params["comment"])
    if found is None or not call.sees(found[0]):
        raise JiraError(404, f"Can not find a comment for the id: {call.request.path_params['comment']}.")
    return found


def _require_author(
    call: Call, issue: Issue, comment: Comment, right: str, verb: str, status: int = 400
) -> None:
    own = comment.author == call.viewer and call.may(f"{right}_OWN_COMMENTS", issue.project)
    if not own and not call.may(f"{right}_ALL_COMMENTS", issue.project):
        raise JiraError(status, f"You do not have the permission to {verb} this comment.")


def _document(body: Json) -> Json:
    document: Json = body.get("body", {})
    if not adf.is_document(document):
        raise JiraError(400, comment="Comment body is not valid!")
    if not document["content"]:
        raise JiraError(400, comment="Comment body can not be empty!")
    if len(dump(document)) > LONGEST_BODY:
        raise JiraError(
            400,
            comment=f"The entered text is too long. The allowed limit is {LONGEST_BODY:,} characters.",
        )
    return document


def _properties(entries: Any) -> dict[str, Any]:
    if not isinstance(entries, list) or not all(isinstance(one, dict) and "key" in one for one in entries):
        raise JiraError(400, BAD_PAYLOAD)
    for one in entries:
        if not 0 < len(one["key"]) <= LONGEST_KEY or len(dump(one.get("value"))) > LARGEST_VALUE:
            raise JiraError(400, "The property key or its value is too long.")
    return {one["key"]: one.get("value") for one in entries}
