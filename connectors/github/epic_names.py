"""Whether GitHub has the labels, issue types and issue fields that a source names for its epics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from connectors.base import BadPayload, Gone, Project
from connectors.github.errors import Forbidden
from connectors.github.issue_fields import is_field
from connectors.inspector import MAX_PROJECTS
from connectors.markup import quoted
from connectors.plan_values import PLANNED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from connectors.github.config import GitHubEpics
    from connectors.github.transport import GitHubTransport

_MOST_NAMED = 50
_REPOSITORY = "/repos/{owner}/{repo}"
FIELD_MEMBERS = ("key_result_field", *PLANNED)
# Whether something is there, None where GitHub does not say; and the reason, in words.
Found = tuple[bool | None, str]


class EpicNames:
    """The labels and types of `epics`, looked up in `projects`, in the first `MAX_PROJECTS` of them: one that
    is there costs a request or a few, one that is nowhere two for each repository."""

    def __init__(self, transport: GitHubTransport, epics: GitHubEpics, projects: Sequence[Project]) -> None:
        self._transport, self._epics = transport, epics
        self._asked, self._further = projects[:MAX_PROJECTS], len(projects) > MAX_PROJECTS
        self._listed: dict[str, tuple[list[dict[str, Any]], bool]] = {}

    async def unknown(self) -> dict[str, list[str]]:
        """The names that GitHub certainly does not have, by setting. Raises as the transport does."""
        labels = [name for name in self._epics.labels if (await self.label(name))[0] is False]
        types = [name for name, (there, _) in (await self.types()).items() if there is False]
        found = {"epics.labels": labels, "epics.issue_types": types}
        for member, name in self.fields.items():
            found[f"epics.{member}"] = [name] if (await self.issue_field(name))[0] is False else []
        return found

    @property
    def fields(self) -> dict[str, str]:
        """The issue fields that the source names, by the member of `epics` that has the name."""
        given = {member: getattr(self._epics, member) for member in FIELD_MEMBERS}
        return {member: name for member, name in given.items() if name is not None}

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

    async def issue_field(self, configured: str) -> Found:
        """Whether an organisation of the scope has the issue field.

        https://docs.github.com/rest/orgs/issue-fields#list-issue-fields-for-an-organization
        """
        known, unseen = await self._of_organizations("issue-fields", "issue fields")
        if any(is_field(row.get("id"), row.get("name"), configured) for row in known):
            return True, "The organisation has this field."
        if unseen:
            return None, "GitHub shows this token no issue fields: there are none, or it may not see them."
        return False, f"No organisation of the source has this field{_there(known)}."

    async def kinds_of_field(self, configured: str) -> set[str]:
        """The types of the organisations' issue fields of this name, as GitHub names them."""
        known, _ = await self._of_organizations("issue-fields", "issue fields")
        same = (row for row in known if is_field(row.get("id"), row.get("name"), configured))
        return {str(row.get("data_type")) for row in same}

    async def types(self) -> dict[str, Found]:
        """Each configured issue type: whether an organisation of the scope has it.

        Repositories of a user account have no types.
        """
        if not self._epics.issue_types:
            return {}
        rows, unseen = await self._of_organizations("issue-types", "issue types")
        known = {str(row.get("name")).casefold() for row in rows}
        there = _there(rows)
        return {
            name: _type_found(is_known=name.casefold() in known, unseen=unseen, there=there)
            for name in self._epics.issue_types
        }

    async def _of_organizations(self, what: str, words: str) -> tuple[list[dict[str, Any]], bool]:
        """What the organisations of the scope have, and whether one of them may have more; asked once."""
        if what not in self._listed:
            self._listed[what] = await self._list(what, words)
        return self._listed[what]

    async def _list(self, what: str, words: str) -> tuple[list[dict[str, Any]], bool]:
        found: list[dict[str, Any]] = []
        unseen = self._further
        owners = {project.key.partition("/")[0] for project in self._asked}
        for owner in sorted(owners):
            try:
                rows = await self._transport.item(f"/orgs/{{org}}/{what}", {"org": owner})
            except (Gone, Forbidden):
                unseen = True
                continue
            if not isinstance(rows, list):
                raise BadPayload(f"GitHub's list of {words} could not be read.")
            found += (row for row in rows if isinstance(row, dict))
        return found, unseen


def _there(rows: Sequence[Mapping[str, Any]]) -> str:
    names = sorted({quoted(row.get("name")) for row in rows}, key=str.casefold)[:_MOST_NAMED]
    return f"; there are: {', '.join(names)}" if names else ""


def _type_found(*, is_known: bool, unseen: bool, there: str) -> Found:
    if is_known:
        return True, "The organisation has this type."
    if unseen:
        return None, "GitHub shows this token no issue types: there are none, or it may not see them."
    return False, f"No organisation of the source has this type{there}."


def url_vars(project: Project) -> dict[str, str]:
    owner, _, repo = project.key.partition("/")
    return {"owner": owner, "repo": repo}
