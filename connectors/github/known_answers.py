"""GETs that ask GitHub by a tag whether an answer is still the same, and what of that answer is used then.

GitHub does not count a request that it answers with 304. Such an answer has no body, so what the connector
needs of it is kept beside the tag: small values of repositories and of our own account.
https://docs.github.com/rest/using-the-rest-api/best-practices-for-using-the-rest-api#use-conditional-requests-if-appropriate
"""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any, NamedTuple

from connectors.answers import KnownAnswer
from connectors.base import Account, Project
from connectors.github.errors import leaves_out
from connectors.github.payloads import PAGE_SIZE, account_of, project_of, projects_of
from connectors.github.transport import NotModified

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from connectors.github.transport import GitHubTransport, Read

# A value that was kept by a version with other members is not used.
_FORM = ",".join(field.name for kind in (Account, Project) for field in fields(kind))


class Repositories(NamedTuple):
    """A page of an organisation's repositories. `partial`: GitHub leaves some out that it does not show."""

    projects: list[Project]
    next_page: str | None
    partial: bool


class KnownAnswers:
    """`known`: the answers that were restored, by name. What came instead of them waits to be taken."""

    def __init__(self, transport: GitHubTransport) -> None:
        self._transport = transport
        self.known: dict[str, KnownAnswer] = {}
        self._new: dict[str, KnownAnswer] = {}

    def restore(self, answers: Iterable[KnownAnswer]) -> None:
        self.known = {answer.name: answer for answer in answers}

    def take(self) -> list[KnownAnswer]:
        new, self._new = self._new, {}
        return list(new.values())

    async def account(self) -> Account:
        def kept(read: Read) -> dict[str, Any]:
            return asdict(account_of(read.data))

        return Account(**await self._value("/user", {}, self._transport.tagged, kept))

    async def repository(self, url: str, url_vars: Mapping[str, str]) -> Project:
        def kept(read: Read) -> dict[str, Any]:
            return asdict(project_of(read.data))

        return _project(await self._value(url, url_vars, self._transport.tagged, kept))

    async def repositories(self, url: str, organization: str) -> Repositories:
        def kept(read: Read) -> dict[str, Any]:
            return {
                "projects": [asdict(project) for project in projects_of(read.data, organization)],
                "next_page": read.next_page,
                "partial": leaves_out(self._transport.headers),
            }

        page = await self._value(url, {"org": organization}, self._transport.tagged_page, kept)
        projects = [_project(one) for one in page["projects"]]
        return Repositories(projects, page["next_page"], page["partial"])

    async def _value(
        self,
        url: str,
        url_vars: Mapping[str, str],
        ask: Callable[..., Any],
        kept: Callable[[Read], dict[str, Any]],
    ) -> dict[str, Any]:
        """What `kept` makes of the answer to `ask`, or made of it when it came whole."""
        name = f"{url} {' '.join(url_vars.values())}".strip()
        known = self.known.get(name)
        if known is not None and known.value["form"] != _FORM:
            known = None
        try:
            await self._transport.keep_pace()
            read = await ask(url, url_vars, None if known is None else known.tag)
        except NotModified:
            assert known is not None
            return dict(known.value["found"])
        found = kept(read)
        tag = "" if _may_continue(read) else read.tag or ""
        self._new[name] = KnownAnswer(name, url, tag, {"form": _FORM, "found": found})
        return found


def _may_continue(read: Read) -> bool:
    """Whether it is the last page of a list and full: it stays the same when another one comes after it."""
    return isinstance(read.data, list) and read.next_page is None and len(read.data) >= PAGE_SIZE


def _project(found: Mapping[str, Any]) -> Project:
    return Project(**{**found, "named": tuple(found["named"])})
