"""The fields that a source names for its tickets, by name or id: for key results, for days, for points."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from connectors.jira.payloads import DUE_DATE, PlannedField, field_ids
from connectors.plan_values import PLANNED

if TYPE_CHECKING:
    from connectors.jira.config import JiraEpics
    from connectors.jira.transport import JiraTransport

_ID = re.compile(r"customfield_[0-9]{1,18}|duedate")
KEY_RESULTS = "key_result_field"
MEMBERS = (KEY_RESULTS, *PLANNED)


def _rows_of(fields: Any) -> list[dict[str, Any]]:
    rows = fields if isinstance(fields, list) else ()
    return [one for one in rows if isinstance(one, dict) and isinstance(one.get("id"), str)]


def ids_of(fields: Any, configured: str) -> list[str]:
    """The ids of the fields with this id or, in any case, this name, which several may have."""
    rows = _rows_of(fields)
    exact = [one["id"] for one in rows if one["id"] == configured]
    named = [
        one["id"]
        for one in rows
        if any(
            isinstance(name, str) and name.casefold() == configured.casefold()
            for name in (one.get("name"), one.get("untranslatedName"))
        )
    ]
    return exact or sorted(named)


class OtherKind(NamedTuple):
    """A field that has values of another kind than those that are looked for, as Jira names both."""

    setting: str
    name: str
    has: str
    needs: str


class NamedFields:
    """Finds the ids of the fields that `epics` names. All names together cost one request, ids none.

    `configured`: the names, by the member of `epics` that has them. `planned`: those of the plan; the ids of
    names are in it once they were looked up.
    """

    def __init__(self, transport: JiraTransport, epics: JiraEpics) -> None:
        self._transport, self._for_rules = transport, epics.fields
        given = {member: getattr(epics, member) for member in MEMBERS}
        self.configured: dict[str, str] = {member: name for member, name in given.items() if name is not None}
        self._ids: dict[str, tuple[str, ...]] = {
            member: (name,) for member, name in self.configured.items() if _ID.fullmatch(name) is not None
        }
        self._listed: Any = None
        self._asking = asyncio.Lock()  # several projects are read side by side
        self.planned = self._of_plan()

    async def find(self) -> None:
        """Look up the names, once. Raises as the transport does."""
        if self.configured.keys() - self._ids.keys():
            listed = await self._list()
            for member, name in self.configured.items():
                self._ids.setdefault(member, tuple(ids_of(listed, name)))
            self.planned = self._of_plan()

    async def _list(self) -> Any:
        async with self._asking:
            if self._listed is None:
                self._listed = await self._transport.call("GET", "field")
            return self._listed

    @property
    def asked(self) -> list[str]:
        """The ids to ask Jira for, beside those of every ticket."""
        named = (id for ids in self._ids.values() for id in ids)
        return list(
            dict.fromkeys((*self._for_rules, *named, *(id for one in self.planned for id in one.ids)))
        )

    @property
    def key_results(self) -> tuple[str, tuple[str, ...]] | None:
        """The field for key results as the source names it, and its ids; None where it names none."""
        name = self.configured.get(KEY_RESULTS)
        return None if name is None else (name, self._ids.get(KEY_RESULTS, ()))

    def _of_plan(self) -> tuple[PlannedField, ...]:
        """The fields of the plan; Jira's own due date where the source names no other."""
        named = [
            PlannedField(member, self.configured[member], self._ids.get(member, ()))
            for member in PLANNED
            if member in self.configured
        ]
        return (*named, *(() if DUE_DATE.member in self.configured else (DUE_DATE,)))

    async def unknown(self) -> dict[str, list[str]]:
        """The fields that Jira certainly does not have, by setting; none where it shows no fields at all."""
        if not self._for_rules and not self.configured:
            return {}
        listed = await self._list()
        known = field_ids(listed)
        found = {"epics.fields": [name for name in self._for_rules if known and name not in known]}
        for member, name in self.configured.items():
            found[f"epics.{member}"] = [name] if known and not ids_of(listed, name) else []
        return found

    async def of_other_kinds(self) -> list[OtherKind]:
        """The fields of the plan that, as Jira describes them, hold no days or no numbers."""
        planned = [one for one in self.planned if one.member in self.configured]
        if not planned:
            return []
        schemas = {row["id"]: row.get("schema") for row in _rows_of(await self._list())}
        found = []
        for field in planned:
            needs = PLANNED[field.member][1]
            ids = ids_of(await self._list(), field.name)
            kinds = [one["type"] for id in ids if isinstance(one := schemas[id], dict) and "type" in one]
            if kinds and needs not in kinds:
                found.append(OtherKind(f"epics.{field.member}", field.name, str(kinds[0]), needs))
        return found
