"""The form of an estimate, on the pages of epics and of key results."""

from __future__ import annotations

from datetime import datetime

from app.api.deps import validated
from app.api.estimates import EstimateIn
from app.web.forms import document_of
from app.web.router import Form
from mappings.errors import Invalid
from mappings.governance.estimates import EstimateValues
from mappings.tables import EstimateRow
from mappings.words import number_words

ADD, DELETE = "add-estimate", "delete-estimate"
FIELDS = ("kind", "amount", "currency", "estimated_by", "note", "at")


def estimate_of(form: Form, now: datetime) -> EstimateValues:
    """A day that is not today means its noon, UTC. Raises a problem of 422 by field."""
    fields = {name: form.get(name).replace("\r\n", "\n") for name in FIELDS}
    at = fields["at"]
    fields["at"] = "" if at in ("", now.date().isoformat()) else f"{at}T12:00:00Z"
    fields["currency"] = fields["currency"].upper()
    return validated(EstimateIn, document_of(fields, numbers=("amount",))).values()


def estimate_in(form: Form) -> int:
    """The id of the estimate that the button names. Raises `Invalid`."""
    found = form.id("estimate")
    if found is None:
        raise Invalid("estimate", "names no estimate; reload the page")
    return found


def estimate_words(row: EstimateRow) -> str:
    """`120,000 EUR planned`."""
    return f"{number_words(row.amount)} {row.currency} {row.kind}"
