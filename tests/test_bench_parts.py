"""The bench's frame: which parts run, what they share, what a run says at its end, and its exit code."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.__main__ import MOST_MINUTES, duration, measure, parsed
from tests.bench.machine import postgres_seconds
from tests.bench.parts import PARTS, USUAL
from tests.bench.peers import _installed
from tests.bench.report import Line, Report, ratio
from tests.support.tracker_drivers import ALL

TINY = ("--epics", "100", "--rounds", "1", "--edits", "4", "--notices", "4", "--seconds", "1", "--rules", "4")


def test_the_usual_parts_run_where_none_is_named() -> None:
    options = parsed([])
    assert options.parts == USUAL
    assert options.usual
    assert set(USUAL) < set(PARTS)


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--only", "lists", "memory"], ("lists", "memory")),
        (["--peers"], (*USUAL, "peers")),
        (["--only", "sync", "--peers"], ("sync", "peers")),
        (["--rounds", "1"], USUAL),
    ],
)
def test_how_long_it_took_has_a_target_in_the_usual_run_alone(
    arguments: list[str], parts: tuple[str, ...]
) -> None:
    options = parsed(arguments)
    assert options.parts == parts
    assert not options.usual
    assert duration(9999, usual=options.usual).met is None


@pytest.mark.parametrize(("minutes", "met"), [(MOST_MINUTES, True), (MOST_MINUTES + 0.1, False)])
def test_the_usual_run_has_to_end_in_time(minutes: float, met: bool) -> None:
    assert duration(minutes * 60, usual=True).met is met


@pytest.mark.parametrize("wrong", [["--only", "everything"], ["--notices", "5"], ["--rounds", "0"]])
def test_what_cannot_be_measured_is_refused(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parsed(wrong)
    assert ended.value.code == 2
    assert wrong[0] in capsys.readouterr().err


def test_a_further_goal_is_named_and_decides_nothing() -> None:
    line = ratio("a line", [3, 3], [2, 2], most=1.6, goal=1.3)
    assert (line.target, line.goal, line.met) == ("at most 1.6", "1.3", True)
    assert " ".join(str(line).split()) == "a line 1.50 (1.50, 1.50) at most 1.6, goal 1.3 ok"


def test_the_end_repeats_every_target_with_its_part() -> None:
    out = io.StringIO()
    report = Report(out)
    report.part("sync")
    report.section("A sync")
    report.add(Line("seconds", "4.10 s"))
    report.add(Line("a ratio", "1.50", "at most 1.6", True))
    report.part("intake")
    report.add(Line("a rate", "0.70", "at least 0.8", False))
    assert report.close() == 1
    end = out.getvalue().partition("All targets\n")[2].split("\n")
    assert [" ".join(line.split()) for line in end[:2]] == [
        "sync a ratio 1.50 at most 1.6 ok",
        "intake a rate 0.70 at least 0.8 MISSED",
    ]
    assert end[3] == "1 missed."


def test_nothing_measured_is_no_target_missed() -> None:
    out = io.StringIO()
    assert Report(out).close() == 0
    assert "All targets" not in out.getvalue()


def test_the_processor_of_a_child_counts_while_it_runs_and_after() -> None:
    """Here this process stands for the postmaster, and the child for one of PostgreSQL's."""
    with Path("/proc/self/stat").open() as stat:
        own = int(stat.read().split()[0])
    work = "import time\nwhile time.process_time() < 0.2: pass\nprint(flush=True)\ninput()"
    before = postgres_seconds(own)
    with subprocess.Popen(
        [sys.executable, "-c", work], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        running = postgres_seconds(own) - before
        child.communicate("\n")
    ended = postgres_seconds(own) - before
    assert 0.15 <= running <= ended


def test_a_peer_that_does_not_install_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    assert _installed(tmp_path / "environment") is None
    assert (tmp_path / "environment" / "bin" / "python").exists()


@pytest.mark.timeout(600)  # on a busy machine
@pytest.mark.parametrize("part", [name for name in PARTS if name != "peers"] if ALL else ["latency"])
def test_a_part_runs_and_says_what_it_found(part: str) -> None:
    out, aside = io.StringIO(), io.StringIO()
    code = measure(Report(out, aside), parsed([*TINY, "--only", part]))
    printed = out.getvalue()
    assert f"\n  {part} " in printed.partition("All targets")[2] or "All targets" not in printed
    assert code == (1 if "MISSED" in printed else 0)
    assert "all of it" in printed
