"""The errors of operations: what each says, and what the caller can tell them apart by."""

from __future__ import annotations

from contextlib import nullcontext

import httpx
import pytest
from fastapi import FastAPI

from app.api import problems
from app.web import errors as error_pages
from mappings.errors import Conflict, DomainError, Invalid, NotFound, StaleVersion, check_version


@pytest.mark.parametrize(
    ("error", "detail"),
    [
        (NotFound("There is no epic."), "There is no epic."),
        (NotFound.of("key result", "KR-9"), "There is no key result KR-9."),
        (NotFound.of("run", 9), "There is no run 9."),
        (Conflict("It is in use."), "It is in use."),
        (StaleVersion(), "This was changed since you read it; read it again and repeat your change."),
        (Invalid("until", "is past"), "until: is past"),
    ],
)
def test_an_error_says_what_is_wrong(error: DomainError, detail: str) -> None:
    assert (error.detail, str(error)) == (detail, detail)


def test_the_wrong_field_is_named() -> None:
    assert Invalid("until", "is past").errors == (("until", "is past"),)


@pytest.mark.parametrize(
    ("known", "stale"), [(None, False), ((3,), False), ((2, 3), False), ((2,), True), ((), True)]
)
def test_a_version_is_stale_unless_the_caller_may_have_read_it(
    known: tuple[int, ...] | None, stale: bool
) -> None:
    with pytest.raises(StaleVersion) if stale else nullcontext():
        check_version(3, known)


@pytest.mark.parametrize("kind", [NotFound, Conflict, StaleVersion, Invalid])
def test_no_error_is_caught_as_another(kind: type[DomainError]) -> None:
    kinds = (NotFound, Conflict, StaleVersion, Invalid)
    assert [other for other in kinds if issubclass(kind, other)] == [kind]


async def test_the_api_answers_a_subclass_as_its_kind() -> None:
    class InUse(Conflict):
        pass

    app = FastAPI()
    problems.install(app, error_pages)

    @app.get("/")
    async def refuse() -> None:
        raise InUse("It is in use.")

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://northing") as api:
        answer = await api.get("/")
    assert (answer.status_code, answer.json()["detail"]) == (409, "It is in use.")
