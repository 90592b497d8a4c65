"""Northing as a process of its own, for the tests of its commands."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import pty
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import BinaryIO

from app.cli.main import main
from app.settings import Settings

FORKS = multiprocessing.get_context("forkserver")
# The commands import what they need when they run.
FORKS.set_forkserver_preload(
    [
        "tests.support.processes",
        "tests.soak.process",
        "app.cli.check",
        "app.cli.connect",
        "app.demo.run",
        "app.cli.replay",
        "app.cli.sync",
    ]
)
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


def northing(
    *arguments: str, env: dict[str, str], cwd: Path, fresh: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end. `cwd` keeps it away from any `.env`."""
    with started(*arguments, env=env, cwd=cwd, fresh=fresh) as process:
        output, errors = process.communicate(timeout=LONGEST)
        return subprocess.CompletedProcess(arguments, process.wait(), output, errors)


@contextmanager
def started(
    *arguments: str, env: dict[str, str], cwd: Path, fresh: bool = False
) -> Iterator[subprocess.Popen[str] | Forked]:
    """A command that goes on until it is told to stop; at the latest at the end of the block.

    `fresh`: in an interpreter that starts with nothing, as a person's does.
    """
    process: subprocess.Popen[str] | Forked
    if fresh:
        command = [sys.executable, "-m", "app", *arguments]
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, env=env, cwd=cwd, stdout=pipe, stderr=pipe, text=True)
    else:
        process = Forked(arguments, env, cwd)
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


class Forked:
    """A command in a process of its own, with the members of `subprocess.Popen` that the tests use.

    It is forked from one process that has imported everything and runs nothing, for to import takes more of a
    core than most tests. It is that process's child, so a kill of it leaves nothing to reap here.
    """

    def __init__(self, arguments: Sequence[str], env: dict[str, str], cwd: Path) -> None:
        pipes = [FORKS.Pipe(duplex=False) for _ in range(2)]
        given = (arguments, env, cwd, *(writer for _, writer in pipes))
        self._process = FORKS.Process(target=_command, args=given)
        self._process.start()
        for _, writer in pipes:
            writer.close()
        self.stdout, self.stderr = (os.fdopen(os.dup(reader.fileno())) for reader, _ in pipes)

    def __enter__(self) -> Forked:
        return self

    def __exit__(self, *error: object) -> None:
        self.stdout.close()
        self.stderr.close()
        self._process.join()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("northing", timeout or 0)
        return self._process.exitcode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What is left of both outputs. Where it does not end in time it is killed."""
        with ThreadPoolExecutor(2) as readers:
            output, errors = (readers.submit(stream.read) for stream in (self.stdout, self.stderr))
            try:
                self.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill()
                raise
            return output.result(), errors.result()

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def terminate(self) -> None:
        self._process.terminate()

    def kill(self) -> None:
        self._process.kill()


@contextmanager
def on_terminal(*arguments: str, env: dict[str, str], cwd: Path) -> Iterator[tuple[BaseProcess, BinaryIO]]:
    """A command on a terminal of its own, and what it shows: to close this closes the terminal."""
    screen, terminal = pty.openpty()
    process = FORKS.Process(target=_command_on_terminal, args=(arguments, env, cwd, os.ttyname(terminal)))
    with os.fdopen(screen, "rb", buffering=0) as shown:
        process.start()
        shown.read(1)  # it has opened the terminal too
        os.close(terminal)
        try:
            yield process, shown
        finally:
            process.kill()
            process.join()


def _command_on_terminal(arguments: Sequence[str], env: dict[str, str], cwd: Path, terminal: str) -> None:
    os.setsid()
    opened = os.open(terminal, os.O_RDWR)  # which makes it the terminal of the session
    for descriptor in range(3):
        os.dup2(opened, descriptor)
    os.close(opened)
    os.write(1, b"\n")
    _run(arguments, env, cwd)


def _command(
    arguments: Sequence[str], env: dict[str, str], cwd: Path, output: Connection, errors: Connection
) -> None:
    os.dup2(output.fileno(), 1)
    os.dup2(errors.fileno(), 2)
    output.close()
    errors.close()
    _run(arguments, env, cwd)


def _run(arguments: Sequence[str], env: dict[str, str], cwd: Path) -> None:
    """What `python -m app` does, after its imports."""
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests themselves may run under nohup
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", 1, closefd=False)
    sys.argv = ["northing", *arguments]
    try:
        main()
    finally:
        atexit._run_exitfuncs()  # noqa: SLF001  # which the end of a forked process leaves out


def wait_for_output(process: subprocess.Popen[str] | Forked, words: str) -> list[str]:
    """The lines printed up to the one with these words, which is the last."""
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line.rstrip("\n"))
        if words in line:
            return lines
    assert process.stderr is not None
    raise AssertionError(f"{words!r} was never printed; instead {lines}, and {process.stderr.read()}")


def wait_on_terminal(shown: BinaryIO, words: str) -> None:
    read = b""
    while words.encode() not in read:
        more = shown.read(1000)
        assert more, read
        read += more


def processes_of(folder: Path) -> list[str]:
    """The commands that name the folder: its database server, the watchdog of that."""
    commands = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(FileNotFoundError, ProcessLookupError):
            commands.append(os.fsdecode(entry.read_bytes()).replace("\0", " "))
    return [command for command in commands if str(folder) in command]


@contextmanager
def data_folder() -> Iterator[Path]:
    """Not pytest's folder: as root PostgreSQL runs as another user, who has to get there."""
    folder = Path(tempfile.mkdtemp(prefix="northing-test-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
