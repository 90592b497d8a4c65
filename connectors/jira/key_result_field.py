"""The field in which Jira's tickets name key results, by the name or the id that a source gives."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from connectors.jira.payloads import field_ids

if TYPE_CHECKING:
    from collections.abc import Sequence

    from connectors.jira.config import JiraEpics
    from connectors.jira.transport import JiraTransport

_ID = re.compile(r"customfield_[0-9]{1,18}")


def ids_of(fields: Any, configured: str) -> list[str]:
    """The ids of the fields with this id or, in any case, this name, which several may have."""
    rows = [one for one in fields if isinstance(one, dict)] if isinstance(fields, list) else []
    exact = [one["id"] for one in rows if isinstance(one.get("id"), str) and one["id"] == configured]
    named = [
        one["id"]
        for one in rows
        if isinstance(one.get("id"), str)
        and any(
            isinstance(name, str) and name.casefold() == configured.casefold()
            for name in (one.get("name"), one.get("untranslatedName"))
        )
    ]
    return exact or sorted(named)


async def unknown_fields(transport: JiraTransport, epics: JiraEpics) -> dict[str, list[str]]:
    """The fields that Jira certainly does not have, by setting; none where it shows no fields at all."""
    configured = epics.key_result_field
    if not epics.fields and configured is None:
        return {}
    answer = await transport.call("GET", "field")
    known = field_ids(answer)
    found = {"epics.fields": [name for name in epics.fields if known and name not in known]}
    if configured is not None:
        found["epics.key_result_field"] = [configured] if known and not ids_of(answer, configured) else []
    return found


class KeyResultField:
    """Finds the ids of the field `configured`; a name costs one request for each connector, an id none."""

    def __init__(self, transport: JiraTransport, configured: str | None) -> None:
        self._transport, self.configured = transport, configured
        self.ids: tuple[str, ...] | None = None
        if configured is None or _ID.fullmatch(configured):
            self.ids = () if configured is None else (configured,)

    @property
    def named(self) -> tuple[str, tuple[str, ...]] | None:
        """The field as the source names it, and its ids; None where it names none."""
        return None if self.configured is None else (self.configured, self.ids or ())

    def beside(self, fields: Sequence[str]) -> list[str]:
        """These fields and the ids of this one, each once."""
        return list(dict.fromkeys((*fields, *(self.ids or ()))))

    async def find(self) -> tuple[str, ...]:
        """Empty where the source names none, or Jira has none of this name. Raises as the transport does."""
        if self.ids is None:
            assert self.configured is not None  # else there was nothing to find
            self.ids = tuple(ids_of(await self._transport.call("GET", "field"), self.configured))
        return self.ids
