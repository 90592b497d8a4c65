"""Whether GitHub has the labels and issue types by which a source finds its epics."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from connectors.base import BadPayload, Gone, Project
from connectors.github.errors import Forbidden
from connectors.inspector import MAX_PROJECTS
from connectors.markup import quoted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from connectors.github.config import GitHubEpics
    from connectors.github.transport import GitHubTransport

_MOST_NAMED = 50
_REPOSITORY = "/repos/{owner}/{repo}"
# Whether something is there, None where GitHub does not say; and the reason, in words.
Found = tuple[bool | None, str]


class EpicNames:
    """The labels and types of `epics`, looked up in `projects`, in the first `MAX_PROJECTS` of them: one that
    is there costs a request or a few, one that is nowhere two for each repository."""

    def __init__(self, transport: GitHubTransport, epics: GitHubEpics, projects: Sequence[Project]) -> None:
        self._transport, self._epics = transport, epics
        self._asked, self._further = projects[:MAX_PROJECTS], len(projects) > MAX_PROJECTS

    async def unknown(self) -> dict[str, list[str]]:
        """The names that GitHub certainly does not have, by setting. Raises as the transport does."""
        labels = [name for name in self._epics.labels if (await self.label(name))[0] is False]
        types = [name for name, (there, _) in (await self.types()).items() if there is False]
        return {"epics.labels": labels, "epics.issue_types": types}

    async def label(self, name: str) -> Found:
        """Whether a repository has the label; else whether an issue has it, as some hosts serve no labels."""
        by_label = urlencode({"labels": name, "state": "all", "per_page": 1})
        for path in (f"labels/{quote(name, safe='')}", f"issues?{by_label}"):
            for project in self._asked:
                try:
                    found = await self._transport.item(f"{_REPOSITORY}/{path}", url_vars(project))
                except Gone:
                    continue
                except Forbidden as error:
                    return None, error.message
                if found:
                    return True, f"The label is there, in {project.key} at least."
        if self._further:
            return None, f"The first {len(self._asked)} repositories of the source do not have this label."
        return False, "No repository and no issue of the source has this label."

    async def types(self) -> dict[str, Found]:
        """Each configured issue type: whether an organisation of the scope has it.

        Repositories of a user account have no types.
        """
        known: dict[str, str] = {}
        unseen = self._further
        owners = {project.key.partition("/")[0] for project in self._asked}
        for owner in sorted(owners) if self._epics.issue_types else ():
            try:
                rows = await self._transport.item("/orgs/{org}/issue-types", {"org": owner})
            except (Gone, Forbidden):
                unseen = True
                continue
            if not isinstance(rows, list):
                raise BadPayload("GitHub's list of issue types could not be read.")
            shown = [quoted(row.get("name")) for row in rows if isinstance(row, dict)]
            known |= {name.casefold(): name for name in shown}
        return {name: _type_found(name, known, unseen=unseen) for name in self._epics.issue_types}


def _type_found(name: str, known: Mapping[str, str], *, unseen: bool) -> Found:
    if name.casefold() in known:
        return True, "The organisation has this type."
    if unseen:
        return None, "GitHub shows this token no issue types: there are none, or it may not see them."
    there = f"; there are: {', '.join(sorted(known.values())[:_MOST_NAMED])}" if known else ""
    return False, f"No organisation of the source has this type{there}."


def url_vars(project: Project) -> dict[str, str]:
    owner, _, repo = project.key.partition("/")
    return {"owner": owner, "repo": repo}
