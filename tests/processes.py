"""Northing as a process of its own, for the tests of its commands."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.settings import Settings

LONGEST = 100  # seconds, on a machine that is busy with other tests


def environment(**settings: str) -> dict[str, str]:
    """Ours without any setting of Northing's, and with these: `port="0"` is NORTHING_PORT=0."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("NORTHING_")}
    return {**own, **{f"NORTHING_{name.upper()}": value for name, value in settings.items()}}


def environment_of(settings: Settings, **more: str) -> dict[str, str]:
    """The environment in which a process works with the same database, keys and token."""
    assert settings.database_url is not None
    assert settings.admin_token is not None
    return environment(
        database_url=settings.database_url.get_secret_value(),
        secret_key=settings.secret_key[0].get_secret_value(),
        admin_token=settings.admin_token.get_secret_value(),
        data_dir=str(settings.data_dir),
        log_format="json",
        **more,
    )


def northing(*arguments: str, env: dict[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command to its end. `cwd` keeps it away from any `.env`."""
    return subprocess.run(
        [sys.executable, "-m", "app", *arguments],
        env=env,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=LONGEST,
    )


@contextmanager
def started(*arguments: str, env: dict[str, str], cwd: Path) -> Iterator[subprocess.Popen[str]]:
    """A command that goes on until it is told to stop; at the latest at the end of the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "app", *arguments],
        env=env,
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def said(process: subprocess.Popen[str], words: str) -> list[str]:
    """The lines printed up to the one with these words, which is the last."""
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line.rstrip("\n"))
        if words in line:
            return lines
    assert process.stderr is not None
    raise AssertionError(f"{words!r} was never printed; instead {lines}, and {process.stderr.read()}")


@contextmanager
def data_folder() -> Iterator[Path]:
    """Not pytest's folder: as root PostgreSQL runs as another user, who has to get there."""
    folder = Path(tempfile.mkdtemp(prefix="northing-test-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
