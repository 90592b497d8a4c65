"""However Northing ends, nothing of it runs on, and the data folder holds only what the next start needs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from app.embedded import acquire
from app.secrets import cipher_for
from app.settings import Settings
from tests.support.processes import (
    LONGEST,
    data_folder,
    environment,
    on_terminal,
    processes_of,
    started,
    wait_for_output,
    wait_on_terminal,
)

SERVES, SHOWS = "serves http://", "Northing knows"


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with data_folder() as made:
        yield made


def until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LONGEST
    while not done():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)


def databases(folder: Path) -> list[str]:
    with acquire(folder) as server, psycopg.connect(server.url("postgres")) as connection:
        names = connection.execute("SELECT datname FROM pg_database WHERE datname LIKE 'northing%'")
        return [name for (name,) in names]


def assert_nothing_left(folder: Path) -> None:
    assert processes_of(folder) == []
    assert {path.name for path in folder.iterdir()} <= {"postgresql", "secret.key", "demo.log"}
    server = folder / "postgresql"
    for passing in ("run", "temporary", "cluster/pg_dynshmem"):
        assert list((server / passing).iterdir()) == []
    assert not (server / "cluster/postmaster.pid").exists()
    assert list(server.glob("new-*")) == []
    assert databases(folder) in ([], ["northing"])
    assert processes_of(folder) == []


def test_a_closed_terminal_ends_server_and_demo_in_order(folder: Path, tmp_path: Path) -> None:
    env = environment(data_dir=str(folder), port="0")
    with ExitStack() as exits:
        commands = [
            (*exits.enter_context(on_terminal(command, env=env, cwd=tmp_path)), words)
            for command, words in (("serve", SERVES), ("demo", SHOWS))
        ]
        for _, shown, words in commands:
            wait_on_terminal(shown, words)
        for _, shown, _ in commands:
            shown.close()
        for process, _, _ in commands:
            process.join(LONGEST)
        assert [process.exitcode for process, _, _ in commands] == [0, 0]
    assert_nothing_left(folder)


def test_a_killed_demo_leaves_neither_its_database_nor_the_server(folder: Path, tmp_path: Path) -> None:
    env = environment(data_dir=str(folder), port="0")
    with started("demo", env=env, cwd=tmp_path) as demo:
        wait_for_output(demo, SHOWS)
        assert any((folder / "postgresql/temporary").iterdir())
        demo.kill()
        until(lambda: not processes_of(folder))
    assert_nothing_left(folder)


def test_a_key_half_made_by_a_killed_process_is_removed_and_no_copy_of_a_person_s(
    settings: Settings, tmp_path: Path
) -> None:
    for name in (".secret.key.new-abc", "secret.key.old", ".secret.key"):
        (tmp_path / name).touch()
    cipher_for(settings.model_copy(update={"data_dir": tmp_path, "secret_key": ()}))
    assert {path.name for path in tmp_path.iterdir()} == {"secret.key", "secret.key.old", ".secret.key"}
