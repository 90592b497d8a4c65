"""What Jira and GitHub really sent, read by the connectors' payload code."""

from __future__ import annotations

import csv
import json
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from connectors.base import BadPayload
from connectors.github import payloads as github
from connectors.github.config import GitHubEpics
from connectors.jira import payloads as jira

FIXTURES = Path(__file__).parents[2] / "shared" / "fixtures"
pytestmark = pytest.mark.skipif(
    not FIXTURES.exists(), reason="the recorded payloads lie beside the repository, not in it"
)
SITE = "https://merico.atlassian.net"
WEB = "https://github.com"


def recorded_jira(name: str) -> list[Any]:
    csv.field_size_limit(sys.maxsize)
    with (FIXTURES / "jira-issues" / f"raw_tables___raw_jira_{name}.csv").open(newline="") as file:
        return [json.loads(row["data"]) for row in csv.DictReader(file)]


def recorded_github() -> Iterator[tuple[str, str, Any]]:
    """Event, action and issue of every example that holds one."""
    text = (FIXTURES / "github-webhooks" / "webhooks-examples-api.github.com.json").read_text()
    for event in json.loads(text):
        for example in event["examples"]:
            changes = example.get("changes") or {}
            found = [example.get("issue"), changes.get("old_issue"), changes.get("new_issue")]
            yield from ((event["name"], example.get("action"), i) for i in found if isinstance(i, dict))


# --- Jira -----------------------------------------------------------------------------------


def test_every_recorded_jira_issue_is_read() -> None:
    tickets = [jira.ticket_of(raw, SITE) for raw in recorded_jira("api_issues")]
    epics = [ticket.epic for ticket in tickets]
    assert len(epics) == 33
    assert len({epic.remote_id for epic in epics}) == 33
    assert Counter(epic.project for epic in epics) == {"EE": 30, "K5": 3}
    assert Counter(epic.type for epic in epics) == {
        "故事": 8, "任务": 8, "缺陷": 1, "子任务": 12, "Test Execution": 1, "Story": 2, "Epic": 1,
    }  # fmt: skip
    assert Counter(epic.status_category for epic in epics) == {"done": 25, "todo": 8}
    assert all(epic.url == f"{SITE}/browse/{epic.key}" for epic in epics)
    assert all(epic.created_at.tzinfo is UTC and epic.created_at <= epic.updated_at for epic in epics)


def test_a_recorded_jira_issue_to_the_letter() -> None:
    epics = {t.epic.key: t.epic for t in (jira.ticket_of(raw, SITE) for raw in recorded_jira("api_issues"))}
    first = epics["EE-1"]
    assert first.title == "\u200b四个排序图：测试/注释覆盖度、复用度、模块性"
    assert first.created_at == datetime(2020, 6, 12, 0, 13, 13, 360_000, UTC)
    assert first.updated_at == datetime(2021, 3, 28, 8, 6, 8, 713_000, UTC)
    assert (first.labels, first.milestone, first.assignees) == (
        ("frontEnd", "Saas"), "v2.7.0", ("Person d9e720",),
    )  # fmt: skip
    assert (epics["EE-25"].type, epics["EE-25"].parent_key) == ("子任务", None)
    assert epics["K5-2"].parent_key == "K5-1"
    # U+0000 stands in this one, which PostgreSQL refuses.
    assert epics["EE-4"].title == "\u200b问题分布的帕累托图"


def test_the_recorded_epics_are_found_by_the_recorded_types() -> None:
    types = recorded_jira("api_issue_types")
    ids = jira.epic_type_ids(types, None)
    assert ids == ["10000"]
    assert jira.epic_type_ids(types, ["story", "子任务"]) == ["10001", "10003"]
    tickets = [jira.ticket_of(raw, SITE) for raw in recorded_jira("external_epics")]
    assert {t.epic.key: t.type_id in ids for t in tickets} == {"K5-2": False, "K5-3": False, "K5-4": True}


def test_jira_webhooks_hold_issues_that_are_read_or_refused_by_name() -> None:
    """Their shape is that of the older API; comment events may hold a cut-down issue or none."""
    read, refused = [], []
    for path in sorted((FIXTURES / "jira-webhooks").glob("*.json")):
        issue = json.loads(path.read_text()).get("issue")
        try:
            read += [jira.ticket_of(issue, SITE).epic] if issue else []
        except BadPayload:
            refused.append(path.name)
    assert len(read) == 24
    assert refused == [
        "webhook-cloud-comment-created-mention-user.json",
        "webhook-cloud-comment-deleted.json",
        "webhook-issue-assigned-empty-changelog.json",
    ]
    assert all(epic.key and epic.remote_id and epic.project for epic in read)
    assert sum(bool(epic.text) for epic in read) > 10


# --- GitHub ---------------------------------------------------------------------------------


def test_every_recorded_github_issue_is_read() -> None:
    every = list(recorded_github())
    assert len(every) == 40
    read = [github.issue_of(raw, "codertocat/hello-world", WEB, GitHubEpics()) for _, _, raw in every]
    pull_requests = [
        (event, action) for (event, action, _), found in zip(every, read, strict=True) if not found
    ]
    assert Counter(pull_requests) == {
        ("issues", "demilestoned"): 2, ("issues", "milestoned"): 2, ("issues", "opened"): 1,
        ("issues", "transferred"): 1,
    }  # fmt: skip
    epics = [found.epic for found in read if found]
    assert {epic.key for epic in epics} == {"Codertocat/Hello-World#1"}
    assert {epic.project for epic in epics} == {"Codertocat/Hello-World"}
    assert {epic.url for epic in epics} == {f"{WEB}/Codertocat/Hello-World/issues/1"}
    assert Counter(epic.status for epic in epics) == {"open": 33, "closed": 1}
    assert not any(found.fits for found in read if found)


def test_a_recorded_github_issue_to_the_letter() -> None:
    bug = GitHubEpics.model_validate({"labels": ["Bug"]})
    raw = next(raw for _, action, raw in recorded_github() if action == "opened")
    found = github.issue_of(raw, "x/y", WEB, bug)
    assert found is not None
    assert found.fits
    epic = found.epic
    assert (epic.remote_id, epic.title) == ("444500041", "Spelling error in the README file")
    assert epic.updated_at == datetime(2019, 5, 15, 15, 20, 18, tzinfo=UTC)
    assert (epic.labels, epic.assignees) == (("bug",), ("Codertocat",))
    assert epic.text == ("It looks like you accidently spelled 'commit' with two 't's.",)
    assert epic.milestone == raw["milestone"]["title"]


def test_recorded_repositories_are_read() -> None:
    text = (FIXTURES / "github-webhooks" / "webhooks-examples-api.github.com.json").read_text()
    rows = [
        x["repository"]
        for e in json.loads(text)
        for x in e["examples"]
        if "full_name" in (x.get("repository") or {})
    ]
    projects = [github.project_of(row) for row in rows]
    assert len(projects) > 200
    assert {project.public for project in projects} == {True, False}
    assert all(project.key.count("/") == 1 for project in projects)
