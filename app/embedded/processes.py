"""Tells a process from a later one with the same process id."""

import hashlib
import os
import subprocess
from pathlib import Path

PROC = Path("/proc")


def process_identity(pid: int) -> str | None:
    """A short string that is the same for a process's whole life and differs for the next one with its id.

    None when there is no such process, or only a zombie.
    """
    if (PROC / "self" / "stat").exists():
        try:
            line = (PROC / str(pid) / "stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return None
        # fields from the state on; the name before them may hold spaces and brackets
        fields = line[line.rindex(")") + 2 :].split()
        # the start time counts from boot, so the boot's id is needed too
        boot = (PROC / "sys/kernel/random/boot_id").read_text().strip()
        return None if fields[0] in "ZX" else _word(boot + fields[19])
    answer = _ps(pid, "stat=,lstart=")
    return None if not answer or answer.startswith("Z") else _word(answer.split(maxsplit=1)[1])


def is_server(pid: int, cluster: Path) -> bool:
    """Is this process alive and the main process of the PostgreSQL that we started on `cluster`?"""
    words = _command(pid)
    if words is None:
        return f"/postgres -D {cluster} " in _ps(pid, "command=")
    return words[0].endswith(b"/postgres") and os.fsencode(cluster) in words


def is_module(pid: int, module: str, argument: Path) -> bool:
    """Is this process alive and Python that runs `module` with `argument` as its first?"""
    words = _command(pid)
    if words is None:
        return f" -m {module} {argument}" in _ps(pid, "command=")
    return os.fsencode(module) in words and os.fsencode(argument) in words


def _command(pid: int) -> list[bytes] | None:
    """The words of the command; [b""] where there is no such process, None where the system has no /proc."""
    if not (PROC / "self" / "stat").exists():
        return None
    try:
        return (PROC / str(pid) / "cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return [b""]


def _ps(pid: int, columns: str) -> str:
    command = ["/bin/ps", "-ww", "-o", columns, "-p", str(pid)]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)  # noqa: S603  # fixed words and a number
    return answer.stdout.strip()


def _word(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
