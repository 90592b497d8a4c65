"""Holds a document against the Atlassian Document Format: ours, and Atlassian's own schema where that is."""

from __future__ import annotations

from functools import cache
from typing import Any

import jsonschema_rs

from tests.support.vendor_api import Json, adf_schema, vendors_adf_schema


def adf_problems(document: Any) -> list[str]:
    """What is wrong with a document, as sentences."""
    return our_adf_problems(document) + vendors_adf_problems(document)


def our_adf_problems(document: Any) -> list[str]:
    return _problems(_ours(), document)


def vendors_adf_problems(document: Any) -> list[str]:
    """What Atlassian's own schema finds wrong; nothing where it is absent."""
    theirs = _vendors()
    return [] if theirs is None else _problems(theirs, document)


@cache
def _ours() -> jsonschema_rs.Draft4Validator:
    return jsonschema_rs.Draft4Validator(adf_schema())


@cache
def _vendors() -> jsonschema_rs.Draft4Validator | None:
    schema: Json | None = vendors_adf_schema()
    return None if schema is None else jsonschema_rs.Draft4Validator(schema)


def _problems(validator: jsonschema_rs.Draft4Validator, document: Any) -> list[str]:
    return [
        f"{list(error.instance_path)}: {error.message[:300]}" for error in validator.iter_errors(document)
    ]
