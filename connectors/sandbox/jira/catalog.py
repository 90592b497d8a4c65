"""What a client asks before it asks for issues: who am I, which server, projects, types and rights."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from connectors.sandbox.jira.answers import Call, Handler, JiraError
from connectors.sandbox.jira.records import Project
from connectors.sandbox.jira.views import field_details, issue_type, link, project, stamp, user

PERMISSIONS = {
    "BROWSE_PROJECTS": "Browse Projects",
    "ADD_COMMENTS": "Add Comments",
    "EDIT_OWN_COMMENTS": "Edit Own Comments",
    "EDIT_ALL_COMMENTS": "Edit All Comments",
    "DELETE_OWN_COMMENTS": "Delete Own Comments",
    "EDIT_ISSUES": "Edit Issues",
    "DELETE_ISSUES": "Delete Issues",
    "LINK_ISSUES": "Link Issues",
    "ADMINISTER": "Administer Jira",
}
NEVER = frozenset({"ADMINISTER", "EDIT_ALL_COMMENTS"})
LARGEST_PAGE = 100


def handlers() -> list[tuple[str, str, Handler]]:
    return [
        ("GET", "myself", myself),
        ("GET", "serverInfo", server_info),
        ("GET", "issuetype", issue_types),
        ("GET", "field", fields),
        ("GET", "project/search", projects),
        ("GET", "mypermissions", my_permissions),
    ]


async def myself(call: Call) -> Response:
    return call.reply({**user(call.site, call.known()), "locale": "en_GB"})


async def server_info(call: Call) -> Response:
    return call.reply(
        {
            "baseUrl": "https://acme.atlassian.example",
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
    """A stranger gets an empty list, not an error."""
    kinds = call.site.types.values() if call.viewer else []
    return call.reply([issue_type(call.site, kind) for kind in kinds])


async def fields(call: Call) -> Response:
    return call.reply(field_details() if call.viewer else [])


async def projects(call: Call) -> Response:
    start, most = call.number("startAt", 0), min(call.number("maxResults", 50), LARGEST_PAGE)
    query = call.request.query_params
    keys = {key for entry in query.getlist("keys") for key in entry.split(",")}
    kinds = {kind for entry in query.getlist("typeKey") for kind in entry.split(",")}
    seen = [
        one
        for one in sorted(call.site.projects.values(), key=lambda one: one.key)
        if call.may("BROWSE_PROJECTS", one)
        and (not keys or one.key in keys)
        and (not kinds or one.type_key in kinds)
    ]
    path = f"project/search?startAt={{}}&maxResults={most}"
    body: dict[str, Any] = {
        "self": link(call.site, path.format(start)),
        "maxResults": most,
        "startAt": start,
        "total": len(seen),
        "isLast": start + most >= len(seen),
        "values": [project(call.site, one) for one in seen[start : start + most]],
    }
    if not body["isLast"]:
        body["nextPage"] = link(call.site, path.format(start + most))
    return call.reply(body)


async def my_permissions(call: Call) -> Response:
    """The parameter `permissions` is a must. Without a project or an issue: in any project at all."""
    asked = [name for name in call.request.query_params.get("permissions", "").split(",") if name]
    if not asked or not set(asked) <= set(PERMISSIONS):
        raise JiraError(400, "The 'permissions' query parameter is required and must hold known permissions.")
    places = _places(call)
    held = {
        name: {
            "id": str(number),
            "key": name,
            "name": PERMISSIONS[name],
            "type": "GLOBAL" if name == "ADMINISTER" else "PROJECT",
            "description": "",
            "havePermission": name not in NEVER and any(call.may(name, place) for place in places),
        }
        for number, name in enumerate(asked, 1)
    }
    return call.reply({"permissions": held})


def _places(call: Call) -> list[Project]:
    query, known = call.request.query_params, list(call.site.projects.values())
    if issue_name := query.get("issueKey") or query.get("issueId"):
        issue = call.site.find(issue_name)
        known = [issue.project] if issue else []
    elif name := query.get("projectKey") or query.get("projectId"):
        known = [one for one in known if name in {one.key, one.id}]
    else:
        return known
    if not known or not call.may("BROWSE_PROJECTS", known[0]):
        raise JiraError(404, "The project or issue could not be found.")
    return known
