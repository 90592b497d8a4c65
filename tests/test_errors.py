"""The errors of operations: what each says, and what the caller can tell them apart by."""

from __future__ import annotations

from contextlib import nullcontext

import pytest

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
        (Invalid("a", "is wrong", more=[("b", "is too")]), "a: is wrong; b: is too"),
    ],
)
def test_an_error_says_what_is_wrong(error: DomainError, detail: str) -> None:
    assert (error.detail, str(error)) == (detail, detail)


def test_each_wrong_field_is_named() -> None:
    assert Invalid("until", "is past").errors == (("until", "is past"),)
    both = Invalid("a", "is wrong", more=[("b", "is too"), ("c", "as well")])
    assert both.errors == (("a", "is wrong"), ("b", "is too"), ("c", "as well"))


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
    assert isinstance(NotFound.of("run", 9), NotFound)
