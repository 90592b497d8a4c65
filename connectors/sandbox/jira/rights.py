"""The permissions of accounts on a simulated Jira site."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from connectors.sandbox.jira.records import Account, Project
    from connectors.sandbox.jira.site import JiraSite

PROJECT_PERMISSIONS = {
    "BROWSE_PROJECTS": "Browse Projects",
    "ADD_COMMENTS": "Add Comments",
    "EDIT_OWN_COMMENTS": "Edit Own Comments",
    "EDIT_ALL_COMMENTS": "Edit All Comments",
    "DELETE_OWN_COMMENTS": "Delete Own Comments",
    "DELETE_ALL_COMMENTS": "Delete All Comments",
    "CREATE_ISSUES": "Create Issues",
    "EDIT_ISSUES": "Edit Issues",
    "DELETE_ISSUES": "Delete Issues",
    "LINK_ISSUES": "Link Issues",
    "ADMINISTER_PROJECTS": "Administer Projects",
}
GLOBAL_PERMISSIONS = {"ADMINISTER": "Administer Jira"}
# Only the bot can have these, in projects where the site grants them.
GRANTED_ONLY = frozenset({"EDIT_ALL_COMMENTS", "DELETE_ALL_COMMENTS", "ADMINISTER_PROJECTS"})
OUTSIDER_PERMISSIONS = frozenset(
    {"BROWSE_PROJECTS", "ADD_COMMENTS", "EDIT_OWN_COMMENTS", "DELETE_OWN_COMMENTS"}
)


def may(site: JiraSite, account: Account | None, permission: str, project: Project) -> bool:
    """Whether the account holds a project permission. None (anonymous) and inactive accounts hold none,
    except that everyone may browse a public project."""
    if account is None or not account.active:
        return project.public and permission == "BROWSE_PROJECTS"
    if project.archived and permission != "BROWSE_PROJECTS":
        return False
    if permission in GRANTED_ONLY:
        return account == site.bot and (permission, project.key) in site.granted
    if account == site.bot:
        return (permission, project.key) not in site.denied
    return not account.outsider or permission in OUTSIDER_PERMISSIONS


def administers(site: JiraSite, account: Account | None) -> bool:
    return account is not None and account.account_id in site.administrators
