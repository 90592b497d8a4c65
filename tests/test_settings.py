"""A wrong or half-set setting is one line that names it, and never shows what was set."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from app.settings import WrongSetting, load
from connectors.addresses import is_loopback

KEY = base64.urlsafe_b64encode(bytes(32)).decode()  # the same in each worker: it is in test ids
OTHER_KEY = base64.urlsafe_b64encode(bytes([1] * 32)).decode()
URL = "postgresql://northing:hunter2-hunter2@db.internal/northing"


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of whoever runs the tests, no `.env` of theirs."""
    monkeypatch.chdir(tmp_path)
    for name in ("DATABASE_URL", "LISTEN_URL", "DATA_DIR", "ADMIN_TOKEN", "SECRET_KEY", "HOST", "PORT"):
        monkeypatch.delenv(f"NORTHING_{name}", raising=False)
    for name in ("PUBLIC_URL", "LOG_FORMAT"):
        monkeypatch.delenv(f"NORTHING_{name}", raising=False)


@pytest.mark.parametrize(
    ("name", "value", "hint"),
    [
        ("PORT", "eighty", "integer"),
        ("PORT", "70000", "65535"),
        ("PORT", "-1", "0"),
        ("LOG_FORMAT", "loud-and-clear", "console"),
        ("ADMIN_TOKEN", "hunter2", "16 characters"),
        ("SECRET_KEY", "hunter2-hunter2", "Fernet"),
        ("SECRET_KEY", f"{KEY},hunter2-hunter2", "Fernet"),
        ("PUBLIC_URL", "northing.example.com", "https://"),
        ("PUBLIC_URL", "https://:8000", "name a host"),
        ("PUBLIC_URL", "https:///northing", "name a host"),
        ("PUBLIC_URL", "https://northing:hunter2@northing.example.com", "without a login"),
        ("PUBLIC_URL", "https://northing.example.com ", "a blank"),
        ("DATABASE_URL", "hunter2-hunter2", "postgresql://"),
        ("DATABASE_URL", "mysql://northing:hunter2@db/northing", "PostgreSQL"),
        ("DATABASE_URL", "postgresql://northing:hunter2@db", "no database"),
        ("DATABASE_URL", URL, "NORTHING_SECRET_KEY is required"),
        ("LISTEN_URL", "sqlite:///hunter2", "PostgreSQL"),
        ("LISTEN_URL", URL, "NORTHING_DATABASE_URL"),
    ],
)
def test_a_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str, hint: str) -> None:
    monkeypatch.setenv(f"NORTHING_{name}", value)
    with pytest.raises(WrongSetting) as refused:
        load()
    line = str(refused.value)
    assert f"NORTHING_{name}" in line
    assert hint in line
    assert "\n" not in line
    assert "hunter2" not in line
    assert value not in line
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__, "the cause would show the value in a traceback"


def test_what_is_set_empty_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", "SECRET_KEY", "PORT", "ADMIN_TOKEN"):
        monkeypatch.setenv(f"NORTHING_{name}", "")
    settings = load()
    assert (settings.database_url, settings.secret_key, settings.port) == (None, (), 8000)
    assert settings.admin_token is None


def test_a_file_sets_what_the_environment_does_not(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("NORTHING_PORT=9001\nNORTHING_HOST=0.0.0.0\nOTHER=1\n")
    monkeypatch.setenv("NORTHING_PORT", "9002")
    settings = load()
    assert (settings.port, settings.host) == (9002, "0.0.0.0")


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_every_spelling_of_postgresql_is_taken(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    url = f"{scheme}://northing:hunter2@db/northing"
    monkeypatch.setenv("NORTHING_DATABASE_URL", url)
    monkeypatch.setenv("NORTHING_SECRET_KEY", f"{KEY}, {OTHER_KEY}")
    settings = load()
    assert settings.database_url is not None
    assert settings.database_url.get_secret_value() == url
    first, _ = settings.secret_key
    assert first.get_secret_value() == KEY
    assert "hunter2" not in repr(settings)
    assert KEY not in repr(settings)


@pytest.mark.parametrize(
    ("given", "base", "loopback"),
    [
        ({}, "http://127.0.0.1:8000", True),
        ({"host": "::1", "port": 80}, "http://[::1]:80", True),
        ({"host": "0.0.0.0"}, "http://127.0.0.1:8000", True),
        ({"host": "::"}, "http://[::1]:8000", True),
        ({"host": "192.0.2.1"}, "http://192.0.2.1:8000", False),
        ({"public_url": "https://northing.acme.example/"}, "https://northing.acme.example", False),
        ({"public_url": "http://localhost:9"}, "http://localhost:9", True),
        ({"public_url": "http://127.0.0.2"}, "http://127.0.0.2", True),
    ],
)
def test_where_links_in_comments_begin(given: dict[str, object], base: str, loopback: bool) -> None:
    settings = load(**given)
    assert (settings.links_base, is_loopback(settings.links_base)) == (base, loopback)
