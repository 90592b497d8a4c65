"""The projects that an account may browse, to choose a scope from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from connectors.diagnostics import MOST_CHOICES, Choice
from connectors.jira.paging import listed
from connectors.markup import quoted

if TYPE_CHECKING:
    from connectors.jira.transport import JiraTransport

_PAGE = 100
_LONGEST_TITLE = 100


async def choices_of(transport: JiraTransport) -> list[Choice]:
    """The first `MOST_CHOICES` projects, by key. Raises as the transport does, and `BadPayload`."""
    found: dict[str, Choice] = {}
    start = 0
    while start < MOST_CHOICES:
        answer = await transport.call("GET", "project/search", {"maxResults": _PAGE, "startAt": start})
        rows = listed(answer, "values")
        keyed = [(str(row["key"]), row.get("name")) for row in rows if isinstance(row.get("key"), str)]
        found |= {key: Choice(quoted(key), quoted(name or "", _LONGEST_TITLE)) for key, name in keyed}
        start += len(rows)
        if not rows or answer.get("isLast") is True:
            break
    return sorted(found.values())[:MOST_CHOICES]
