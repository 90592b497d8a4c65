"""What holds for the repository as a whole: its files, its locks, its migrations."""

from __future__ import annotations

import ast
import asyncio
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import yaml
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
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
from app.settings import Settings
from mappings.tables import Base
from migrations.job_queue import ENUMS_GROW
from tests.migration.proposal import COMPARISON, write_migration

ROOT = Path(__file__).parents[1]
CODE = ("app", "connectors", "mappings", "migrations")
LOCKS = ("requirements.lock", "requirements-dev.lock")
VERSIONS = Path(migrations.__file__).parent / "versions"


# --- files --------------------------------------------------------------------------------------


def _files() -> list[Path]:
    """What is tracked, or would be with the next commit."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a clone: git knows which files are part of the repository")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    return [path for name in names.split("\0") if name and (path := ROOT / name).is_file()]


UNWANTED = {
    # Written so that this file does not find itself.
    "a path of somebody's machine": r"(?<![\w.~-])/(?:home|root|Users|work)/[\w.]",
    "a package registry": r"pypi\.(?:org|python)|pythonhosted\.(?:org)|registry\.npm|--(?:extra-)?index-url",
    "unfinished work": r"(?:#|//|<!--|\{#)\s*(?:TO{1}DO|FIX{1}ME|X{3}|HACK)\b|NotImplemented{1}Error",
    "a merge gone wrong": r"^(?:<{7}|>{7}) ",
}


@pytest.mark.parametrize("what", UNWANTED)
def test_no_file_holds(what: str) -> None:
    pattern = re.compile(UNWANTED[what], re.MULTILINE)
    here, elsewhere = str(ROOT), "/".join(["", "home", "someone"])
    found = []
    for path in _files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        for match in pattern.finditer(text.replace(f"{here}/", f"{elsewhere}/")):
            line = text.count("\n", 0, match.start()) + 1
            found.append(f"{path.relative_to(ROOT)}:{line}: {match.group()}")
    assert found == []


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("a path of somebody's machine", "open('/" + "home/someone/northing')"),
        ("a package registry", "--index" + "-url=https://mirror.example/simple"),
        ("unfinished work", "x = 1  # TO" + "DO: later"),
        ("unfinished work", "raise NotImplemented" + "Error"),
    ],
)
def test_it_would_be_found(what: str, line: str) -> None:
    assert re.search(UNWANTED[what], line, re.MULTILINE)


def test_no_module_is_longer_than_450_lines() -> None:
    """Migrations are exempt: they are written once and never read as a whole."""
    modules = [path for name in CODE for path in (ROOT / name).rglob("*.py") if VERSIONS not in path.parents]
    assert len(modules) > 50
    long = {str(path.relative_to(ROOT)): count for path in modules if (count := _lines(path)) > 450}
    assert long == {}


def _lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def test_the_tests_are_flat_and_shadow_no_package() -> None:
    tests = ROOT / "tests"
    assert [path for path in tests.rglob("test_*.py") if path.parent != tests] == []
    assert not (tests / "__init__.py").exists()
    assert {path.name for path in tests.iterdir() if path.is_dir()}.isdisjoint(CODE)


def test_every_module_that_is_more_than_a_name_says_what_it_is_for() -> None:
    silent = []
    for name in CODE:
        for path in (ROOT / name).rglob("*.py"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            if tree.body and ast.get_docstring(tree) is None:
                silent.append(str(path.relative_to(ROOT)))
    assert silent == []


# --- locks --------------------------------------------------------------------------------------


def _locked(name: str) -> dict[str, tuple[str, int]]:
    """Package to (version, number of hashes)."""
    text = (ROOT / name).read_text().replace("\\\n", " ")
    packages: dict[str, tuple[str, int]] = {}
    for line in text.splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            requirement = Requirement(line.split(" --hash", 1)[0].strip())
            version = str(requirement.specifier).removeprefix("==")
            packages[canonicalize_name(requirement.name)] = (version, line.count("--hash=sha256:"))
    return packages


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_file_pins_and_hashes_every_package_and_names_no_index(name: str) -> None:
    packages = _locked(name)
    assert len(packages) > 40
    assert [package for package, (version, hashes) in packages.items() if not version or not hashes] == []
    lines = (ROOT / name).read_text().splitlines()
    assert [line for line in lines if re.match(r"\s*(-|https?:)(?!-hash)", line)] == []


def test_the_locks_hold_what_pyproject_asks_for_and_agree() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    runtime, dev = _locked("requirements.lock"), _locked("requirements-dev.lock")
    groups = project["dependency-groups"]
    expected = {
        "requirements.lock": [*project["project"]["dependencies"], *groups["build"]],
        "requirements-dev.lock": groups["dev"],
    }
    for name, requirements in expected.items():
        packages = _locked(name)
        for requirement in map(Requirement, requirements):
            version, _ = packages[canonicalize_name(requirement.name)]
            assert requirement.specifier.contains(version, prereleases=True), (name, str(requirement))
    differing = {package for package in runtime.keys() & dev.keys() if runtime[package] != dev[package]}
    assert differing == set()
    assert runtime.keys() <= dev.keys()


# --- packaging ----------------------------------------------------------------------------------


def test_the_wheel_holds_every_file_of_the_packages_and_the_licence(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    [wheel] = tmp_path.glob("northing-*.whl")
    packed = set(zipfile.ZipFile(wheel).namelist())
    ours = {path.relative_to(ROOT) for path in _files()}
    expected = {path.as_posix() for path in ours if path.parts[0] in CODE}
    assert any(name.endswith(".html") for name in expected)
    assert expected <= packed
    assert {name for name in packed if not name.startswith("northing-")} == expected
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in packed)


def test_the_image_is_built_from_every_package_and_the_runtime_lock_alone() -> None:
    copied = set(re.findall(r"^COPY (\w+) \1$", (ROOT / "Dockerfile").read_text(), re.MULTILINE))
    let_in = set(re.findall(r"^!(\w+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
    assert packages == set(CODE) == copied == let_in - {"LICENSE"}
    assert "requirements-dev" not in (ROOT / "Dockerfile").read_text()


def test_what_docker_sets_are_settings_and_compose_brings_no_secret() -> None:
    known = {f"NORTHING_{name.upper()}" for name in Settings.model_fields}
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    environment: dict[str, str] = services["northing"]["environment"]
    assert environment.keys() <= known
    assert (
        set(re.findall(r"^\s+(?:ENV )?(NORTHING_\w+)=", (ROOT / "Dockerfile").read_text(), re.MULTILINE))
        <= known
    )
    for name, value in {**environment, **services["database"]["environment"]}.items():
        if re.search(r"PASSWORD|SECRET|TOKEN|DATABASE_URL", name):
            assert re.search(r"\$\{\w+:\?[^}]+\}", value), name
    assert services["northing"]["depends_on"] == {"database": {"condition": "service_healthy"}}
    assert "healthcheck" in services["database"]


# --- migrations ---------------------------------------------------------------------------------


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
