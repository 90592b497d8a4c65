"""A first full sync against a general loader, dlt: same pages, same PostgreSQL, and nothing evaluated.

dlt gets an environment of its own in a temporary folder, by pip and its ordinary settings, so this needs the
network. Where it does not install, the bench says so and goes on.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import requests

from tests.bench.bare import first_search
from tests.bench.first_sync import Cost, first_sync
from tests.bench.machine import postgres_seconds, postmaster_of
from tests.bench.report import Line, Report, ratio, spread
from tests.bench.servers import Databases, Tracker

PROGRAM = Path(__file__).with_name("peer_dlt.py")
PACKAGE = "dlt[postgres]==1.31.0"
INSTALL_SECONDS, LOAD_SECONDS = 180, 400
# Of dlt's own settings: it calls nobody, and writes nothing but its result and errors.
SETTINGS = {"RUNTIME__DLTHUB_TELEMETRY": "false", "RUNTIME__LOG_LEVEL": "ERROR"}


def measure(report: Report, databases: Databases, tracker: Tracker, rounds: int) -> None:
    """A round is Northing, then dlt, each in a process anew."""
    with tempfile.TemporaryDirectory(prefix="northing-bench-") as folder:
        report.progress(f"installing {PACKAGE}")
        python = _installed(Path(folder, "environment"))
        report.section(f"A first full sync of {tracker.epics:,} epics against {PACKAGE}: median of {rounds}")
        if python is None:
            report.say(f"{PACKAGE} did not install here, which needs the network: nothing is compared")
            return
        ours: list[Cost] = []
        theirs: list[Cost] = []
        for number in range(1, rounds + 1):
            report.progress(f"beside dlt, round {number} of {rounds}")
            with databases.fresh("peer_ours") as url:
                ours.append(first_sync(url, tracker))
            with databases.fresh("peer", migrated=False) as url:
                theirs.append(_load(python, Path(folder, f"pipelines-{number}"), url, tracker))
    for name, costs in (("Northing", ours), ("dlt", theirs)):
        report.add(Line(f"{name}: time", spread([cost.wall for cost in costs], unit="s")))
        report.add(Line(f"{name}: its processor", spread([cost.cpu for cost in costs], unit="s")))
        report.add(
            Line(f"{name}: PostgreSQL's processors", spread([cost.postgres for cost in costs], unit="s"))
        )
        report.add(
            Line(f"{name}: peak of memory", spread([cost.peak_mib for cost in costs], "{:.0f}", "MiB"))
        )
    report.add(ratio("Northing against dlt, time", [c.wall for c in ours], [c.wall for c in theirs]))


def _installed(folder: Path) -> Path | None:
    """The Python of an environment that has it, or None."""
    python = folder / "bin" / "python"
    try:
        _run([sys.executable, "-m", "venv", "--without-pip", str(folder)])
        _run([sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", PACKAGE])
    except (subprocess.SubprocessError, OSError):
        return None
    return python


def _run(command: list[str]) -> None:
    subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, timeout=INSTALL_SECONDS, check=True
    )


def _load(python: Path, folder: Path, database: str, tracker: Tracker) -> Cost:
    with requests.Session() as session:
        session.auth = (tracker.email, tracker.token)
        search = first_search(session, tracker)
    given = asdict(tracker) | {"database": database, "folder": str(folder), "search": search}
    postmaster = postmaster_of(database)
    postgres = postgres_seconds(postmaster)
    done = subprocess.run(
        [str(python), str(PROGRAM)],
        input=json.dumps(given),
        stdout=subprocess.PIPE,
        timeout=LOAD_SECONDS,
        check=True,
        text=True,
        env={**os.environ, **SETTINGS},
        start_new_session=True,
    )
    found = json.loads(done.stdout)
    if found["rows"] != tracker.epics:
        raise RuntimeError(f"dlt stored {found['rows']} epics, {tracker.epics} are there")
    return Cost(found["wall"], found["cpu"], postgres_seconds(postmaster) - postgres, found["peak_mib"])
