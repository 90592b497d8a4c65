"""What Jira and GitHub really send, recorded and re-made, read by the connectors' payload code."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from connectors.base import BadPayload, Epic, Parent
from connectors.github import payloads as github
from connectors.github.config import GitHubEpics
from connectors.jira import payloads as jira
from connectors.json import parse_json
from tests.support.recorded import REMADE, Payloads, both_folders, expecting
from tests.support.ticket_text import text_lines

SITE = "https://acme.atlassian.example"
WEB = "https://github.example"


def github_issues(payloads: Payloads) -> Iterator[tuple[str, str, Any]]:
    """Event, action and issue of every webhook that contains one; both issues of a transfer."""
    for event, payload in payloads.github_webhooks():
        changes = payload.get("changes") or {}
        found = [payload.get("issue"), changes.get("old_issue"), changes.get("new_issue")]
        yield from ((event, payload.get("action"), issue) for issue in found if isinstance(issue, dict))


# --- Jira -----------------------------------------------------------------------------------


def jira_epics(payloads: Payloads) -> dict[str, Epic]:
    sent = json.dumps(payloads.jira_issues()).encode()
    tickets = [jira.ticket_of(raw, SITE) for raw in parse_json(sent)]
    return {ticket.epic.key: ticket.epic for ticket in tickets}


@expecting(
    remade={
        "projects": {"SHOP": 7, "S4": 3},
        "types": {
            "ストーリー": 3, "タスク": 1, "バグ": 1, "サブタスク": 1, "Load Check": 1, "Story": 2, "Epic": 1,
        },
        "categories": {"done": 5, "todo": 5},
    },
    recorded={
        "projects": {"EE": 30, "K5": 3},
        "types": {
            "故事": 8, "任务": 8, "缺陷": 1, "子任务": 12, "Test Execution": 1, "Story": 2, "Epic": 1,
        },
        "categories": {"done": 25, "todo": 8},
    },
)  # fmt: skip
def test_every_jira_issue_is_read(payloads: Payloads, expected: dict[str, dict[str, int]]) -> None:
    epics = jira_epics(payloads).values()
    assert Counter(epic.project for epic in epics) == expected["projects"]
    assert Counter(epic.type for epic in epics) == expected["types"]
    assert Counter(epic.status_category for epic in epics) == expected["categories"]
    count = sum(expected["projects"].values())
    assert len(payloads.jira_issues()) == len({epic.remote_id for epic in epics}) == count
    assert all(epic.url == f"{SITE}/browse/{epic.key}" for epic in epics)
    assert all(epic.created_at.tzinfo is UTC and epic.created_at <= epic.updated_at for epic in epics)


@expecting(
    remade={
        "story": {
            "key": "SHOP-41",
            "title": "\u200b店舗の一覧：在庫/価格の表示、並べ替え、絞り込み",
            "created_at": datetime(2021, 9, 26, 4, 26, 20, 360_000, UTC),
            "updated_at": datetime(2022, 7, 12, 12, 19, 15, 713_000, UTC),
            "labels": ("webShop", "Cards"),
            "milestone": "v4.2.0",
            "assignees": ("Design Lead",),
        },
        "sub-task of a story": {"key": "SHOP-65", "type": "サブタスク", "parent": None},
        "story of an epic": {
            "key": "S4-42",
            "parent": Parent("S4-41", "28474", "shelf epic", f"{SITE}/browse/S4-41"),
        },
        "title with U+0000": {"key": "SHOP-44", "title": "\u200b返品の集計表"},
    },
    recorded={
        "story": {
            "key": "EE-1",
            "title": "\u200b四个排序图：测试/注释覆盖度、复用度、模块性",
            "created_at": datetime(2020, 6, 12, 0, 13, 13, 360_000, UTC),
            "updated_at": datetime(2021, 3, 28, 8, 6, 8, 713_000, UTC),
            "labels": ("frontEnd", "Saas"),
            "milestone": "v2.7.0",
            "assignees": ("Person d9e720",),
        },
        "sub-task of a story": {"key": "EE-25", "type": "子任务", "parent": None},
        "story of an epic": {
            "key": "K5-2",
            "parent": Parent("K5-1", "20707", "test epic", f"{SITE}/browse/K5-1"),
        },
        "title with U+0000": {"key": "EE-4", "title": "\u200b问题分布的帕累托图"},
    },
)
def test_jira_issues_to_the_letter(payloads: Payloads, expected: dict[str, dict[str, Any]]) -> None:
    epics = jira_epics(payloads)
    for what, members in expected.items():
        epic = epics[members["key"]]
        assert {name: getattr(epic, name) for name in members} == members, what


def test_postgresql_would_refuse_a_title_as_it_is_sent() -> None:
    raw = {raw["key"]: raw["fields"]["summary"] for raw in REMADE.jira_issues()}
    assert raw["SHOP-44"].endswith("\x00")


@expecting(
    remade={
        "epic types": ["18565"],
        "named types": (["story", "サブタスク"], ["23478", "30408"]),
        "epics of": ("S4", {"S4-42": False, "S4-43": False, "S4-44": True}),
    },
    recorded={
        "epic types": ["10000"],
        "named types": (["story", "子任务"], ["10001", "10003"]),
        "epics of": ("K5", {"K5-2": False, "K5-3": False, "K5-4": True}),
    },
)
def test_jira_epics_are_found_by_the_issue_types(payloads: Payloads, expected: dict[str, Any]) -> None:
    types = payloads.jira_issue_types()
    ids = jira.epic_type_ids(types, None)
    assert ids == expected["epic types"]
    names, found = expected["named types"]
    assert jira.epic_type_ids(types, names) == found
    tickets = [jira.ticket_of(raw, SITE) for raw in payloads.jira_issues()]
    project, epics = expected["epics of"]
    assert {t.epic.key: t.type_id in ids for t in tickets if t.epic.project == project} == epics


@both_folders
def test_jira_webhooks_contain_issues_that_are_read_or_refused_by_name(payloads: Payloads) -> None:
    """They have the older API's shape; the issue of a comment event may be cut down, or missing."""
    read, refused = [], []
    for name, payload in payloads.jira_webhooks().items():
        issue = payload.get("issue")
        try:
            read += [jira.ticket_of(issue, SITE).epic] if issue else []
        except BadPayload:
            refused.append(name)
    assert len(read) == 24
    assert refused == [
        "cloud-comment-created-mention-user",
        "cloud-comment-deleted",
        "issue-assigned-empty-changelog",
    ]
    assert all(epic.key and epic.remote_id and epic.project for epic in read)
    assert sum(bool(epic.text) for epic in read) == 21


# --- GitHub ---------------------------------------------------------------------------------


@expecting(remade="Acme/Shop#7", recorded="Codertocat/Hello-World#1")
def test_every_github_issue_is_read(payloads: Payloads, expected: str) -> None:
    """The key has the capital letters of GitHub, also where the scope names the repository without them.

    The issue of a pin has neither state nor labels: webhooks only say which issue to fetch.
    """
    project, _, number = expected.partition("#")
    cut_down = [one for one in github_issues(payloads) if not one[2].keys() & {"state", "labels"}]
    assert [action for _, action, _ in cut_down] == ["pinned", "unpinned"]
    for _, _, raw in cut_down:
        with pytest.raises(BadPayload, match="labels"):
            github.issue_of(raw, project.lower(), WEB, GitHubEpics())
    every = [one for one in github_issues(payloads) if one not in cut_down]
    assert len(every) == 38
    read = [github.issue_of(raw, project.lower(), WEB, GitHubEpics()) for _, _, raw in every]
    pull_requests = [
        (event, action) for (event, action, _), found in zip(every, read, strict=True) if not found
    ]
    assert Counter(pull_requests) == {
        ("issues", "demilestoned"): 2, ("issues", "milestoned"): 2, ("issues", "opened"): 1,
        ("issues", "transferred"): 1,
    }  # fmt: skip
    epics = [found.epic for found in read if found]
    assert {epic.key for epic in epics} == {expected}
    assert {epic.project for epic in epics} == {project}
    assert {epic.url for epic in epics} == {f"{WEB}/{project}/issues/{number}"}
    assert Counter(epic.status for epic in epics) == {"open": 31, "closed": 1}
    assert not any(found.fits for found in read if found)


@expecting(
    remade={
        "remote_id": "876734737",
        "title": "Reorder in two taps",
        "updated_at": datetime(2020, 8, 28, 20, 33, 25, tzinfo=UTC),
        "labels": ("quarter",),
        "assignees": ("Acme",),
        "text": text_lines("A customer who bought 'it' once wants 'it' again."),
        "milestone": "Autumn",
    },
    recorded={
        "remote_id": "444500041",
        "title": "Spelling error in the README file",
        "updated_at": datetime(2019, 5, 15, 15, 20, 18, tzinfo=UTC),
        "labels": ("bug",),
        "assignees": ("Codertocat",),
        "text": text_lines("It looks like you accidently spelled 'commit' with two 't's."),
        "milestone": "v1.0",
    },
)
def test_a_github_issue_to_the_letter(payloads: Payloads, expected: dict[str, Any]) -> None:
    [label] = expected["labels"]
    raw = next(raw for _, action, raw in github_issues(payloads) if action == "opened")
    found = github.issue_of(raw, "x/y", WEB, GitHubEpics.model_validate({"labels": [label.title()]}))
    assert found is not None
    assert found.fits
    assert {name: getattr(found.epic, name) for name in expected} == expected


@expecting(remade=72, recorded=280)
def test_github_repositories_are_read(payloads: Payloads, expected: int) -> None:
    rows = [payload.get("repository") or {} for _, payload in payloads.github_webhooks()]
    rows = [row for row in rows if "full_name" in row]
    projects = [github.project_of(row) for row in rows]
    assert len(projects) == expected
    assert [project.key for project in projects] == [row["full_name"] for row in rows]
    assert all(project.key.count("/") == 1 for project in projects)
    assert {project.public for project in projects} == {True, False}


@both_folders
def test_every_milestone_of_a_github_issue_is_its_parent(payloads: Payloads) -> None:
    found = 0
    for _, _, raw in github_issues(payloads):
        if not raw.get("milestone") or not isinstance(raw.get("labels"), list):
            continue
        read = github.issue_of(raw, "acme/shop", WEB, GitHubEpics())
        if read is None:
            continue
        milestone, repository = raw["milestone"], read.epic.project
        page = f"{repository}/milestone/{milestone['number']}"
        assert read.epic.parent == Parent(page, title=milestone["title"], url=f"{WEB}/{page}")
        found += 1
    assert found
