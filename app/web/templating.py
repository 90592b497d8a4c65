"""The templates of the pages: their headers, filters and the values that each has."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from fastapi.templating import Jinja2Templates
from markupsafe import Markup, escape

from app.web.forms import for_people
from app.web.source_words import advice_for, cron_words, every_words
from app.web.static_files import StaticFiles
from connectors.markup import web_url
from mappings.policy import durations
from mappings.words import day_words, number_words, percent

HERE = Path(str(files("app.web")))
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex",
    "Cache-Control": "no-store",
}

VERSION = version("northing")  # which reads a file

templates = Jinja2Templates(
    HERE / "templates",
    context_processors=[lambda request: {"base": request.scope.get("root_path", ""), "release": VERSION}],
)
templates.env.auto_reload = False  # else each page asks the file system for the age of each of its templates
static = StaticFiles(HERE / "static")


def money(value: float | None) -> str:
    """With thousands apart; whole, or two digits after the point; a dash for none."""
    if value is None:
        return "–"
    digits = f"{value:,.2f}"
    return digits.removesuffix(".00")


def capitalize_first(text: str) -> str:
    """The first letter as a capital, the rest as it is; all as it is where the text begins with a host."""
    first = text.partition(" ")[0]
    return text if "." in first[:-1] or ":" in first[:-1] else text[:1].upper() + text[1:]


def last_day(until: datetime | str) -> str:
    """The last day of a waiver or snooze, whose end is exclusive."""
    end = datetime.fromisoformat(until) if isinstance(until, str) else until
    return day_words(durations.last_date(end))


def moment(at: datetime) -> str:
    """Of a time in UTC, to the minute."""
    return f"{at.day} {at:%b %Y, %H:%M} UTC"


def coded(text: str) -> Markup:
    """A sentence whose words between backticks are code; all of it is escaped."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return escape(text)
    inner = (
        escape(part) if number % 2 == 0 else f"<code>{escape(part)}</code>"
        for number, part in enumerate(parts)
    )
    return Markup("".join(inner))  # noqa: S704  # each part is escaped


templates.env.filters |= {
    "advice_for": advice_for,
    "every_words": every_words,
    "cron_words": cron_words,
    "coded": coded,
    "web_url": web_url,
    "capitalize_first": capitalize_first,
    "for_people": for_people,
    "percent": percent,
    "money": money,
    "number": number_words,
    "day": day_words,
    "last_day": last_day,
    "moment": moment,
}


def render(
    request: Request,
    template: str,
    values: Mapping[str, Any],
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> HTMLResponse:
    """A template as an answer, with the headers of a page."""
    return templates.TemplateResponse(
        request, template, dict(values), status_code=status, headers={**HEADERS, **(headers or {})}
    )
