"""The audit log, newest first: who changed what, from what to what."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Annotated, Any, cast, get_args
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response

from app.api.audit_log import AuditEntryOut, What, list_audit_log
from app.api.deps import SessionDep
from app.api.paging import CursorParameter
from app.web.page import page
from app.web.router import needs
from mappings.errors import Invalid
from mappings.values import moment_error
from mappings.words import number_words

router = APIRouter()
NO_KIND = "There is no such kind of thing here; choose one of the list."
NO_DAY = "One of the days is none; write it as 2026-11-27."
_FILTERS = ("who", "what", "key", "since", "until")
Words = Annotated[str, Query(max_length=500)]


@router.get("/audit-log", dependencies=[needs("GET /audit-log")])
async def show_audit_log(
    request: Request,
    session: SessionDep,
    cursor: CursorParameter,
    who: Words = "",
    what: Words = "",
    key: Words = "",
    since: Words = "",
    until: Words = "",
) -> Response:
    """`since` and `until` are days, and both belong to what is shown."""
    asked = dict(zip(_FILTERS, (who, what, key, since, until), strict=True))
    errors: dict[str, str] = {}
    if what and what not in get_args(What):
        errors["what"] = NO_KIND
    begin, end = _day("since", since, errors), _day("until", until, errors)
    values: dict[str, Any] = {"asked": asked, "errors": errors, "kinds": get_args(What)}
    if errors:
        return await page(
            request, session, "audit_log.html", {**values, "entries": [], "next_page": None}, 422
        )
    found = await list_audit_log(
        session,
        who=who or None,
        what=cast("What | None", what or None),
        key=key or None,
        since=begin,
        until=None if end is None else end + timedelta(days=1),
        cursor=cursor,
    )
    kept = {name: value for name, value in asked.items() if value}
    values["entries"] = [(entry, differences(entry)) for entry in found.items]
    values["next_page"] = urlencode({**kept, "cursor": found.next}) if found.next else None
    values["first_page"] = urlencode(kept) if request.query_params.get("cursor") else None
    return await page(request, session, "audit_log.html", values)


def _day(name: str, text: str, errors: dict[str, str]) -> datetime | None:
    """The first moment of a day, UTC."""
    if not text:
        return None
    try:
        day = datetime.fromisoformat(f"{text}T00:00:00+00:00")
        if moment_error(day) is not None:
            raise Invalid(name, NO_DAY)
    except (ValueError, Invalid):
        errors[name] = NO_DAY
        return None
    return day


def differences(entry: AuditEntryOut) -> list[tuple[str, str | None, str | None]]:
    """Each field of the change with its value before and after; None where the thing did not exist. Of a
    field with members only those that differ."""
    return [
        (
            name.replace("_", " "),
            None if entry.before is None else _in_words(before, name),
            None if entry.after is None else _in_words(after, name),
        )
        for name, before, after in _changed("", entry.before, entry.after)
    ]


def _changed(
    name: str, before: dict[str, Any] | None, after: dict[str, Any] | None
) -> Iterator[tuple[str, Any, Any]]:
    for member in dict.fromkeys([*(before or {}), *(after or {})]):
        old, new = (before or {}).get(member), (after or {}).get(member)
        path = f"{name} {member}".strip()
        if old == new:
            continue
        if isinstance(old or {}, dict) and isinstance(new or {}, dict) and (old or new):
            yield from _changed(path, old or {}, new or {})
        else:
            yield path, old, new


# What null stands for, where it is no absence.
_NULL = {"notices projects": "every project"}


def _in_words(value: Any, name: str = "") -> str:
    if value is None and name in _NULL:
        return _NULL[name]
    if value is None or value in ("", [], {}):
        return "nothing"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return number_words(value)
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return ", ".join(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
