"""The re-made payloads in tests/fixtures: the shapes of the recorded ones, and no text, name or id of theirs.

A shape is the set of a payload's paths, each with the type of its value, and of a string its form: empty,
digits, a time, an address or other text. A list is the set of its items' shapes.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import Any

from connectors.github.webhooks import HANDLED
from tests.support.beside import needs_fixtures
from tests.support.recorded import PART, RECORDED, REMADE, REMADE_FOLDER, Payloads

FOLDERS = ("github-webhooks", "jira-issues", "jira-webhooks")
Shape = frozenset[tuple[str, str]]

# Members whose values are words of the API, and the words that trackers are delivered with in other members.
API_MEMBERS = frozenset({
    "accountType", "action", "active_lock_reason", "author_association", "billing_cycle", "colorName",
    "content_type", "ecosystem", "events", "expand", "field", "fieldId", "field_type", "fieldtype",
    "issue_event_type_name", "mergeable_state", "price_model", "projectTypeKey", "reason",
    "repository_selection", "role", "severity", "state", "target_type", "type", "visibility", "webhookEvent",
})  # fmt: skip
API_WORDS = frozenset({
    "Improvement", "In Progress", "Complete", "Resolved", "Ranked lower", "Sub-task", "relates to", "Relates",
    "indeterminate", "Highest", "Won't Do", "********", "Etc/UTC",
})  # fmt: skip
LEAST = 7  # letters; shorter texts may be equal by chance


def shape(value: Any) -> Shape:
    return frozenset(_shape(value, ""))


def _shape(value: Any, at: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        yield at, "object"
        for name, inner in value.items():
            yield from _shape(inner, f"{at}.{name}")
    elif isinstance(value, list):
        yield at, "list"
        for item in value:
            yield from _shape(item, f"{at}[]")
    else:
        yield at, _form(value)


def _form(value: Any) -> str:
    if not isinstance(value, str):
        return type(value).__name__
    if re.match(r"\d{4}-\d\d-\d\d", value):
        return re.sub(r"\d", "0", value).replace("-", "+")
    forms = {"empty": r"", "digits": r"-?\d+", "address": r"[a-z]+://.*", "text": r"(?s:.*)"}
    return next(name for name, form in forms.items() if re.fullmatch(form, value))


def leaves(value: Any, member: str = "") -> Iterator[tuple[str, Any]]:
    """Each value that is no object and no list, with the name of its member."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from leaves(inner, name)
    elif isinstance(value, list):
        for item in value:
            yield from leaves(item, member)
    else:
        yield member, value


def everything(payloads: Payloads) -> list[Any]:
    github = [payload for _, payload in payloads.github_webhooks()]
    return [
        github,
        list(payloads.jira_webhooks().values()),
        payloads.jira_issues(),
        payloads.jira_issue_types(),
    ]


@cache
def texts(payloads: Payloads) -> frozenset[str]:
    found = (value for _, value in leaves(everything(payloads)))
    return frozenset(value for value in found if isinstance(value, str))


# --- the files ------------------------------------------------------------------------------


def test_they_are_small() -> None:
    assert sorted(path.name for path in REMADE_FOLDER.iterdir() if path.name in FOLDERS) == list(FOLDERS)
    sizes = [path.stat().st_size for name in FOLDERS for path in (REMADE_FOLDER / name).iterdir()]
    assert sum(sizes) < 400_000
    assert len(sizes) > 100


def test_every_part_is_used_and_only_once_defined() -> None:
    for name in FOLDERS:
        files = {path.stem: path.read_text("utf-8") for path in (REMADE_FOLDER / name).iterdir()}
        used = Counter(part for text in files.values() for part in re.findall(r'"\$part": "([^"]+)"', text))
        assert used.keys() == json.loads(files["parts"]).keys()
        assert min(used.values()) > 1, "what only one payload has belongs into it"


def test_no_part_is_left_in_a_payload() -> None:
    assert PART not in {name for payload in everything(REMADE) for name, _ in leaves(payload)}
    assert PART not in json.dumps(everything(REMADE))


def test_their_addresses_are_examples() -> None:
    hosts = {host for text in texts(REMADE) for host in re.findall(r"[a-z]+://([^/:?\s|\]]+)", text)}
    assert {host.rpartition(".")[2] for host in hosts} == {"example"}
    domains = {domain for text in texts(REMADE) for domain in re.findall(r"[\w.+-]@([\w.-]+)", text)}
    assert {domain for domain in domains if "." in domain and not domain.endswith(".example")} == set()


# --- held against the recorded ones ---------------------------------------------------------


@needs_fixtures
def test_each_has_the_shape_of_a_recorded_one() -> None:
    recorded = RECORDED.jira_webhooks()
    remade = REMADE.jira_webhooks()
    assert remade.keys() == recorded.keys()
    for name, payload in remade.items():
        assert shape(payload) == shape(recorded[name]), name
    assert [shape(one) for one in REMADE.jira_issue_types()] == [
        shape(one) for one in RECORDED.jira_issue_types()
    ]
    assert set(map(shape, REMADE.jira_issues())) <= set(map(shape, RECORDED.jira_issues()))
    github = {payloads: _github_shapes(payloads) for payloads in (REMADE, RECORDED)}
    assert github[REMADE] <= github[RECORDED]
    handled = {one for one in github[RECORDED] if one[0] in {*HANDLED, "ping"}}
    assert handled <= github[REMADE], "of what Northing handles, no shape is left out"


def _github_shapes(payloads: Payloads) -> set[tuple[str, str | None, Shape]]:
    """Of an action that a sender names freely, as that of `repository_dispatch`, only the event counts."""
    return {
        (event, None if event == "repository_dispatch" else payload.get("action"), shape(payload))
        for event, payload in payloads.github_webhooks()
    }


@needs_fixtures
def test_they_have_no_text_and_no_id_of_the_recorded_ones() -> None:
    ours = {
        value
        for name, value in leaves(everything(REMADE))
        if name not in API_MEMBERS and isinstance(value, str) and len(value) >= LEAST
    }
    assert ours & texts(RECORDED) == API_WORDS
    ids = {payloads: _ids(payloads) for payloads in (REMADE, RECORDED)}
    assert len(ids[REMADE]) > 100
    assert ids[REMADE] & ids[RECORDED] == set()


def _ids(payloads: Payloads) -> set[str]:
    """Numbers of five digits or more, wherever they stand, the names of custom fields aside."""
    texts = (str(value) for _, value in leaves(everything(payloads)) if not isinstance(value, float))
    return {number for text in texts for number in re.findall(r"(?<![\w.])\d{5,}(?!\w)", text)}


NAMING_MEMBERS = frozenset({
    "accountId", "displayName", "email", "emailAddress", "full_name", "gravatar_id", "login", "node_id",
    "sha", "ssh_url", "username",
})  # fmt: skip


def _jira_persons(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if "displayName" in value:
            yield value
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from _jira_persons(inner)


@needs_fixtures
def test_no_name_of_a_recorded_person_host_or_repository_is_left() -> None:
    every = everything(RECORDED)
    names = {value for name, value in leaves(every) if name in NAMING_MEMBERS}
    names |= {value for person in _jira_persons(every) for value in (person.get("name"), person.get("key"))}
    names |= {host for text in texts(RECORDED) for host in re.findall(r"[a-z]+://([\w.-]+)", text)}
    names = {name for name in names if isinstance(name, str) and len(name) > 5} - {"github", "username"}
    assert len(names) > 200
    ours = "\n".join(texts(REMADE))
    assert {name for name in names if name in ours} == set()
