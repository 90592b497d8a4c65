"""What one does not see at an end of a secret is refused, and the setting or field is named."""

from __future__ import annotations

import base64
from pathlib import Path

import httpx
import pytest
from sqlalchemy import select

from app.runtime import Runtime
from app.secrets import binding_of
from app.settings import WrongSetting, load
from connectors.config import hidden_end
from mappings.tables import SourceRow
from tests.support.world import ADMIN_TOKEN, World

HIDDEN = {
    " ": "a blank", "\n": "a line break", "\r": "a line break", "\t": "a tab", "\xa0": "a blank",
    "\u200b": "the invisible character U+200B", "\ufeff": "the invisible character U+FEFF",
    "\u3000": "the invisible character U+3000", "\x00": "the invisible character U+0000",
    "\x7f": "the invisible character U+007F", "\u202e": "the invisible character U+202E",
    "\u3164": "the invisible character U+3164", "\ufe0f": "the invisible character U+FE0F",
}  # fmt: skip
SECRET = "hook-8e2a4c7d5b-secret"
KEY = base64.urlsafe_b64encode(bytes(32)).decode()
URL = "postgresql://northing:hunter2-hunter2@db.internal/northing"


@pytest.mark.parametrize(("char", "named"), HIDDEN.items())
def test_what_one_does_not_see_at_an_end_is_named(char: str, named: str) -> None:
    assert hidden_end(char + SECRET) == f"begins with {named}"
    assert hidden_end(SECRET + char) == f"ends with {named}"
    assert hidden_end(f"a{char}b") is None
    assert hidden_end("") is None
    assert hidden_end("pässwörd→✓") is None


@pytest.mark.parametrize("char", [" ", "\n", "\xa0", "\u200b", "\ufeff"])
@pytest.mark.parametrize(
    ("name", "value"), [("ADMIN_TOKEN", ADMIN_TOKEN), ("SECRET_KEY", f"{KEY},{KEY}"), ("DATABASE_URL", URL)]
)
def test_a_setting_with_a_hidden_end_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, value: str, char: str
) -> None:
    """From the environment, and from a quoted line of `.env`, which nobody strips."""
    monkeypatch.chdir(tmp_path)
    for other in ("DATABASE_URL", "LISTEN_URL", "ADMIN_TOKEN", "SECRET_KEY"):
        monkeypatch.delenv(f"NORTHING_{other}", raising=False)
    for given in (value + char, char + value):
        monkeypatch.setenv(f"NORTHING_{name}", given)
        _refused(name, value)
        monkeypatch.delenv(f"NORTHING_{name}")
        (tmp_path / ".env").write_text(f'NORTHING_{name}="{given}"\n', encoding="utf-8")
        _refused(name, value)
        (tmp_path / ".env").unlink()


def _refused(name: str, value: str) -> None:
    with pytest.raises(
        WrongSetting, match=rf"^NORTHING_{name} (begins|ends) with .*; take that out"
    ) as refusal:
        load()
    assert value not in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("SECRET_KEY", f"{KEY}\u200b,{KEY}", "has a key that ends with the invisible character U+200B"),
        ("SECRET_KEY", f"{KEY},\n{KEY}", "has a key that begins with a line break"),
        ("SECRET_KEY", f"{KEY[:20]}\x01{KEY[20:]}", "must be one or more Fernet keys"),
        ("DATABASE_URL", "postgresql://northing:hunter2 @db/northing", "has a blank or a line break inside"),
        (
            "DATABASE_URL",
            "postgresql://northing:hunter2%0A@db/northing",
            "has a password that ends with",
        ),
        (
            "LISTEN_URL",
            "postgresql://n:%EF%BB%BFhunter2@db/northing",
            "has a password that begins with",
        ),
    ],
)
def test_a_part_with_a_hidden_end_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, value: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(f"NORTHING_{name}", value)
    with pytest.raises(WrongSetting) as refusal:
        load()
    assert str(refusal.value).startswith(f"NORTHING_{name} {words}")
    assert "hunter2" not in str(refusal.value)


def test_a_blank_of_a_password_can_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NORTHING_SECRET_KEY", f"{KEY}, {KEY}")
    monkeypatch.setenv("NORTHING_DATABASE_URL", "postgresql://northing:hunter2%20@db/northing")
    assert load().database_url is not None


@pytest.mark.parametrize("char", ["\n", " ", "\u200b", "\ufeff", "\xa0"])
async def test_a_secret_with_a_hidden_end_is_422(world: World, char: str) -> None:
    await world.connect_jira(webhook_secret=SECRET)
    jira = {"type": "api_token", "email": "bot@acme.example", "token": "tok-3f1b6d0c9a"}
    for fields, body in (
        ("webhook_secret", {"webhook_secret": SECRET + char}),
        ("webhook_secret", {"webhook_secret": char + SECRET}),
        ("credentials.token", {"credentials": {**jira, "token": jira["token"] + char}}),
        ("credentials.email", {"credentials": {**jira, "email": jira["email"] + char}}),
    ):
        refusal = await world.refused("PATCH", "/sources/jira", body)
        assert [*refusal] == [fields]
        assert SECRET not in refusal[fields]
    github = {"type": "token", "token": f"ghp_s3cret{char}"}
    whole = {"name": "g", "kind": "github", "base_url": world.github_url, "credentials": github}
    refusal = await world.refused("POST", "/sources", {**whole, "scope": {"repositories": ["acme/shop"]}})
    assert [field.rpartition(".")[2] for field in refusal] == ["token"]


async def test_a_secret_stored_before_keeps_no_other_change_back(world: World, runtime: Runtime) -> None:
    await world.connect_jira(webhook_secret=SECRET)
    async with runtime.sessions.begin() as session:
        row = (await session.scalars(select(SourceRow))).one()
        kept = row.webhook_secret = runtime.cipher.encrypt(f"{SECRET}\n", binding_of(row, "webhook_secret"))
    await world.send("PATCH", "/sources/jira", {"notices": {"per_run": 3}})
    async with runtime.sessions() as session:
        assert (await session.scalars(select(SourceRow.webhook_secret))).one() == kept


@pytest.mark.parametrize("sent", [b"\xe2\x80\x8b", b"\xc2\xa0", b" x"])
async def test_a_wrong_token_with_a_hidden_character_is_told_so(api: httpx.AsyncClient, sent: bytes) -> None:
    authorization = b"Bearer " + ADMIN_TOKEN.encode() + sent
    answer = await api.get("/api/v1/runs", headers=[(b"authorization", authorization)])
    assert answer.status_code == 401
    assert "a blank or an invisible character" in answer.json()["detail"]
    answer = await api.get("/api/v1/runs", headers={"Authorization": "Bearer another-token-that-is-wrong"})
    assert (answer.status_code, "invisible" in answer.json()["detail"]) == (401, False)
