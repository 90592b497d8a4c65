"""Who may do what on a simulated Jira site."""

from __future__ import annotations

from connectors.sandbox.jira.records import Account, Project
from connectors.sandbox.jira.site import JiraSite

PROJECT_PERMISSIONS = {
    "BROWSE_PROJECTS": "Browse Projects",
    "ADD_COMMENTS": "Add Comments",
    "EDIT_OWN_COMMENTS": "Edit Own Comments",
    "EDIT_ALL_COMMENTS": "Edit All Comments",
    "DELETE_OWN_COMMENTS": "Delete Own Comments",
    "EDIT_ISSUES": "Edit Issues",
    "DELETE_ISSUES": "Delete Issues",
    "LINK_ISSUES": "Link Issues",
}
GLOBAL_PERMISSIONS = {"ADMINISTER": "Administer Jira"}
NOBODYS = frozenset({"EDIT_ALL_COMMENTS"})
OUTSIDERS = frozenset({"BROWSE_PROJECTS", "ADD_COMMENTS", "EDIT_OWN_COMMENTS", "DELETE_OWN_COMMENTS"})


def may(site: JiraSite, account: Account | None, permission: str, project: Project) -> bool:
    """Whether the account holds a project permission; a stranger and a deactivated one hold none."""
    if account is None or not account.active or permission in NOBODYS:
        return False
    if account == site.bot:
        return (permission, project.key) not in site.denied
    return not account.outsider or permission in OUTSIDERS


def administers(site: JiraSite, account: Account | None) -> bool:
    return account is not None and account.account_id in site.administrators
