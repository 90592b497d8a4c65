"""The command line. Exit codes: 0 done, 1 failed, 2 wrong usage or a wrong setting.

A command imports what it needs when it runs, so that `northing --help` answers at once.
"""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated, Any

import typer

from app.server.output import outlive_terminal

cli = typer.Typer(
    name="northing",
    help="Links every epic in Jira and GitHub to a key result, and says so on the ticket, once, when the "
    "link is missing.",
    epilog="Example: northing demo --exit",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
db = typer.Typer(help="Manage the database.", no_args_is_help=True)
cli.add_typer(db, name="db", epilog="Example: northing db upgrade")


def main() -> None:
    """The program `northing`: an error that a person can fix is printed as one line, not as a traceback."""
    outlive_terminal()
    try:
        cli()
    except Exception as error:
        code, words = _expected(error), str(error)
        if code is None:
            from app.outages import reason_in_words

            code, words = 1, reason_in_words(error) or ""
            if not words:
                raise
        typer.echo(f"northing: {words}", err=True)
        sys.exit(code)


def _expected(error: Exception) -> int | None:
    from app.settings import WrongSetting

    if isinstance(error, WrongSetting):
        return 2
    from app.database import DatabaseNotReady
    from app.embedded import EmbeddedDatabaseError
    from app.server.signals import CommandFailed
    from mappings.errors import DomainError

    if isinstance(error, CommandFailed):
        return error.code
    return 1 if isinstance(error, (DatabaseNotReady, DomainError, EmbeddedDatabaseError)) else None


def _show_version(requested: bool) -> None:
    if requested:
        from importlib.metadata import version

        typer.echo(f"northing {version('northing')}")
        raise typer.Exit


@cli.callback()
def northing(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    pass


@cli.command(epilog="Example: northing demo --exit")
def demo(
    exit_after: Annotated[bool, typer.Option("--exit", help="End after the summary.")] = False,
) -> None:
    """Show what Northing does: simulated trackers, an embedded database on this machine, no account needed.

    Serves on NORTHING_PORT or the next free port, and keeps serving until Ctrl-C.
    """
    from app.demo.run import demo_settings, run_demo
    from app.server.signals import run_command

    run_command(run_demo(demo_settings(), exit_after=exit_after))


@cli.command(epilog="Example: NORTHING_PORT=8080 northing serve")
def serve(
    no_worker: Annotated[
        bool, typer.Option("--no-worker", help="Leave the jobs to `northing worker`.")
    ] = False,
) -> None:
    """Migrate the database, then serve the API, run the jobs and keep the timetable, until Ctrl-C."""
    settings = _start()
    from app.server.server import serve
    from app.server.signals import run_command

    async def until_stopped() -> int:
        await serve(settings, typer.echo, worker=not no_worker)
        return 0

    run_command(until_stopped())


@cli.command(epilog="Example: NORTHING_DATABASE_URL=postgresql://… northing worker")
def worker() -> None:
    """Run jobs only, beside `northing serve`, until Ctrl-C. Any number of workers may run, on any machines.

    Waits up to a minute for the database that `northing serve` migrates.

    Without NORTHING_DATABASE_URL it uses the embedded database, together with servers that share its folder.
    """
    settings = _start()
    from app.server.signals import run_command
    from app.server.worker_process import run_worker_process

    run_command(run_worker_process(settings, typer.echo))


@cli.command(epilog="Example: northing sync acme-jira --full")
def sync(
    source: Annotated[str, typer.Argument(help="The source's name.")],
    full: Annotated[
        bool, typer.Option("--full", help="Read every epic, and remove those that are gone.")
    ] = False,
) -> None:
    """Sync one source now, and wait until its comments are written.

    A server on the same database shares the work. After Ctrl-C the run goes on where it stopped.
    """
    settings = _start(quiet=True)
    from app.cli.sync import sync
    from app.server.signals import run_command

    run_command(sync(settings, source, "full" if full else "incremental"), stopped=1)


class TrackerKind(StrEnum):
    JIRA = "jira"
    GITHUB = "github"


@cli.command(epilog="Example: northing connect --base-url https://acme.atlassian.net")
def connect(
    base_url: Annotated[
        str | None,
        typer.Option(
            envvar="NORTHING_CONNECT_BASE_URL", help="The tracker, or a page of it, as in the browser."
        ),
    ] = None,
    kind: Annotated[
        TrackerKind | None,
        typer.Option(envvar="NORTHING_CONNECT_KIND", help="Found out from the address where left out."),
    ] = None,
    email: Annotated[
        str | None, typer.Option(envvar="NORTHING_CONNECT_EMAIL", help="Jira: the address of the account.")
    ] = None,
    projects: Annotated[
        str | None,
        typer.Option(envvar="NORTHING_CONNECT_PROJECTS", help="Jira: project keys by commas, or * for all."),
    ] = None,
    repositories: Annotated[
        str | None,
        typer.Option(
            envvar="NORTHING_CONNECT_REPOSITORIES",
            help="GitHub: OWNER/NAME by commas; OWNER/* for all of it.",
        ),
    ] = None,
    jql: Annotated[
        str | None, typer.Option(envvar="NORTHING_CONNECT_JQL", help="Jira: a further condition.")
    ] = None,
    issue_types: Annotated[
        str | None,
        typer.Option(envvar="NORTHING_CONNECT_ISSUE_TYPES", help="Issue types that are epics, by commas."),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(envvar="NORTHING_CONNECT_LABELS", help="GitHub: labels of epics, by commas."),
    ] = None,
    name: Annotated[
        str | None, typer.Option(envvar="NORTHING_CONNECT_NAME", help="The source's name here.")
    ] = None,
) -> None:
    """Connect a tracker: ask for what is left out, check it, make the source in shadow, sync it, and show
    what would be said on its tickets.

    The token is asked for on the terminal, or taken from NORTHING_CONNECT_TOKEN or the first line of
    standard input; never from the command line. Nothing is written on tickets, and nothing is stored before
    the tracker has confirmed it.
    """
    settings = _start(quiet=True)
    from app.cli.connect import connect
    from app.cli.terminal import questions_here, token_given
    from app.server.signals import run_command
    from app.source_answers import Answers, names_in

    questions, scope = questions_here(), projects or repositories
    answers = Answers(
        kind=None if kind is None else kind.value,
        base_url=base_url,
        email=email,
        token=token_given(),
        projects=names_in(scope) if scope else None,
        jql=jql or None,
        issue_types=names_in(issue_types) if issue_types else None,
        labels=names_in(labels) if labels else None,
        name=name,
    )
    run_command(connect(settings, answers, questions), stopped=1)


class Form(StrEnum):
    TEXT = "text"
    JSON = "json"


@cli.command(epilog="Example: northing check acme-jira")
def check(
    source: Annotated[str | None, typer.Argument(help="The source's name; without it every source.")] = None,
    form: Annotated[
        Form, typer.Option("--format", help="A table on a terminal, lines elsewhere; or one JSON object.")
    ] = Form.TEXT,
) -> None:
    """Say what each login may do at its tracker, what it lacks or does not need, and whether webhooks arrive.

    Writes nothing, neither to the tracker nor to the database. Exits with 1 if something is missing.
    """
    settings = _start(quiet=True)
    from app.cli.check import check
    from app.server.signals import run_command

    run_command(check(settings, source, as_json=form is Form.JSON), stopped=1)


class AuditForm(StrEnum):
    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    MARKDOWN = "md"


@cli.command(epilog="Example: northing audit --format md > audit.md")
def audit(
    form: Annotated[
        AuditForm,
        typer.Option("--format", help="A table to read here, or a whole file; md is a report to send."),
    ] = AuditForm.TABLE,
    source: Annotated[str | None, typer.Option(help="Only of this source.")] = None,
    project: Annotated[str | None, typer.Option(help="Only of this project.")] = None,
    cycle: Annotated[str | None, typer.Option(help="Only of the goals of this cycle.")] = None,
) -> None:
    """Say how well each current initiative is steered, and which signs of misalignment are seen.

    Writes nothing. Exits with 0 whatever it finds.
    """
    settings = _start(quiet=True)
    from app.cli.audit import audit
    from app.server.signals import run_command

    run_command(audit(settings, form.value, source=source, project=project, cycle=cycle), stopped=1)


@cli.command(epilog="Example: northing replay 4711")
def replay(
    delivery: Annotated[int, typer.Argument(min=1, help="The delivery's id, from /api/v1/deliveries.")],
) -> None:
    """Process a stored webhook once more, and print the result.

    Commands in a comment are not executed a second time.
    """
    settings = _start(quiet=True)
    from app.cli.replay import replay
    from app.server.signals import run_command

    run_command(replay(settings, delivery, typer.echo), stopped=1)


class ImportKind(StrEnum):
    OBJECTIVES = "objectives"
    KEY_RESULTS = "key-results"
    LINKS = "links"


class ExportKind(StrEnum):
    OBJECTIVES = "objectives"
    KEY_RESULTS = "key-results"
    LINKS = "links"
    EPICS = "epics"


class DecimalSign(StrEnum):
    COMMA = ","
    STOP = "."


class FileForm(StrEnum):
    CSV = "csv"
    XLSX = "xlsx"


@cli.command("import", epilog="Example: northing import links links.xlsx --dry-run")
def import_(
    kind: Annotated[ImportKind, typer.Argument(help="What the lines are.")],
    file: Annotated[str, typer.Argument(help="A CSV or XLSX file; - is standard input.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would change, store nothing.")] = False,
    partial: Annotated[
        bool, typer.Option("--partial", help="Apply the lines without errors, even where others have some.")
    ] = False,
    maps: Annotated[
        list[str] | None,
        typer.Option(
            "--map", metavar="THEIRS:OURS", help="Another name of a column; may stand several times."
        ),
    ] = None,
    decimal: Annotated[
        DecimalSign | None, typer.Option(help="The decimal sign of numbers that are text.")
    ] = None,
    sheet: Annotated[str | None, typer.Option(help="The sheet of a workbook.")] = None,
    encoding: Annotated[str | None, typer.Option(help="Of a CSV file, such as windows-1252.")] = None,
) -> None:
    """Create and change objectives, key results or links by a file, in one transaction.

    Nothing is applied where a line is wrong, unless --partial is given. The same file again changes nothing.
    Exits with 1 if a line is wrong. docs/files.md describes the columns.
    """
    settings = _start(quiet=True)
    from app.cli.files import import_
    from app.server.signals import run_command
    from mappings.imports.read import ReadOptions

    options = ReadOptions(
        maps=maps or (), decimal=decimal.value if decimal else None, charset=encoding, sheet=sheet
    )
    run_command(import_(settings, kind.value, file, options, dry_run=dry_run, partial=partial), stopped=1)


@cli.command(epilog="Example: northing export epics --format xlsx --output epics.xlsx")
def export(
    kind: Annotated[ExportKind | None, typer.Argument(help="What to export.", show_default=False)] = None,
    form: Annotated[FileForm, typer.Option("--format", help="The form of the file.")] = FileForm.CSV,
    output: Annotated[str, typer.Option(metavar="FILE", help="- is standard output.")] = "-",
) -> None:
    """Write objectives, key results, links or epics as a file; `northing import` takes it again.

    An export of epics comes in as links once its column key_result is filled. Without KIND it will write the
    configuration as YAML, which is not there yet.
    """
    if kind is None:
        kinds = ", ".join(ExportKind)
        raise typer.BadParameter(
            f"name one of {kinds}; the configuration as YAML cannot be exported yet", param_hint="KIND"
        )
    settings = _start(quiet=True)
    from app.cli.files import export
    from app.server.signals import run_command

    run_command(export(settings, kind.value, form.value, output), stopped=1)


@db.command(epilog="Example: NORTHING_DATABASE_URL=postgresql://… northing db upgrade")
def upgrade() -> None:
    """Bring the database to this version. `northing serve` does the same when it starts."""
    settings = _start(quiet=True)
    from app.server.server import upgrade
    from app.server.signals import run_command

    run_command(upgrade(settings, typer.echo))


@db.command("forget-secrets", epilog="Example: northing db forget-secrets --yes")
def forget_secrets(
    yes: Annotated[bool, typer.Option("--yes", help="Drop them; without it they are only listed.")] = False,
) -> None:
    """Drop the stored secrets that no present key opens, so that Northing starts without a lost key.

    Each source asks for its credentials and webhook secret again afterwards. Stop every process first.
    """
    settings = _start(quiet=True)
    from app.cli.forget_secrets import forget_secrets
    from app.server.signals import run_command

    run_command(forget_secrets(settings, typer.echo, drop=yes))


def _start(*, quiet: bool = False) -> Any:
    """The settings, with logging set up; `quiet` logs errors alone, for commands that print lines."""
    import logging

    from app import logs
    from app.settings import load

    settings = load()
    logs.configure(settings.log_format)
    if quiet:
        logging.getLogger().setLevel(logging.ERROR)
    return settings
