"""A project with as many epics as a bench wants."""

from __future__ import annotations

from datetime import timedelta

from connectors.sandbox.jira.site import JiraSite

SENTENCE = "Part {n} of the programme: fewer steps for the customer and fewer hands for us. "


def add_crowd(site: JiraSite, project: str, count: int) -> None:
    """`count` epics, changed one a minute up to the site's now; every tenth has a link line."""
    if project not in site.projects:
        site.add_project(project, f"Programme {project}")
    now = site.clock()
    for n in range(count):
        changed = now - timedelta(minutes=count - n)
        lines = [SENTENCE.format(n=n) * 3, *([f"Key-Result: KR-{n % 7 + 1}"] if n % 10 == 0 else [])]
        site.create(
            project,
            f"Programme part {n}: one step less",
            description="\n".join(lines),
            status=("To Do", "In Progress", "In Review", "Done")[n % 4],
            labels=[f"area-{n % 23}", f"team-{n % 7}"],
            components=[("web", "data", "compute")[n % 3]],
            assignee=f"lead-{n % 11}",
            created=changed - timedelta(days=30 + n % 200),
            updated=changed,
        )
