"""Structured logs: JSON for machines, colours for a terminal; every line with its run and epic."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from traceback import format_tb
from typing import Literal, TextIO

import structlog
from structlog.typing import EventDict, ExcInfo

# By name, for the database's own: to import it takes longer than all a short command does.
_SHOWN_MESSAGES = {"AssertionError", "AttributeError", "OperationalError", "RuntimeError", "TypeError"}

_MOST_ERRORS = 20  # of one that came of another

# How many deliveries or epics a line names that is about many at once.
FOLLOWED = 10


def following(remote_ids: Sequence[str]) -> dict[str, list[str]]:
    """For the context of what is done for deliveries: the tracker's ids of the first of them, none for none.

    By such an id one delivery's story is found, from the door to the comment.
    """
    return {"deliveries": [*remote_ids[:FOLLOWED]]} if remote_ids else {}


def _error_text(exc_info: ExcInfo) -> str:
    """Where an error came from, without local variables, which hold tokens. Its own words are told only where
    they cannot be a ticket's: those of a wrong value or of the database repeat what they are about."""
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
    """A library's line may hold what a stranger sent; the values beside it are shown escaped anyway."""
    return {**event, "event": _printable(str(event["event"]))}


def _printable(text: str) -> str:
    """In one line, with what would steer a terminal written out."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


_SHARED: list[structlog.typing.Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.ExtraAdder(allow=()),
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]
# One list for good, for loggers keep the one they began with.
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
    # No line of ours tells where in the code it was said, or in which thread: so nobody need find it out.
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    # These say once per request or job what our own lines say with the run and epic.
    for noisy in ("httpx", "httpcore", "uvicorn.access", "procrastinate", "alembic", "apscheduler"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    structlog.configure(
        processors=_PROCESSORS,
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
