"""Loads a recorded GitHub issue into a host, which then serves it as it was recorded."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from connectors.sandbox.github.records import Issue, Json

if TYPE_CHECKING:
    from connectors.sandbox.github.host import GitHubHost

# Members the simulated host makes itself: their links must lead to it, so that a client can follow them.
OWN = frozenset(
    {"url", "repository_url", "labels_url", "comments_url", "events_url", "timeline_url", "comments"}
)


def load_recorded(host: GitHubHost, full_name: str, raw: Json) -> Issue:
    """Adds the issue, and its repository if missing; recorded fields are served until edited.

    `raw` is an issue of a REST answer or of a webhook. Its id and number stay. Raises LookupError if the
    number is in use.
    """
    repository = host.find_repository(full_name) or host.add_repository(full_name, private=False)
    number = raw["number"]
    if number in repository.issues:
        raise LookupError(f"{full_name}#{number} is taken")
    issue = Issue(
        raw["id"],
        repository,
        number,
        raw["title"],
        raw.get("body"),
        host.account((raw.get("user") or {}).get("login", "ghost")),
        _time(raw["created_at"]),
        _time(raw["updated_at"]),
        state=raw.get("state") or "open",
        labels=[label["name"] for label in raw.get("labels") or [] if label],
        pull_request="pull_request" in raw,
        recorded={name: value for name, value in raw.items() if name not in OWN},
    )
    repository.issues[number] = issue
    repository.last_number = max(repository.last_number, number)
    return issue


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
