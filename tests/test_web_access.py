"""The pages of tokens and of the audit log."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from fastapi import FastAPI

from app.api.audit_log import AuditEntryOut
from app.web.audit_log import differences
from tests.support.clock import Clock
from tests.support.pages import Visitor, visiting, words_of
from tests.support.world import World

HOSTILE = '<script>alert("x")</script> & co'


@pytest.fixture
async def visitor(application: FastAPI) -> AsyncIterator[Visitor]:
    async with visiting(application) as somebody:
        yield somebody


# --- tokens -----------------------------------------------------------------------------------------


async def test_a_token_is_made_shown_once_and_deleted(
    world: World, application: FastAPI, visitor: Visitor, clock: Clock
) -> None:
    await visitor.sign_in()
    assert "There is no token yet" in words_of(await visitor.get("/tokens"))
    fields = {"do": "make", "name": HOSTILE, "role": "editor", "expires_at": "2099-01-31"}
    made = await visitor.send("/tokens", fields, expect=201)
    assert made.headers["cache-control"] == "no-store"
    (token,) = re.findall(r'value="(nt_[^"]+)"', made.text)
    page = await visitor.get("/tokens")
    assert token not in page
    assert "<script>" not in page.replace('<script type="module"', "").replace("<script src", "")
    assert "31 Jan 2099" in words_of(page)
    (row,) = (await world.send("GET", "/tokens"))["items"]
    assert (row["name"], row["role"], row["expires_at"]) == (HOSTILE, "editor", "2099-01-31T00:00:00Z")

    async with visiting(application) as holder:
        await holder.sign_in(token)
        clock.advance(minutes=2)
        sure = words_of(await visitor.get(f"/tokens?delete={row['id']}"))
        assert "nothing brings it back" in sure
        assert "It was last used" in sure
        assert "1 sign-in with it ends at once" in sure
        await visitor.send(f"/tokens?delete={row['id']}", {"do": "delete", "id": row["id"]}, to="/tokens")
        shown = words_of(await visitor.get("/tokens"))
        assert f"Token {row['id']} (<script>" not in shown
        assert "is deleted. Whoever used it is refused from now on." in shown
        await holder.get("/", expect=303)
    entries = (await world.send("GET", "/audit-log?what=token"))["items"]
    assert [(one["who"], one["action"]) for one in entries] == [
        ("admin token", "deleted"),
        ("admin token", "created"),
    ]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"name": "", "role": "viewer"}, "Field required"),
        ({"name": "x" * 101, "role": "viewer"}, "at most 100 characters"),
        ({"name": "ci", "role": "owner"}, "Input should be"),
        ({"name": "ci", "role": "viewer", "expires_at": "2001-01-01"}, "Is in the past"),
        ({"name": "ci", "role": "viewer", "expires_at": "soon"}, "Must be a time"),
    ],
)
async def test_a_wrong_form_is_shown_again_with_what_was_typed(
    visitor: Visitor, fields: dict[str, str], words: str
) -> None:
    await visitor.sign_in()
    answer = await visitor.send("/tokens", {"do": "make", **fields}, expect=422)
    assert "<title>1 error · Tokens · Northing</title>" in answer.text
    assert words in words_of(answer.text)
    if fields["name"]:
        assert f'value="{fields["name"]}"' in answer.text


@pytest.mark.parametrize("sent", ["", "0", "7", "x", "٣", "9" * 30])
async def test_a_token_that_is_not_there_is_not_deleted(visitor: Visitor, sent: str) -> None:
    await visitor.sign_in()
    answer = await visitor.send("/tokens", {"do": "delete", "id": sent}, expect=404)
    assert "There is no token" in words_of(answer.text)
    await visitor.get("/tokens?delete=7", expect=404)


async def test_whoever_deletes_their_own_token_is_told_and_signed_out(world: World, visitor: Visitor) -> None:
    made = await world.send("POST", "/tokens", {"name": "mine", "role": "admin"})
    await visitor.sign_in(made["token"])
    page = await visitor.get(f"/tokens?delete={made['id']}")
    assert "so you will be signed out" in words_of(page)
    await visitor.send("/tokens", {"do": "delete", "id": made["id"]})
    await visitor.get("/tokens", expect=303)


async def test_many_tokens_are_shown_a_page_at_a_time(world: World, visitor: Visitor) -> None:
    for number in range(51):
        await world.send("POST", "/tokens", {"name": f"t{number}", "role": "viewer"})
    await visitor.sign_in()
    first = await visitor.get("/tokens")
    (following,) = re.findall(r'rel="next" href="([^"]+)"', first)
    second = await visitor.get(f"/tokens{following}")
    assert (first.count('href="/tokens?delete='), second.count('href="/tokens?delete=')) == (50, 1)


# --- the audit log ------------------------------------------------------------------------------------


async def test_the_audit_log_is_read_by_its_filters_and_page_by_page(world: World, visitor: Visitor) -> None:
    await visitor.sign_in()
    assert "Nothing was changed" in words_of(await visitor.get("/audit-log"))
    await world.goal("KR-1", HOSTILE)
    day = f"{datetime.now(UTC):%Y-%m-%d}"  # the log has the database's time
    for target in range(60):
        await world.send("PATCH", "/key-results/KR-1", {"metric": {"target": target + 2}})
    page = await visitor.get("/audit-log?key=kr-1")
    words = words_of(page)
    assert "Key result KR-1 changed" in words
    assert "target 60 → became 61" in words
    assert page.count("became") == 50
    (older,) = re.findall(r'rel="next" href="([^"]+)"', page)
    assert "key=kr-1&amp;cursor=" in older
    second = await visitor.get(older.replace("&amp;", "&"))
    assert "Newest" in words_of(second)
    assert 'value="kr-1"' in second  # the form shows the filters
    assert HOSTILE not in second
    assert "&lt;script&gt;" in second
    today = f"since={day}&until={day}"
    for query, found in (
        (f"{today}&key=KR-1&what=key_result&who=admin+token", "became"),
        ("until=2001-01-01", "Nothing recorded fits these filters"),
        ("who=nobody", "Nothing recorded fits these filters"),
        (f"{today}&what=token", "Nothing recorded fits these filters"),
    ):
        assert found in words_of(await visitor.get(f"/audit-log?{query}")), query
    for query in ("what=secret", "since=yesterday", "until=0001-01-01", "since=2026-02-30&until=x"):
        wrong = await visitor.get(f"/audit-log?{query}", expect=422)
        assert "error" in re.findall("<title>(.*)</title>", wrong)[0], query
        assert 'role="alert"' in wrong
    await visitor.get("/audit-log?cursor=forged", expect=422)


async def test_the_audit_log_says_of_a_secret_only_that_it_changed(world: World, visitor: Visitor) -> None:
    await world.connect_jira()
    login = {"type": "api_token", "email": "bot@acme.com", "token": "another-token-of-this-bot"}
    await world.send("PATCH", "/sources/jira", {"credentials": login})
    await visitor.sign_in()
    page = await visitor.get("/audit-log")
    assert "another-token-of-this-bot" not in page
    assert "credentials" in words_of(page)


def changed(before: dict[str, Any] | None, after: dict[str, Any] | None) -> AuditEntryOut:
    return AuditEntryOut(
        id=1,
        at=datetime.now(UTC),
        who="ci",
        who_id=None,
        action="changed",
        what="rule",
        key="1",
        before=before,
        after=after,
    )


def test_a_change_is_shown_as_a_difference() -> None:
    entry = changed(
        before={"title": "a", "labels": ["x", "y"], "due": None, "on": True},
        after={"title": "b", "labels": [], "due": "2027-01-01", "on": False, "metric": {"target": 1}},
    )
    nested = changed(
        before={"policy": {"grace": "P5D", "checks": {"a": {"on": True}, "b": {}}}},
        after={"policy": {"grace": "P2D", "checks": {"a": {"on": True, "grace": "P1D"}, "b": {}}}},
    )
    assert differences(nested) == [
        ("policy grace", "P5D", "P2D"),
        ("policy checks a grace", "nothing", "P1D"),
    ]
    assert differences(entry) == [
        ("title", "a", "b"),
        ("labels", "x, y", "nothing"),
        ("due", "nothing", "2027-01-01"),
        ("on", "yes", "no"),
        ("metric target", "nothing", "1"),
    ]
    made = changed(before=None, after={"key_result": "KR-1", "why": None, "fits": [{"a": 1}]})
    assert differences(made) == [("key result", None, "KR-1"), ("fits", None, '[{"a": 1}]')]
    assert differences(changed(before=None, after=None)) == []
