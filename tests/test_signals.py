"""What ends a command in order: a signal, a closed terminal, the end of the program that reads its output."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

STOPPED = 3
COMMAND = """
import asyncio, itertools, sys
from pathlib import Path
from app.server.output import outlive_terminal
from app.server.signals import run_command

async def command():
    try:
        print("begun", flush=True)
        while "silent" in sys.argv:
            await asyncio.sleep(0.01)
        for turn in itertools.count():
            await asyncio.sleep(0.01)
            print("more", file=sys.stderr if "errors" in sys.argv else sys.stdout, flush=True)
            Path("turn").write_text(str(turn))
    finally:
        print("ending", flush=True)
        await asyncio.sleep(0)
        Path("ended").touch()

outlive_terminal()
run_command(command(), stopped=3)
"""
# What `make` does with its commands: it waits for them, and passes no SIGHUP on.
LEADER = """
import os, signal, subprocess, sys
signal.signal(signal.SIGHUP, lambda *_: None)
os.open(os.ttyname(1), os.O_RDWR)  # which makes it the terminal of the session
sys.exit(subprocess.call(sys.argv[1:]))
"""


@contextmanager
def running(folder: Path, *words: str, nohup: bool = False) -> Iterator[subprocess.Popen[str]]:
    """The command above, after its first line; it runs in `folder`."""
    # Said either way: the tests themselves may run under nohup.
    hangup = f"import signal\nsignal.signal(signal.SIGHUP, signal.{'SIG_IGN' if nohup else 'SIG_DFL'})\n"
    env = environment()
    command = [sys.executable, "-W", "error", "-c", hangup + COMMAND, *words]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=folder, env=env, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        yield process
        process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_command_in_order(tmp_path: Path, number: signal.Signals) -> None:
    with running(tmp_path) as process:
        process.send_signal(number)
        output, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (STOPPED, "")
        assert output.endswith("ending\n")
    assert (tmp_path / "ended").exists()


def test_a_command_whose_output_is_read_no_more_ends_in_order(tmp_path: Path) -> None:
    with running(tmp_path) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        errors = process.stderr.read()
        assert (process.wait(60), errors) == (STOPPED, "")
    assert (tmp_path / "ended").exists()


def test_a_silent_command_ends_in_order_where_only_its_parent_hears_of_the_closed_terminal(
    tmp_path: Path,
) -> None:
    screen, terminal = os.openpty()
    command = [sys.executable, "-c", LEADER, sys.executable, "-W", "error", "-c", COMMAND, "silent"]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment(), stdout=terminal, stderr=terminal, start_new_session=True
    ) as leader:
        os.close(terminal)
        with os.fdopen(screen, "rb") as shown:
            assert shown.readline() == b"begun\r\n"
        try:
            assert leader.wait(60) == STOPPED
        finally:
            leader.kill()
    assert (tmp_path / "ended").exists()


def test_under_nohup_neither_ends_it(tmp_path: Path) -> None:
    with running(tmp_path, nohup=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        process.send_signal(signal.SIGHUP)
        assert_goes_on(process, tmp_path)
        process.send_signal(signal.SIGTERM)
        errors = process.stderr.read()
        assert (process.wait(60), errors) == (STOPPED, "")


def test_a_command_whose_errors_are_read_no_more_goes_on(tmp_path: Path) -> None:
    with running(tmp_path, "errors") as process:
        assert process.stderr is not None
        process.stderr.close()
        assert_goes_on(process, tmp_path)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == STOPPED


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}


def assert_goes_on(process: subprocess.Popen[str], folder: Path) -> None:
    begun = turn(folder)
    while turn(folder) < begun + 5:
        assert process.poll() is None, "it ended"


def turn(folder: Path) -> int:
    """How often the command has printed; it may be writing the file."""
    with suppress(FileNotFoundError, ValueError):
        return int((folder / "turn").read_text())
    return 0
