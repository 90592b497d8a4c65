"""The values and errors of the connectors' contract: whose comment it is, and what an error advises."""

from __future__ import annotations

from copy import copy
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from connectors.base import (
    UNREADABLE,
    BadPayload,
    Comment,
    CommentRef,
    ConnectorError,
    Epic,
    EpicRef,
    Gone,
    Missing,
    Page,
    Project,
    Rejected,
    Unanswered,
    Unauthorized,
    Unavailable,
)
from connectors.marker import Marker
from connectors.webhooks import Hint

NOW = datetime(2026, 11, 16, 12, tzinfo=UTC)
MARKER = Marker("0b9f-4a34", 5)


DIGEST, FORMER, OTHER = "ab" * 16, "cd" * 16, "ef" * 16
SIGNED = Marker("0b9f-4a34", 5, DIGEST, (FORMER,), frozenset({"before"}))


@pytest.mark.parametrize(
    ("found", "fits"),
    [
        (f"0b9f-4a34/5 {DIGEST}", True),
        # Another epic of this installation: the ticket was transferred, or the source made again.
        (f"0b9f-4a34/6 {DIGEST}", True),
        (f"0b9f-4a34/5 {FORMER}", True),
        (f"0b9f-4a34/5 {OTHER}", False),
        (f"0b9f-4a34/5 {DIGEST[:-1]}", False),
        (f"0b9f-4a34/5 {DIGEST} ", False),
        (f"0b9f-4a34/5  {DIGEST}", False),
        ("0b9f-4a34/5 \ud800", False),
        ("0b9f-4a34/5 ё", False),
        (f"other/5 {DIGEST}", False),
        # What a version wrote that did not sign.
        ("0b9f-4a34/5", True),
        ("0b9f-4a34/6", True),
        # Another installation, and what is no marker of ours.
        ("other/5", False),
        ("0b9f-4a34", False),
        ("0b9f-4a34/5/6", False),
        ("x/0b9f-4a34/5", False),
        ("0B9F-4A34/5", False),
        ("/5", False),
        ("", False),
        (None, False),
    ],
)
def test_a_marker_tells_our_comment(found: str | None, fits: bool) -> None:
    assert str(SIGNED) == f"0b9f-4a34/5 {DIGEST}"
    assert SIGNED.fits(found, "me", "me") is fits
    assert SIGNED.fits(found, "before", "me") is fits
    assert not SIGNED.fits(found, "somebody", "me")


def test_no_marker_is_not_that_of_an_installation_of_that_name() -> None:
    assert not Marker("None", 5).fits(None, "me", "me")


def test_an_epic_is_asked_for_by_its_id_and_its_key() -> None:
    epic = Epic("10001", "SHOP-1", "SHOP", "t", "u", "Epic", "Open", "todo", NOW, NOW)
    assert epic.ref == EpicRef("10001", "SHOP-1")


def test_an_epic_has_nothing_that_is_not_given() -> None:
    epic = Epic("10001", "SHOP-1", "SHOP", "t", "u", "Epic", "Open", "todo", NOW, NOW)
    assert (epic.labels, epic.assignees, epic.components, epic.text, epic.fields) == ((), (), (), (), {})
    assert (epic.milestone, epic.parent) == (None, None)
    other = Epic("10002", "SHOP-2", "SHOP", "t", "u", "Epic", "Open", "todo", NOW, NOW)
    other.fields["team"] = ("Red",)
    assert epic.fields == {}, "each has fields of its own"


@pytest.mark.parametrize(
    ("made", "members"),
    [
        (Project("SHOP"), {"public": False, "service_desk": False, "read_only": None, "problem": None}),
        (Comment("1", "u"), {"ours": True}),
        (CommentRef(EpicRef("1", "SHOP-1"), "2"), {"removed": False}),
        (Page(()), {"missing": (), "cursor": None}),
        (
            Hint("issues"),
            {
                "action": None,
                "kind": "handled",
                "reason": None,
                "tickets": (),
                "removed": False,
                "comment": None,
                "reread": False,
                "project": None,
            },
        ),
    ],
)
def test_what_is_not_said_is_what_does_no_harm(made: Any, members: dict[str, object]) -> None:
    assert {name: getattr(made, name) for name in members} == members


@pytest.mark.parametrize(
    "made",
    [
        MARKER,
        EpicRef("1", "SHOP-1"),
        Project("SHOP"),
        Comment("1", "u"),
        Page(()),
        Hint("issues"),
        Missing(EpicRef("1", "SHOP-1"), "out_of_scope"),
    ],
)
def test_values_are_equal_by_what_they_say_and_cannot_change(made: Any) -> None:
    other = copy(made)
    assert other is not made
    assert (other, hash(other)) == (made, hash(made))
    with pytest.raises(AttributeError):
        setattr(made, next(iter(made.__slots__)), "other")


# --- errors -----------------------------------------------------------------------------------

BY_ITSELF = "Nothing; Northing tries again by itself."


@pytest.mark.parametrize(
    ("error", "code", "what_to_do"),
    [
        (ConnectorError("m"), "tracker_error", ""),
        (ConnectorError("m", "Do."), "tracker_error", "Do."),
        (Unavailable("m"), "unavailable", BY_ITSELF),
        (Unavailable("m", 5.0), "unavailable", BY_ITSELF),
        (Unavailable("m", 5.0, "Do."), "unavailable", "Do."),
        (Unanswered("m"), "unanswered", BY_ITSELF),
        (Rejected("m", "Do."), "rejected", "Do."),
        (Unauthorized("m", "Do."), "unauthorized", "Do."),
        (Gone("m"), "gone", ""),
        (BadPayload("m"), "bad_payload", UNREADABLE),
        (BadPayload("m", "Do."), "bad_payload", "Do."),
    ],
)
def test_an_error_has_a_code_and_says_what_to_do(error: ConnectorError, code: str, what_to_do: str) -> None:
    assert (error.code, error.message, str(error), error.what_to_do) == (code, "m", "m", what_to_do)


@pytest.mark.parametrize(
    ("kind", "also"),
    [
        (Unanswered, [Unavailable]),
        (Unauthorized, [Rejected]),
        (Unavailable, []),
        (Rejected, []),
        (Gone, []),
        (BadPayload, []),
    ],
)
def test_whoever_waits_or_gives_up_on_one_kind_does_so_on_its_narrower_kinds(
    kind: type[ConnectorError], also: list[type[ConnectorError]]
) -> None:
    kinds = (Unavailable, Unanswered, Rejected, Unauthorized, Gone, BadPayload)
    assert [other for other in kinds if issubclass(kind, other) and other is not kind] == also
    assert issubclass(kind, ConnectorError)


@pytest.mark.parametrize(
    ("named", "has_retry_after", "retry_after"),
    [(None, False, 60.0), (0.0, True, 0.0), (1.5, True, 1.5), (3600.0, True, 3600.0)],
)
def test_a_time_that_nobody_named_is_a_minute(
    named: float | None, has_retry_after: bool, retry_after: float
) -> None:
    error = Unavailable("m", named)
    assert (error.has_retry_after, error.retry_after) == (has_retry_after, retry_after)


@pytest.mark.parametrize(
    ("named", "lasted", "delay"),
    [
        (None, -1, 5),
        (None, 0, 5),
        (None, 5, 5),
        (None, 6, 6),
        (None, 59, 59),
        (None, 60, 60),
        (None, 3600, 60),
        (0.0, 3600, 0),
        (2.5, 0, 2.5),
        (3600.0, 0, 3600),
    ],
)
def test_the_wait_is_the_time_named_else_as_long_as_the_trouble_lasted(
    named: float | None, lasted: float, delay: float
) -> None:
    assert Unavailable("m", named).retry_delay(timedelta(seconds=lasted)) == timedelta(seconds=delay)
