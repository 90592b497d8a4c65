"""What a client requests before issues: its own account, the server, projects, types and fields."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from connectors.sandbox.jira.answers import JiraError
from connectors.sandbox.jira.views import SITE, field_details, issue_type, link, project, stamp, user

if TYPE_CHECKING:
    from starlette.responses import Response

    from connectors.sandbox.jira.answers import Call, Handler

LARGEST_PAGE = 100


def handlers() -> list[tuple[str, str, Handler]]:
    return [
        ("GET", "myself", myself),
        ("GET", "serverInfo", server_info),
        ("GET", "issuetype", issue_types),
        ("GET", "field", fields),
        ("GET", "project/search", projects),
        ("GET", "project/{project}", one_project),
    ]


async def myself(call: Call) -> Response:
    return call.reply({**user(call.site, call.known()), "locale": "en_GB"})


async def server_info(call: Call) -> Response:
    return call.reply(
        {
            "baseUrl": SITE,
            "version": "1001.0.0-SNAPSHOT",
            "versionNumbers": [1001, 0, 0],
            "deploymentType": "Cloud",
            "buildNumber": 100300,
            "buildDate": "2026-10-01T00:00:00.000+0000",
            "serverTime": stamp(call.site.clock()),
            "scmInfo": "0" * 40,
            "serverTitle": call.site.title,
        }
    )


async def issue_types(call: Call) -> Response:
    """An anonymous request gets an empty list, not an error."""
    kinds = call.site.types.values() if call.viewer else []
    return call.reply([issue_type(call.site, kind) for kind in kinds])


async def fields(call: Call) -> Response:
    return call.reply(field_details() if call.viewer else [])


async def projects(call: Call) -> Response:
    start, most = call.number("startAt", 0), min(call.number("maxResults", 50), LARGEST_PAGE)
    query = call.request.query_params
    keys = {key for entry in query.getlist("keys") for key in entry.split(",")}
    ids = {one for entry in query.getlist("id") for one in entry.split(",")}
    kinds = {kind for entry in query.getlist("typeKey") for kind in entry.split(",")}
    visible = [
        one
        for one in sorted(call.site.projects.values(), key=lambda one: one.key)
        if call.may("BROWSE_PROJECTS", one)
        and not one.archived
        and (not keys or one.key in keys)
        and (not ids or one.id in ids)
        and (not kinds or one.type_key in kinds)
    ]
    path = f"project/search?startAt={{}}&maxResults={most}"
    body: dict[str, Any] = {
        "self": link(call.site, path.format(start)),
        "maxResults": most,
        "startAt": start,
        "total": len(visible),
        "isLast": start + most >= len(visible),
        "values": [project(call.site, one) for one in visible[start : start + most]],
    }
    if not body["isLast"]:
        body["nextPage"] = link(call.site, path.format(start + most))
    return call.reply(body)


async def one_project(call: Call) -> Response:
    """A former key leads to the project too; the answer has the present one."""
    found = call.site.project(call.request.path_params["project"])
    if found is None or not call.may("BROWSE_PROJECTS", found):
        raise JiraError(404, "No project could be found with that id or key.")
    archived = {"archived": True} if found.archived else {}
    return call.reply({**project(call.site, found), "assigneeType": "UNASSIGNED", "roles": {}, **archived})
