"""The migrations: up, down, in a race, and against the tables' classes."""

from __future__ import annotations

import ast
import asyncio
import logging
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from psycopg import sql
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.pool import NullPool

import migrations
from app.database import (
    DatabaseNotReady,
    applied_revision,
    downgrade,
    engine_for,
    migrate,
    newest_revision,
    sqlalchemy_url,
    why_not_ready,
)
from mappings.links.references import parse_references, stored_references
from mappings.tables import Base
from migrations.job_queue import ENUMS_GROW
from tests.migration.proposal import COMPARISON, write_migration
from tests.support.ticket_text import text_lines

pytestmark = pytest.mark.database
VERSIONS = Path(migrations.__file__).parent / "versions"


@pytest.fixture
def empty(postgresql: Callable[[str], str]) -> Iterator[str]:
    """The URL of a database with nothing in it."""
    name = f"empty_{uuid4().hex}"
    with psycopg.connect(postgresql("postgres"), autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    yield postgresql(name)
    with psycopg.connect(postgresql("postgres"), autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def test_migrations_read_like_a_diary() -> None:
    scripts = ScriptDirectory(VERSIONS.parent)
    previous: str | None = None
    for path in sorted(VERSIONS.glob("[!_]*.py")):
        assert re.fullmatch(r"\d{4}_\d\d_\d\d_\d{4}_[a-z0-9_]+\.py", path.name)
        revision = scripts.get_revision(path.name[:15])
        assert revision.down_revision == previous
        sentence = ast.get_docstring(ast.parse(path.read_text()))
        assert sentence
        assert sentence.endswith(".")
        assert "\n" not in sentence
        previous = revision.revision
    assert newest_revision() == previous


def _drift(url: str) -> list[Any]:
    """What the tables' classes and the migrated schema say differently, procrastinate's own left out."""
    engine = create_engine(sqlalchemy_url(url), poolclass=NullPool)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts=COMPARISON)
        differences: list[Any] = compare_metadata(context, Base.metadata)
    engine.dispose()
    return differences


LEFT_OVER = """
    SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace
        AND relname NOT LIKE 'alembic_version%'
    UNION ALL SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace
    UNION ALL SELECT typname FROM pg_type WHERE typnamespace = 'public'::regnamespace
        AND typname NOT LIKE '%alembic_version'
"""


def test_up_from_empty_without_drift_down_to_nothing_and_up_again(empty: str) -> None:
    assert applied_revision(empty) is None
    migrate(empty)
    assert applied_revision(empty) == newest_revision()
    assert _drift(empty) == []
    with psycopg.connect(empty) as connection:
        assert connection.execute(LEFT_OVER).fetchall()

    downgrade(empty, "base")
    assert applied_revision(empty) is None
    with psycopg.connect(empty) as connection:
        assert connection.execute(LEFT_OVER).fetchall() == []

    migrate(empty)
    assert _drift(empty) == []
    migrate(empty)  # nothing to do is no error


def test_a_drift_would_be_found(empty: str) -> None:
    migrate(empty)
    with psycopg.connect(empty) as connection:
        connection.execute("ALTER TABLE sources DROP COLUMN health_message")
        connection.execute("DROP INDEX uq_cycles_key")
    assert [difference[0] for difference in _drift(empty)] == ["add_index", "add_column"]


def test_the_next_migration_is_proposed_numbered_and_mends_the_drift(empty: str, tmp_path: Path) -> None:
    scripts = tmp_path / "migrations"
    shutil.copytree(VERSIONS.parent, scripts, ignore=shutil.ignore_patterns("__pycache__"))
    migrate(empty)
    with psycopg.connect(empty) as connection:
        connection.execute("ALTER TABLE sources DROP COLUMN health_message")
        connection.execute('ALTER TABLE rules DROP COLUMN "when"')
    path = write_migration("add_reviews", empty, date(2999, 2, 1), scripts)
    previous = newest_revision()
    assert path == scripts / "versions" / f"2999_02_01_{int(previous[-4:]) + 1:04}_add_reviews.py"
    source = path.read_text()
    assert ast.get_docstring(ast.parse(source)) == "Add reviews."
    assert f'down_revision = "{previous}"' in source
    assert "###" not in source
    for call in ('op.add_column("sources"', 'op.drop_column("sources", "health_message")'):
        assert call in source
    config = Config()
    config.set_main_option("script_location", str(scripts))
    config.attributes["url"] = sqlalchemy_url(empty)
    command.upgrade(config, "head")
    assert _drift(empty) == []


@pytest.mark.parametrize("name", ["", "Reviews", "add reviews", "../reviews", "add_" + "x" * 40])
def test_a_migration_has_a_name_that_a_file_can_have(name: str) -> None:
    with pytest.raises(ValueError, match="NAME=add_reviews"):
        write_migration(name, "postgresql://x/x", date(2999, 2, 1))


def test_servers_that_start_at_once_migrate_once_from_any_folder(empty: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", f"from app.database import migrate; migrate({empty!r})"]
    processes = [subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE) for _ in range(4)]
    for process in processes:
        _, errors = process.communicate(timeout=100)
        assert process.returncode == 0, errors.decode()
    assert applied_revision(empty) == newest_revision()
    assert _drift(empty) == []


def test_no_migration_waits_longer_than_ten_seconds_for_a_lock(empty: str) -> None:
    limits: list[str] = []

    def ask(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if re.match(r"\s*(INSERT INTO|UPDATE) alembic_version", statement):
            [limit] = connection.connection.driver_connection.execute("SHOW lock_timeout").fetchone()
            limits.append(limit)

    event.listen(Engine, "after_cursor_execute", ask)
    try:
        migrate(empty)
    finally:
        event.remove(Engine, "after_cursor_execute", ask)
    assert limits == ["10s"] * len(list(VERSIONS.glob("[!_]*.py")))


def test_a_database_of_a_newer_northing_is_left_alone(empty: str) -> None:
    migrate(empty)
    with psycopg.connect(empty) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '2999_01_01_0001'")
    with pytest.raises(DatabaseNotReady, match="newer Northing"):
        migrate(empty)
    # What `northing check`, `northing worker` and `/readyz` say: not to upgrade, which would be refused.
    assert "newer Northing" in _why_not_ready(empty)
    assert "upgrade" not in _why_not_ready(empty)
    assert applied_revision(empty) == "2999_01_01_0001"


def test_a_database_from_before_the_first_release_is_left_alone(empty: str) -> None:
    migrate(empty)
    with psycopg.connect(empty) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '2026_11_22_0006'")
    with pytest.raises(DatabaseNotReady, match=r"before its first release.*NORTHING_DATABASE_URL") as caught:
        migrate(empty)
    assert "\n" not in str(caught.value)
    # What `northing check`, `northing worker` and `/readyz` say: not to upgrade, which would be refused.
    assert f"The {_why_not_ready(empty).removeprefix('the ')}." == str(caught.value)
    assert applied_revision(empty) == "2026_11_22_0006"


def _why_not_ready(url: str) -> str:
    async def ask() -> str | None:
        engine = engine_for(url)
        try:
            return await why_not_ready(engine)
        finally:
            await engine.dispose()

    return str(asyncio.run(ask()))


OF_0002 = """
    INSERT INTO sources
        (name, kind, base_url, tracker, credentials_type, credentials, scope, epics, schedule, notices)
        VALUES ('jira', 'jira', 'x', 'x', 'x', 'x', '{}', '{}', '{}', '{}');
    INSERT INTO objectives (key, title) VALUES ('O-1', 'O');
    INSERT INTO key_results (key, title, objective_id) VALUES ('KR-1', 'KR', 1);
    INSERT INTO rules (name, "when", key_result_id, priority, enabled) VALUES
        ('One', '{"title": "one"}', 1, 1, true), ('Two', '{"title": "two"}', 1, 1, true);
    INSERT INTO runs (source_id, mode, state, rule_condition, finished_at) VALUES
        (1, 'evaluate', 'queued', '{"when": {"title": "one"}}', NULL),
        (1, 'evaluate', 'running', '{"when": {"title": "two"}}', NULL),
        (1, 'evaluate', 'queued', NULL, NULL),
        (1, 'evaluate', 'succeeded', '{"when": {"title": "one"}}', now());
"""


def test_runs_that_were_to_match_a_condition_are_one_with_the_rules_as_its_causes(
    empty: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "app.database")
    migrate(empty)
    assert "database migrated" not in caplog.text
    downgrade(empty, "2026_11_28_0002")
    with psycopg.connect(empty) as connection:
        connection.execute(OF_0002)
    migrate(empty)
    assert "database migrated" in caplog.text
    assert "2026_11_28_0002" in caplog.text
    with psycopg.connect(empty) as connection:
        runs = connection.execute("SELECT id, state, evaluates FROM runs ORDER BY id").fetchall()
        causes = connection.execute(
            "SELECT run_id, kind, reference, label FROM run_causes WHERE NOT done ORDER BY reference"
        ).fetchall()
    assert runs == [
        (1, "queued", "affected"),
        (2, "running", None),
        (3, "queued", None),
        (4, "succeeded", None),
    ]
    assert causes == [(1, "rule", "1", "One"), (1, "rule", "2", "Two")]


OF_0004 = """
    INSERT INTO sources
        (name, kind, base_url, tracker, credentials_type, credentials, scope, epics, schedule, notices)
        VALUES ('jira', 'jira', 'x', 'x', 'x', 'x', '{}', '{}', '{}', '{}');
    INSERT INTO epics (source_id, tracker, remote_id, key, project, title, url, type, status, status_category,
        labels, assignees, components, ticket_references, fields, tracker_created_at, tracker_updated_at,
        content_hash, read_at)
        SELECT 1, 'x', id, id, 'A', 'An epic', '', 'Epic', 'Open', 'todo', '{}', '{}', '{}', '{}', '{}',
        now(), now(), '', now() FROM unnest(ARRAY['1', '2', '3']) AS id;
    INSERT INTO notices (epic_id, state, body, facts_hash, remote_id, posted_hash, posted_body) VALUES
        (1, 'posted', 'what is to come', 'new', 'c1', 'old', 'what is there'),
        (2, 'posted', 'found again', 'old', 'c2', '', NULL),
        (3, 'held', 'not there', 'new', NULL, NULL, NULL);
"""


def test_the_text_of_each_comment_on_a_ticket_outlives_the_column_of_those_that_are_not(empty: str) -> None:
    migrate(empty)
    downgrade(empty, "2026_11_28_0004")
    with psycopg.connect(empty) as connection:
        connection.execute(OF_0004)
    migrate(empty)
    shown = "SELECT posted_body FROM notices ORDER BY id"
    with psycopg.connect(empty) as connection:
        assert connection.execute(shown).fetchall() == [("what is there",), ("found again",), (None,)]
    downgrade(empty, "2026_11_28_0004")
    with psycopg.connect(empty) as connection:
        stored = connection.execute("SELECT body FROM notices ORDER BY id").fetchall()
        due = connection.execute("SELECT id FROM epics WHERE evaluate_at < now() ORDER BY id").fetchall()
    assert stored == [("what is there",), ("found again",), ("",)]
    assert due == [(3,)], "it gets its text again"


def test_the_code_of_before_can_read_what_tickets_name(empty: str) -> None:
    """It knows words of lines and labels, and nothing of their places."""
    migrate(empty)
    downgrade(empty, "2026_11_28_0004")
    with psycopg.connect(empty) as connection:
        connection.execute(OF_0004)
    migrate(empty)
    named = parse_references(
        text_lines("Key-Result: ?", "Key-Result: KR-1, KR-2", "KR - KR-3"), ["kr:KR-4", "kr/KR-5"]
    )
    with psycopg.connect(empty) as connection:
        stored = [stored_references(named), ["line:KR-1", "label:KR-2"], []]
        for number, elements in enumerate(stored, 1):
            changed = "UPDATE epics SET ticket_references = %s WHERE id = %s"
            connection.execute(changed, (elements, number))
    downgrade(empty, "2026_11_28_0004")
    with psycopg.connect(empty) as connection:
        kept = [
            row[0] for row in connection.execute("SELECT ticket_references FROM epics ORDER BY id").fetchall()
        ]
    assert any("=" in element for element in stored[0])
    assert kept == [[one for one in elements if one.startswith(("line:", "label:"))] for elements in stored]
    assert {"line:KR-1", "line:KR-2", "line:KR-3", "label:KR-4"} <= set(kept[0])


def test_a_first_start_that_was_killed_half_way_goes_on(empty: str) -> None:
    """The first migration commits once on its way, behind the enums that grow."""
    shipped = files("procrastinate.sql").joinpath("migrations")
    with psycopg.connect(empty) as connection:
        for name in sorted(file.name for file in shipped.iterdir() if file.name <= ENUMS_GROW):
            connection.execute(shipped.joinpath(name).read_text(encoding="utf-8"))
    migrate(empty)
    assert applied_revision(empty) == newest_revision()
    assert _drift(empty) == []


def test_a_server_that_is_not_there_is_one_readable_line(tmp_path: Path) -> None:
    with pytest.raises(DatabaseNotReady, match=r"NORTHING_DATABASE_URL") as caught:
        migrate(f"postgresql://northing:a-secret@/x?host={tmp_path}")
    assert "a-secret" not in str(caught.value)
    assert "\n" not in str(caught.value)
