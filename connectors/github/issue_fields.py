"""The values of an organisation's issue fields on an issue. Pure.

https://docs.github.com/rest/issues/issue-field-values. The member is missing where an organisation or an
Enterprise Server has no issue fields.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from connectors.markup import storable
from connectors.ticket_text import NamedField

if TYPE_CHECKING:
    from collections.abc import Mapping


def named_field(issue: Mapping[str, Any], configured: str | None) -> NamedField | None:
    """The field named `configured`, in any case, or with this id; without values where the issue has none.

    A value of another shape than described gives nothing: other ways to name a key result are read.
    """
    if configured is None:
        return None
    values = [text for row in _rows(issue, configured) for text in _values(row)]
    return NamedField(configured, tuple(values))


def plain_values(issue: Mapping[str, Any], configured: str) -> list[Any]:
    """The values of the field as GitHub gives them; of a select the row, which is no date and no number."""
    return [
        row if str(row.get("data_type")).endswith("_select") else row.get("value")
        for row in _rows(issue, configured)
    ]


def _rows(issue: Mapping[str, Any], configured: str) -> list[Mapping[str, Any]]:
    rows = issue.get("issue_field_values")
    return [
        row
        for row in (rows if isinstance(rows, list) else ())
        if isinstance(row, dict)
        and is_field(row.get("issue_field_id"), row.get("issue_field_name"), configured)
    ]


def is_field(number: object, name: object, configured: str) -> bool:
    return (isinstance(name, str) and name.casefold() == configured.casefold()) or str(number) == configured


def _values(row: Mapping[str, Any]) -> list[str]:
    """The names of the options of a select field, else its text; a number as it is written."""
    one, several = row.get("single_select_option"), row.get("multi_select_options")
    options = [one, *(several if isinstance(several, list) else ())]
    names = [option.get("name") for option in options if isinstance(option, dict)]
    if not names:
        value = row.get("value")
        names = value if isinstance(value, list) else [value]
    return [
        storable(str(name))
        for name in names
        if isinstance(name, str | int | float) and not isinstance(name, bool)
    ]
