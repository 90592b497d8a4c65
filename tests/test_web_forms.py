"""Forms as nobody's browser sends them: read or refused, and never an error of the server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import FastAPI

from tests.support.pages import Visitor, forms_of, visiting


@pytest.fixture
async def visitor(application: FastAPI) -> AsyncIterator[Visitor]:
    async with visiting(application) as somebody:
        yield somebody


def multipart(charset: str, **fields: str) -> dict[str, Any]:
    parts = "".join(
        f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    )
    kind = f"multipart/form-data; boundary=x; charset={charset}"
    return {"content": f"{parts}--x--\r\n", "headers": {"content-type": kind}}


async def token_on(visitor: Visitor, path: str) -> str:
    forms = forms_of(await visitor.get(path))
    return next(form.fields["_token"] for form in forms if "_token" in form.fields)


@pytest.mark.parametrize("charset", ["unicode_escape", "undefined", "punycode", "utf-16", "latin-1", ""])
async def test_a_form_in_another_charset_is_refused_before_it_is_decoded(
    visitor: Visitor, charset: str
) -> None:
    """`undefined` raises what is no error of decoding, `unicode_escape` makes surrogates."""
    for token in (await token_on(visitor, "/login"), r"\ud800"):
        sent = multipart(charset, _token=token, token="x", next=r"/\ud800")
        assert (await visitor.http.post("/login", **sent)).status_code == 400
    await visitor.sign_in()
    sent = multipart(charset, _token=await token_on(visitor, "/tokens"), do="make", name=r"\ud800")
    assert (await visitor.http.post("/tokens", **sent)).status_code == 400
    sent = multipart("UTF-8", _token=await token_on(visitor, "/tokens"), do="make", name="x", role="viewer")
    assert (await visitor.http.post("/tokens", **sent)).status_code == 201


@pytest.mark.parametrize("fields", ["epic=a%00&epic=b", "a%00=1"])
async def test_a_form_with_a_null_character_anywhere_is_refused(visitor: Visitor, fields: str) -> None:
    await visitor.sign_in()
    sent = f"_token={await token_on(visitor, '/epics')}&do=waive&{fields}"
    answer = await visitor.http.post(
        "/epics", content=sent, headers={"content-type": "application/x-www-form-urlencoded"}
    )
    assert answer.status_code == 422
    assert "U+0000" in answer.text
