"""The JSON of a GitHub host for users, repositories, issues and comments."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from connectors.sandbox.github.links import REPOSITORY_LINKS, USER_LINKS, USER_NAMES
from connectors.sandbox.github.records import (
    ROLES,
    Account,
    Comment,
    Issue,
    IssueField,
    IssueType,
    Json,
    Milestone,
    Reaction,
    Repository,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

JOINED_AT = "2011-01-25T18:44:36Z"
REACTIONS = ("+1", "-1", "laugh", "confused", "heart", "hooray", "eyes", "rocket")


Association = Callable[[Repository, Account], str]


def dump(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def stamp(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


class Views:
    """Renders JSON for one address: `web` is the base URL of the pages, `api` that of the REST calls."""

    def __init__(
        self,
        web: str,
        api: str,
        features: frozenset[str],
        association: Association,
        fields: Mapping[int, IssueField],
    ) -> None:
        self.web, self.api, self.features, self.association = web, api, features, association
        self.fields = fields
        self._users: dict[int, Json] = {}

    def user(self, account: Account) -> Json:
        cached = self._users.get(account.id)
        if cached is None:
            url = f"{self.api}/users/{account.login}"
            links = {name.partition("{")[0]: f"{url}/{name}" for name in USER_LINKS}
            cached = self._users[account.id] = {
                "login": account.login,
                "id": account.id,
                "node_id": f"U_{account.id}",
                "avatar_url": f"{self.web}/avatars/{account.id}",
                "gravatar_id": "",
                "url": url,
                "html_url": f"{self.web}/{account.login}",
                **{f"{USER_NAMES.get(name, name)}_url": link for name, link in links.items()},
                "type": account.kind,
                "site_admin": False,
            }
        return cached

    def organization(self, account: Account) -> Json:
        """An organisation as in a webhook."""
        url = f"{self.api}/orgs/{account.login}"
        links = ("repos", "events", "hooks", "issues")
        return {
            "login": account.login,
            "id": account.id,
            "node_id": f"O_{account.id}",
            "url": url,
            **{f"{name}_url": f"{url}/{name}" for name in links},
            "members_url": f"{url}/members{{/member}}",
            "public_members_url": f"{url}/public_members{{/member}}",
            "avatar_url": f"{self.web}/avatars/{account.id}",
            "description": "",
        }

    def me(self, account: Account) -> Json:
        return {
            **self.user(account),
            "user_view_type": "public",
            **dict.fromkeys(("name", "company", "location", "email", "hireable", "bio")),
            "blog": "",
            **dict.fromkeys(("public_repos", "public_gists", "followers", "following"), 0),
            "created_at": JOINED_AT,
            "updated_at": JOINED_AT,
        }

    def repository(self, value: Repository, *, full: bool = False) -> Json:
        """A repository: with `full` as GET of one repository shows it, otherwise as in a list."""
        url = f"{self.api}/repos/{value.full_name}"
        page = f"{self.web}/{value.full_name}"
        count = sum(issue.state == "open" for issue in value.issues.values())
        shown: Json = {
            "id": value.id,
            "node_id": f"R_{value.id}",
            "name": value.name,
            "full_name": value.full_name,
            "owner": self.user(value.owner),
            "private": value.private,
            "visibility": "private" if value.private else "public",
            "html_url": page,
            "description": value.description or None,
            "url": url,
            **{name: f"{url}/{rest}" for name, rest in REPOSITORY_LINKS.items()},
            **dict.fromkeys(("git_url", "ssh_url", "clone_url"), f"{page}.git"),
            "svn_url": page,
            **dict.fromkeys(("fork", "disabled", "has_wiki", "has_pages", "has_projects"), False),
            "archived": value.archived,
            **dict.fromkeys(("has_issues", "has_downloads"), True),
            **dict.fromkeys(("mirror_url", "homepage", "language", "license"), None),
            **dict.fromkeys(
                ("forks", "forks_count", "stargazers_count", "watchers", "watchers_count", "size"), 0
            ),
            "default_branch": "main",
            "open_issues": count,
            "open_issues_count": count,
            "has_discussions": False,
            "topics": [],
            **dict.fromkeys(("created_at", "updated_at", "pushed_at"), stamp(value.created)),
            "permissions": {name: ROLES.index(name) <= ROLES.index(value.role) for name in ROLES},
        }
        if full:
            shown |= {"network_count": 0, "subscribers_count": 0}
            if value.owner.kind == "Organization":
                shown["organization"] = self.user(value.owner)
        return shown

    def issue_type(self, kind: IssueType) -> Json:
        return {
            "id": kind.id,
            "node_id": f"IT_{kind.id}",
            "name": kind.name,
            "description": None,
            "color": kind.color,
            "is_enabled": True,
        }

    def issue_field(self, one: IssueField) -> Json:
        shown = {"id": one.id, "node_id": f"IF_{one.id}", "name": one.name, "description": None}
        options = [self._option(one, name) for name in one.options]
        return shown | {"data_type": one.kind} | ({"options": options} if options else {})

    def changed_field(self, one: IssueField) -> Json:
        return {"id": one.id, "name": one.name, "field_type": one.kind}

    def field_value(self, one: IssueField, value: Any) -> Json:
        """The value of a select is that of the option, which is shown beside it; several are joined."""
        shown = {
            "issue_field_id": one.id, "issue_field_name": one.name, "node_id": f"IFV_{one.id}",
            "data_type": one.kind, "value": value,
        }  # fmt: skip
        if one.kind == "single_select":
            shown["single_select_option"] = self._option(one, value)
        if one.kind == "multi_select":
            shown["value"] = ",".join(value)
            shown["multi_select_options"] = [self._option(one, name) for name in value]
        return shown

    def _option(self, one: IssueField, name: str) -> Json:
        return {"id": one.id * 100 + one.options.index(name), "name": name, "color": "blue"}

    def label(self, repository: Repository, name: str) -> Json:
        number = repository.labels.setdefault(name, len(repository.labels) + 1)
        return {
            "id": repository.id * 100 + number,
            "node_id": f"LA_{repository.id}_{number}",
            "url": f"{self.api}/repos/{repository.full_name}/labels/{number}",
            "name": name,
            "color": "5319e7" if name == "epic" else "c5def5",
            "default": False,
            "description": None,
        }

    def milestone(self, repository: Repository, value: Milestone) -> Json:
        url = f"{self.api}/repos/{repository.full_name}/milestones/{value.number}"
        states = [issue.state for issue in repository.issues.values() if issue.milestone is value]
        return {
            "url": url,
            "html_url": f"{self.web}/{repository.full_name}/milestone/{value.number}",
            "labels_url": f"{url}/labels",
            "id": value.id,
            "node_id": f"MI_{value.id}",
            "number": value.number,
            "title": value.title,
            "description": "",
            "creator": self.user(repository.owner),
            "open_issues": states.count("open"),
            "closed_issues": states.count("closed"),
            "state": "open",
            "created_at": stamp(value.created),
            "updated_at": stamp(value.created),
            "due_on": stamp(value.due_on) if value.due_on else None,
            "closed_at": None,
        }

    def comment(self, issue: Issue, value: Comment) -> Json:
        url = f"{self.api}/repos/{issue.repository.full_name}"
        return {
            "url": f"{url}/issues/comments/{value.id}",
            "html_url": f"{self.page(issue)}#issuecomment-{value.id}",
            "issue_url": f"{url}/issues/{issue.number}",
            "id": value.id,
            "node_id": f"IC_{value.id}",
            "user": self.user(value.author),
            "created_at": stamp(value.created),
            "updated_at": stamp(value.updated),
            "body": value.body,
            "author_association": self.association(issue.repository, value.author),
            "reactions": self._reactions(f"{url}/issues/comments/{value.id}", value.reactions),
            "performed_via_github_app": self._app(value) if value.relayed_by else None,
        }

    def _app(self, value: Comment) -> Json:
        return {
            "id": 1_001,
            "slug": value.relayed_by,
            "node_id": "A_1001",
            "owner": self.user(value.author),
            "name": value.relayed_by,
            "description": None,
            "external_url": f"{self.web}/apps/{value.relayed_by}",
            "html_url": f"{self.web}/apps/{value.relayed_by}",
            "created_at": stamp(value.created),
            "updated_at": stamp(value.created),
            "permissions": {"issues": "write", "metadata": "read"},
            "events": [],
        }

    def reaction(self, value: Reaction) -> Json:
        return {
            "id": value.id,
            "node_id": f"REA_{value.id}",
            "user": self.user(value.account),
            "content": value.content,
            "created_at": stamp(value.created),
        }

    def page(self, issue: Issue) -> str:
        kind = "pull" if issue.pull_request else "issues"
        return f"{self.web}/{issue.repository.full_name}/{kind}/{issue.number}"

    def _reactions(self, url: str, reactions: Sequence[Reaction] = ()) -> Json:
        contents = [one.content for one in reactions]
        counts = {content: contents.count(content) for content in REACTIONS}
        return {"url": f"{url}/reactions", "total_count": len(contents), **counts}

    def issue_bytes(self, issue: Issue) -> bytes:
        """One issue as JSON, cached on the issue until it changes."""
        cached = issue.rendered.get(self.api)
        if cached is None:
            cached = issue.rendered[self.api] = dump(self.issue(issue) | issue.recorded)
        return cached

    def issue(self, issue: Issue) -> Json:
        repository = issue.repository
        home = f"{self.api}/repos/{repository.full_name}"
        url = f"{home}/issues/{issue.number}"
        people = [self.user(account) for account in issue.assignees]
        shown: Json = {
            "url": url,
            "repository_url": home,
            "labels_url": f"{url}/labels{{/name}}",
            "comments_url": f"{url}/comments",
            "events_url": f"{url}/events",
            "timeline_url": f"{url}/timeline",
            "html_url": self.page(issue),
            "id": issue.id,
            "node_id": f"I_{issue.id}",
            "number": issue.number,
            "title": issue.title,
            "user": self.user(issue.author),
            "labels": [self.label(repository, name) for name in issue.labels],
            "state": issue.state,
            "state_reason": issue.state_reason,
            "locked": issue.locked,
            "active_lock_reason": None,
            "assignee": people[0] if people else None,
            "assignees": people,
            "milestone": self.milestone(repository, issue.milestone) if issue.milestone else None,
            "comments": len(issue.comments),
            "created_at": stamp(issue.created),
            "updated_at": stamp(issue.updated),
            "closed_at": stamp(issue.closed) if issue.closed else None,
            "author_association": self.association(repository, issue.author),
            "body": issue.body,
            "reactions": self._reactions(url),
            "performed_via_github_app": None,
        }
        for feature, add in FEATURE_FIELDS.items():
            if feature in self.features:
                add(self, issue, shown)
        if issue.pull_request:
            shown["draft"] = False
            shown["pull_request"] = {
                "url": f"{home}/pulls/{issue.number}",
                "html_url": self.page(issue),
                "diff_url": f"{self.page(issue)}.diff",
                "patch_url": f"{self.page(issue)}.patch",
                "merged_at": stamp(issue.closed) if issue.closed else None,
            }
        return shown


def _add_sub_issues(views: Views, issue: Issue, shown: Json) -> None:
    total = len(issue.children)
    completed = sum(child.state == "closed" for child in issue.children)
    shown["sub_issues_summary"] = {
        "total": total,
        "completed": completed,
        "percent_completed": completed * 100 // total if total else 0,
    }
    parent = issue.parent
    shown["parent_issue_url"] = (
        f"{views.api}/repos/{parent.repository.full_name}/issues/{parent.number}" if parent else None
    )


def _add_fields(views: Views, issue: Issue, shown: Json) -> None:
    shown["issue_field_values"] = [
        views.field_value(views.fields[id], value) for id, value in sorted(issue.fields.items())
    ]


def _add_type(views: Views, issue: Issue, shown: Json) -> None:
    shown["type"] = views.issue_type(issue.type) if issue.type else None


FEATURE_FIELDS: dict[str, Callable[[Views, Issue, Json], None]] = {
    "sub_issues": _add_sub_issues,
    "issue_types": _add_type,
    "issue_fields": _add_fields,
}
