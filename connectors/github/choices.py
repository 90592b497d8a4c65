"""The repositories that a token reaches, to choose a scope from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from connectors.diagnostics import MOST_CHOICES, Choice
from connectors.github import payloads
from connectors.markup import quoted

if TYPE_CHECKING:
    from connectors.github.transport import GitHubTransport

_LONGEST_TITLE = 100


async def choices_of(transport: GitHubTransport) -> list[Choice]:
    """The first `MOST_CHOICES` repositories with issues that are not archived, by name. Raises as the
    transport does.

    https://docs.github.com/rest/repos/repos#list-repositories-for-the-authenticated-user
    """
    url: str | None = f"/user/repos?sort=full_name&direction=asc&per_page={payloads.PAGE_SIZE}"
    used: set[str] = set()
    found: dict[str, Choice] = {}
    while url and len(found) < MOST_CHOICES:
        rows, url = await transport.page(url, {})
        payloads.record_page_url(url, used)
        for row in rows:
            name = row.get("full_name") if isinstance(row, dict) else None
            if isinstance(name, str) and not row.get("archived") and row.get("has_issues") is not False:
                found[name] = Choice(quoted(name, 200), quoted(row.get("description") or "", _LONGEST_TITLE))
    return sorted(found.values())[:MOST_CHOICES]
