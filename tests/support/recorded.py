"""Payloads as Jira and GitHub send them, from two folders: recorded ones, and re-made ones.

The recorded ones lie beside the repository, in ../shared/fixtures; where they are not, their tests skip. The
re-made ones in tests/fixtures have their members, nesting, types and oddities, with words, names and numbers
of our own; `tests/test_remade_payloads.py` compares the two. Of GitHub's events that Northing ignores, and
of Jira's issues, only some are re-made, and of a list as many items as differ in shape.

A re-made object `{"$part": "name"}` stands for the member `name` of its folder's parts.json, which many
payloads share; the loaders put it in.
"""

from __future__ import annotations

import csv
import json
import sys
from abc import ABC, abstractmethod
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.support.beside import FIXTURES, needs_fixtures

REMADE_FOLDER = Path(__file__).parents[1] / "fixtures"
PART = "$part"


class Payloads(ABC):
    """What one of the two folders holds. Each call reads the files, so a test may change what it gets."""

    @abstractmethod
    def jira_webhooks(self) -> dict[str, Any]:
        """Name to payload; the name says what it is about, as `issue-updated-labels`."""

    @abstractmethod
    def jira_issues(self) -> list[Any]:
        """Issues as the agile API lists them."""

    @abstractmethod
    def jira_issue_types(self) -> list[Any]:
        """The site's issue types, as the REST API lists them."""

    @abstractmethod
    def github_webhooks(self) -> list[tuple[str, Any]]:
        """Event and payload."""


class _Recorded(Payloads):
    def jira_webhooks(self) -> dict[str, Any]:
        files = sorted((FIXTURES / "jira-webhooks").glob("webhook-*.json"))
        return {path.stem.removeprefix("webhook-"): json.loads(path.read_text("utf-8")) for path in files}

    def jira_issues(self) -> list[Any]:
        return self._table("api_issues")

    def jira_issue_types(self) -> list[Any]:
        return self._table("api_issue_types")

    def _table(self, name: str) -> list[Any]:
        csv.field_size_limit(sys.maxsize)
        path = FIXTURES / "jira-issues" / f"raw_tables___raw_jira_{name}.csv"
        with path.open(newline="", encoding="utf-8") as file:
            return [json.loads(row["data"]) for row in csv.DictReader(file)]

    def github_webhooks(self) -> list[tuple[str, Any]]:
        path = FIXTURES / "github-webhooks" / "webhooks-examples-api.github.com.json"
        events = json.loads(path.read_text("utf-8"))
        return [(event["name"], payload) for event in events for payload in event["examples"]]


class _Remade(Payloads):
    def jira_webhooks(self) -> dict[str, Any]:
        return _files("jira-webhooks")

    def jira_issues(self) -> list[Any]:
        return [payload for name, payload in _files("jira-issues").items() if name != "types"]

    def jira_issue_types(self) -> list[Any]:
        types: list[Any] = _files("jira-issues")["types"]
        return types

    def github_webhooks(self) -> list[tuple[str, Any]]:
        """A file is named by event, action, and a number from the second one on."""
        return [(name.partition("-")[0], payload) for name, payload in _files("github-webhooks").items()]


def _files(folder: str) -> dict[str, Any]:
    """Name to payload, with its parts put in."""
    texts = _texts(folder)
    parts = json.loads(texts["parts"])
    return {name: _whole(json.loads(text), parts) for name, text in texts.items() if name != "parts"}


@cache
def _texts(folder: str) -> dict[str, str]:
    files = sorted((REMADE_FOLDER / folder).glob("*.json"), key=lambda path: path.stem)
    return {path.stem: path.read_text("utf-8") for path in files}


def _whole(value: Any, parts: dict[str, Any]) -> Any:
    if isinstance(value, list):
        return [_whole(item, parts) for item in value]
    if not isinstance(value, dict):
        return value
    if PART in value:
        return _whole(parts[value[PART]], parts)
    return {name: _whole(item, parts) for name, item in value.items()}


RECORDED: Payloads = _Recorded()
REMADE: Payloads = _Remade()


def expecting(*, remade: Any, recorded: Any) -> pytest.MarkDecorator:
    """Runs a test with `payloads` of both folders, and with what it expects of each as `expected`."""
    return pytest.mark.parametrize(
        ("payloads", "expected"),
        [
            pytest.param(REMADE, remade, id="re-made"),
            pytest.param(RECORDED, recorded, id="recorded", marks=needs_fixtures),
        ],
    )


both_folders = pytest.mark.parametrize(
    "payloads",
    [
        pytest.param(REMADE, id="re-made"),
        pytest.param(RECORDED, id="recorded", marks=needs_fixtures),
    ],
)
