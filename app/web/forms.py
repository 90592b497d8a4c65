"""From the fields of a form to what an operation takes, and from its errors back to the fields."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from app.api.problems import Problem
from mappings.errors import Conflict, DomainError, Invalid

# Members of a source and of the policy, as the labels of the pages have them.
_ON_PAGES = (
    ("; the other lines may be incomplete", ""),
    ("Nothing; Northing tries again", "Northing tries again"),
    ("put it into the source's credentials", "paste it where the login is asked for"),
    ("into the source's credentials", "where the login is asked for"),
    ("the source's credentials hold", "you gave"),
    ("does not fit the webhook_secret", "does not fit the secret"),
    ("per_run is ", "the limit is "),
    ("put them into credentials", "the login comes next"),
    ("until notices.mode is live for it", "until it is live"),
    ("while `since` of the policy is `connected`, only", "by the policy, only"),
)
_ACCEPT = re.compile(r"with POST /api/v1/runs/(\d+)/accept-removals")
_SHARE = re.compile(r"max_share is ([0-9.e-]+)(?<![.])")
_LABELS = {
    "base_url": "the address",
    "epics.issue_types": "“Types that are epics”",
    "epics.labels": "“Labels that mark an epic”",
    "epics.with_sub_issues": "“Issues that have sub-issues”",
    "scope.jql": "the JQL",
    "scope.projects": "the projects",
    "scope.repositories": "the repositories",
}
_MEMBER = re.compile("|".join(rf"(?<![\w.`]){re.escape(name)}(?![\w`]|[.]\w)" for name in _LABELS))


def document_of(fields: Mapping[str, str], *, numbers: Collection[str] = ()) -> dict[str, Any]:
    """The fields as the body of a call: `metric.unit` is a member of `metric`, an empty field is left out.
    `numbers`: fields whose text is read as a number, where it is one; else the model says what is wrong."""
    document: dict[str, Any] = {}
    for name, text in fields.items():
        if text == "":
            continue
        *outer, last = name.split(".")
        place = document
        for part in outer:
            place = place.setdefault(part, {})
        place[last] = _number(text) if name in numbers else text
    return document


def _number(text: str) -> float | int | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def wrong_fields(error: DomainError | Problem) -> dict[str, str]:
    """What is wrong, by field; under the empty name what is wrong with the form as a whole. An error that no
    form can mend is raised again."""
    if isinstance(error, Invalid):
        return {field: for_people(message) for field, message in error.errors}
    if isinstance(error, Conflict):
        return {"": error.detail}
    if isinstance(error, Problem) and error.status in (409, 422):
        return {field: for_people(message) for field, message in error.errors} or {"": error.detail}
    raise error


def for_people(message: str) -> str:
    """Without the call of the API that lists what there is, and with the pages' words for its members."""
    message = re.sub(r"; GET /api/v1/\S+ lists them$", "", message)
    message = _ACCEPT.sub(r"on the page of run \1", message)
    message = _SHARE.sub(lambda found: f"the limit is {100 * float(found[1]):.3g}% of them", message)
    for words, others in _ON_PAGES:
        message = message.replace(words, others)
    return _MEMBER.sub(lambda found: _LABELS[found[0]], message)
