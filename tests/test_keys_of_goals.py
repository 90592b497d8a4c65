"""What the key of a goal may be: a person can type it in a command, and nothing else is meant by it."""

from __future__ import annotations

import httpx
import pytest
from sqlalchemy import update

from app.runtime import Runtime
from mappings.command_words import GRAMMAR_WORDS
from mappings.goals.values import goal_key_error
from mappings.tables import KeyResultRow, ObjectiveRow
from tests.support.files import messages, outcomes, send_file
from tests.support.goals_api import Q4, a_key_result, fields_refused, send

pytestmark = pytest.mark.database

WORDS = ("to", "And", "until", "BECAUSE", "please", "link", "northing", "instead", "by")
# A Cyrillic letter, a full-width one, a dash of another kind, and characters that nobody sees.
LOOK_ALIKES = ("КR-1", "ＫR-1", "KR\u20111", "KR-1\u200b", "\u202eKR-1", "KR\u00ad-1", "ＫＲ－１")


def test_a_word_of_the_commands_is_no_new_key() -> None:
    for word in GRAMMAR_WORDS:
        for key in (word, word.upper()):
            assert f"where `{key}` is not read as a key" in (goal_key_error(key, None) or "")
            assert goal_key_error(key, key) is None, "a goal may keep what it has"
            assert goal_key_error(key, "KR-1") is not None
        assert goal_key_error(f"{word}-1", None) is None


async def test_neither_is_made_by_the_api_nor_by_a_file(api: httpx.AsyncClient) -> None:
    await a_key_result(api)
    for key in (*WORDS, *LOOK_ALIKES):
        for path in ("/objectives", "/objectives/O-1/key-results"):
            assert await fields_refused(api, "POST", path, {"title": "T", "key": key}) == ["key"], key
        for path in ("/objectives/O-1", "/key-results/KR-1"):
            assert await fields_refused(api, "PATCH", path, {"key": key}) == ["key"], key
    lines = "".join(f"{key},T{number}\n" for number, key in enumerate((*WORDS, *LOOK_ALIKES)))
    imported = await send_file(api, "objectives", f"key,title\n{lines}")
    assert set(outcomes(imported)) == {"error"}
    assert {field for _, field, _ in messages(imported)} == {"key"}
    lines = "".join(f"{key},O-1,T{number}\n" for number, key in enumerate(WORDS))
    imported = await send_file(api, "key-results", f"key,objective,title\n{lines}")
    assert set(outcomes(imported)) == {"error"}
    await send(api, "POST", "/cycles", {**Q4, "key": "next"}, 201)  # no command takes a cycle


async def test_a_goal_that_has_such_a_key_keeps_it_and_can_be_changed(
    api: httpx.AsyncClient, runtime: Runtime
) -> None:
    await a_key_result(api)
    async with runtime.sessions.begin() as session:
        for table in (ObjectiveRow, KeyResultRow):
            await session.execute(update(table).values(key="please"))
    for path in ("/objectives/please", "/key-results/please"):
        for body in ({"title": "Changed"}, {"title": "Again", "key": "please"}):
            assert (await send(api, "PATCH", path, body))["title"] == body["title"]
        assert await fields_refused(api, "PATCH", path, {"key": "until"}) == ["key"]
    for kind in ("objectives", "key-results"):
        imported = await send_file(api, kind, "key,title\nPlease,By a file\n")
        assert outcomes(imported) == ["changed"], imported
    assert (await send(api, "PATCH", "/key-results/please", {"key": "KR-7"}))["key"] == "KR-7"
