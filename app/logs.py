"""Structured logs: JSON for machines, colours for a terminal; every line with its run and epic."""

from __future__ import annotations

import logging
import sys
from itertools import islice
from traceback import format_tb
from typing import TYPE_CHECKING, Literal, TextIO

import structlog

from mappings.webhooks.queue import delivery_ids_of_run

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy.ext.asyncio import AsyncSession
    from structlog.typing import EventDict, ExcInfo

# By name, because of `OperationalError`: importing it takes longer than a short command runs.
_SHOWN_MESSAGES = {"AssertionError", "AttributeError", "OperationalError", "RuntimeError", "TypeError"}

_MOST_ERRORS = 20  # in one chain of causes

# How many deliveries or epics a line names at most.
MAX_LOGGED_IDS = 10


def delivery_context(remote_ids: Sequence[str]) -> dict[str, list[str]]:
    """The log context of work on deliveries: the tracker's ids of the first of them, empty for none.

    Such an id finds all lines about one delivery, from its receipt to the comment.
    """
    return {"deliveries": [*remote_ids[:MAX_LOGGED_IDS]]} if remote_ids else {}


def _error_text(exc_info: ExcInfo) -> str:
    """Where an error came from, without local variables, which hold tokens. Its message is shown only if its
    type cannot repeat a ticket's text: messages about wrong values or from the database quote the data."""
    return "\nwhich came of\n".join(islice(_errors(exc_info[1]), _MOST_ERRORS))


def _errors(error: BaseException | None) -> Iterator[str]:
    while error is not None:
        ours = isinstance(error, OSError) or type(error).__name__ in _SHOWN_MESSAGES
        words = f": {_printable(str(error))}" if ours else ""
        yield f"{''.join(format_tb(error.__traceback__))}{type(error).__qualname__}{words}"
        if isinstance(error, BaseExceptionGroup):
            for part in error.exceptions:
                yield from _errors(part)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _write_error(out: TextIO, exc_info: ExcInfo) -> None:
    out.write(f"\n{_error_text(exc_info)}")


def _escape_event(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Escape the event: a library's line may hold what a stranger sent. The renderer escapes the values."""
    return {**event, "event": _printable(str(event["event"]))}


def _printable(text: str) -> str:
    """The text in one line, with control characters written as escapes."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


async def deliveries_of_run(session: AsyncSession, run_id: int) -> dict[str, list[str]]:
    """What the lines of a run are to hold, so that one id leads from a webhook to its comment."""
    return delivery_context(await delivery_ids_of_run(session, run_id, MAX_LOGGED_IDS))


_SHARED: list[structlog.typing.Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.ExtraAdder(allow=()),
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]
# One list that is never replaced, because loggers keep the list they began with.
_PROCESSORS = [*_SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter]


def configure(log_format: Literal["console", "json"]) -> None:
    """Send structlog's and the libraries' lines to standard error in one form. May be called again."""
    last: list[structlog.typing.Processor] = (
        [structlog.processors.ExceptionRenderer(_error_text), structlog.processors.JSONRenderer()]
        if log_format == "json"
        else [
            _escape_event,
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=_write_error),
        ]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_SHARED,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    # Our lines name no place in the code and no thread, so logging need not look them up.
    logging._srcfile = None  # noqa: SLF001  # the switch that its documentation names
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    # These log once per request or job what our own lines log with the run and epic.
    for noisy in ("httpx", "httpcore", "uvicorn.access", "procrastinate", "alembic", "apscheduler"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # It tells of each try to connect while the database is away.
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
    structlog.configure(
        processors=_PROCESSORS,
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
