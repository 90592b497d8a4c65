"""What a log line says of an error: where it came from, and no word that may be a ticket's."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from typing import Literal

import pytest
import structlog

from app import logs

FORMATS: list[Literal["console", "json"]] = ["console", "json"]


@pytest.fixture
def configured_anew() -> Iterator[None]:
    yield
    logs.configure("json")


def _fail() -> None:
    try:
        int("Words of a ticket")
    except ValueError as error:
        raise ExceptionGroup(
            "Words of a group", [KeyError("Words of a key"), OSError("disk full")]
        ) from error


@pytest.mark.usefixtures("configured_anew")
@pytest.mark.parametrize("form", FORMATS)
def test_an_error_is_told_without_words_of_others(
    form: Literal["console", "json"], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = io.StringIO()
    monkeypatch.setattr(sys, "stderr", out)
    logs.configure(form)
    secret = "a local variable"  # noqa: F841  # a traceback must not show it
    try:
        _fail()
    except ExceptionGroup:
        structlog.get_logger().exception("it broke", run=7)
    text = out.getvalue()
    if form == "json":
        text = json.loads(text)["exception"]
    for reported in ("in _fail", "ExceptionGroup", "KeyError", "OSError: disk full", "came of", "ValueError"):
        assert reported in text
    # Of the code there are lines, as of any traceback.
    assert "Words of a ticket'" not in text
    assert "a local variable" not in text
    assert "ValueError:" not in text
    assert "KeyError:" not in text
    assert "ExceptionGroup:" not in text


def test_a_line_names_the_first_ten_deliveries_and_nothing_for_none() -> None:
    assert logs.delivery_context([]) == {}
    many = [str(number) for number in range(25)]
    assert logs.delivery_context(many) == {"deliveries": many[:10]}
