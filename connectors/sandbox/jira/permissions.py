"""Permission queries: an account's own permissions, and those of other accounts in bulk.

See https://developer.atlassian.com/cloud/jira/platform/rest/v3/api-group-permissions/.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from connectors.sandbox.jira.answers import BAD_PAYLOAD, Call, Handler, JiraError
from connectors.sandbox.jira.rights import GLOBAL_PERMISSIONS, PROJECT_PERMISSIONS, administers, may

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.responses import Response

    from connectors.sandbox.jira.records import Account, Json, Project

KNOWN = PROJECT_PERMISSIONS | GLOBAL_PERMISSIONS
MOST_CHECKED = 1000
ENTRY_MEMBERS = frozenset({"permissions", "projects", "issues"})


def handlers() -> list[tuple[str, str, Handler]]:
    return [("GET", "mypermissions", my_permissions), ("POST", "permissions/check", check)]


async def my_permissions(call: Call) -> Response:
    """The viewer's own permissions. The parameter `permissions` is required. Without a project or an issue, a
    permission in any project counts."""
    requested = [name for name in call.request.query_params.get("permissions", "").split(",") if name]
    if not requested or not set(requested) <= set(KNOWN):
        raise JiraError(400, "The 'permissions' query parameter is required and must hold known permissions.")
    projects = _queried_projects(call)
    held = {
        name: {
            "id": str(number),
            "key": name,
            "name": KNOWN[name],
            "type": "GLOBAL" if name in GLOBAL_PERMISSIONS else "PROJECT",
            "description": "",
            "havePermission": administers(call.site, call.viewer)
            if name in GLOBAL_PERMISSIONS
            else any(call.may(name, project) for project in projects),
        }
        for number, name in enumerate(requested, 1)
    }
    return call.reply({"permissions": held})


def _queried_projects(call: Call) -> list[Project]:
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


async def check(call: Call) -> Response:
    """Permissions of one account. Only an administrator may query another's. Unknown ids are left out."""
    body = await call.body(
        {"accountId": _is_text, "globalPermissions": _is_list, "projectPermissions": _is_list}
    )
    account = _checked_account(call, body.get("accountId"))
    global_names = [name for name in body.get("globalPermissions", []) if name is not None]
    _require_known(GLOBAL_PERMISSIONS, global_names)
    granted: list[Json] = []
    for entry in body.get("projectPermissions", []):
        granted += _granted(call, account, entry)
    held = sorted(set(global_names)) if administers(call.site, account) else []
    return call.reply({"globalPermissions": held, "projectPermissions": granted})


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


MEMBERS = {"accountId": _is_text, "globalPermissions": _is_list, "projectPermissions": _is_list}


def _checked_account(call: Call, account_id: str | None) -> Account | None:
    viewer = call.viewer
    if account_id is None or (viewer is not None and viewer.account_id == account_id):
        return viewer
    if not administers(call.site, viewer):
        raise JiraError(403, "Only Jira administrators can perform this operation.")
    for account in call.site.accounts.values():
        if account.account_id == account_id:
            return account
    raise JiraError(400, accountId="The account ID is not valid.")


def _require_known(known: Iterable[str], names: list[Any]) -> None:
    if wrong := [str(name) for name in names if not isinstance(name, str) or name not in known]:
        raise JiraError(400, **dict.fromkeys(wrong, "Unrecognized permission"))


def _granted(call: Call, account: Account | None, entry: Any) -> list[Json]:
    """For each permission of one entry, its projects and issues where the account holds it."""
    if (
        not isinstance(entry, dict)
        or not set(entry) <= ENTRY_MEMBERS
        or not all(map(_is_list, entry.values()))
    ):
        raise JiraError(400, BAD_PAYLOAD)
    names = [name for name in entry.get("permissions", []) if name != ""]
    if not names:
        raise JiraError(400, permissions="At least one project permission is needed.")
    _require_known(PROJECT_PERMISSIONS, names)
    site = call.site
    projects = [one for one in site.projects.values() if int(one.id) in entry.get("projects", [])]
    issues = [found for one in entry.get("issues", []) if (found := site.issues.get(str(one)))]
    if len(projects) > MOST_CHECKED or len(issues) > MOST_CHECKED:
        raise JiraError(400, f"At most {MOST_CHECKED} projects and {MOST_CHECKED} issues can be checked.")
    return [
        {
            "permission": name,
            "projects": [int(one.id) for one in projects if may(site, account, name, one)],
            "issues": [int(one.id) for one in issues if may(site, account, name, one.project)],
        }
        for name in dict.fromkeys(names)
    ]
