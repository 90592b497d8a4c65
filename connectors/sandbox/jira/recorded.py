"""Loads a recorded Jira issue into a site, which then serves it as it was recorded."""

from __future__ import annotations

from connectors.sandbox.jira import adf
from connectors.sandbox.jira.records import Issue, IssueType, Json, Project, Status
from connectors.sandbox.jira.site import JiraSite, parse_time


def load_recorded(site: JiraSite, raw: Json) -> Issue:
    """Adds the issue, and its project, type and status if missing; recorded fields are served until edited.

    `raw` is a REST answer for one issue. Its id and key stay. Raises LookupError if the id is in use.
    """
    if raw["id"] in site.issues:
        raise LookupError(f"issue id {raw['id']} is taken")
    fields = raw["fields"]
    prefix, _, number = raw["key"].rpartition("-")
    project = _project(site, prefix, fields.get("project") or {})
    project.last_number = max(project.last_number, int(number))
    description = fields.get("description")
    parent = fields.get("parent") or {}
    issue = Issue(
        raw["id"],
        project,
        int(number),
        _type(site, fields["issuetype"]),
        fields.get("summary") or "",
        _status(site, fields.get("status") or {}),
        parse_time(fields["created"]),
        parse_time(fields["updated"]),
        site.account("recorded-user"),
        adf.from_text(description) if isinstance(description, str) else description,
        labels=list(fields.get("labels") or []),
        parent=site.find(parent.get("id", "")),
        recorded={name: value for name, value in fields.items() if name != "comment"},
    )
    site.admit(issue)
    return issue


def _project(site: JiraSite, key: str, raw: Json) -> Project:
    if key not in site.projects:
        made = Project(
            raw.get("id") or site.new_id(),
            key,
            raw.get("name") or key,
            raw.get("projectTypeKey") or "software",
        )
        site.projects[key] = made
    return site.projects[key]


def _type(site: JiraSite, raw: Json) -> IssueType:
    kind = IssueType(raw["id"], raw["name"], raw.get("hierarchyLevel", -1 if raw.get("subtask") else 0))
    return site.types.setdefault(kind.id, kind)


def _status(site: JiraSite, raw: Json) -> Status:
    category = (raw.get("statusCategory") or {}).get("key", "new")
    name = raw.get("name") or "To Do"
    return site.statuses.setdefault(name, Status(raw.get("id") or site.new_id(), name, category))
