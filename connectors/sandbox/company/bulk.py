"""A project or a repository with as many epics as a benchmark needs."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from connectors.sandbox.github.host import GitHubHost
    from connectors.sandbox.jira.site import JiraSite

TITLE = "Programme part {n}: one step less"
SENTENCE = "Part {n} of the programme: fewer steps for the customer and fewer hands for us. "


def add_epics(site: JiraSite, project: str, count: int) -> None:
    """Adds `count` epics, last changed one minute apart up to the site's now; every tenth has a link line."""
    if project not in site.projects:
        site.add_project(project, f"Programme {project}")
    now = site.clock()
    for n in range(count):
        changed = now - timedelta(minutes=count - n)
        site.create(
            project,
            TITLE.format(n=n),
            description=_text(n),
            status=("To Do", "In Progress", "In Review", "Done")[n % 4],
            labels=[f"area-{n % 23}", f"team-{n % 7}"],
            components=[("web", "data", "compute")[n % 3]],
            assignee=f"lead-{n % 11}",
            created=changed - timedelta(days=30 + n % 200),
            updated=changed,
        )


def add_issues(host: GitHubHost, repository: str, count: int) -> None:
    """Like `add_epics`, on GitHub: issues with the label `epic`. Creates the repository if missing."""
    if host.find_repository(repository) is None:
        host.add_repository(repository)
    now = host.clock()
    for n in range(count):
        changed = now - timedelta(minutes=count - n)
        host.create(
            repository,
            TITLE.format(n=n),
            body=_text(n),
            state="closed" if n % 4 == 3 else "open",
            labels=["epic", f"area-{n % 23}", f"team-{n % 7}"],
            assignees=[f"lead-{n % 11}"],
            created=changed - timedelta(days=30 + n % 200),
            updated=changed,
        )


def _text(n: int) -> str:
    lines = [SENTENCE.format(n=n) * 3, *([f"Key-Result: KR-{n % 7 + 1}"] if n % 10 == 0 else [])]
    return "\n".join(lines)
