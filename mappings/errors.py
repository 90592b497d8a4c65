"""Why an operation cannot be done, typed by what the caller should do.

The API answers 404, 409, 422 and 412; a command line shows `detail`. Where one of these is raised, nothing is
changed: the caller's transaction is rolled back. Only a command on a ticket goes on, and answers there; so
what it calls raises before it changes anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence


class DomainError(Exception):
    """`detail` says in a sentence what is wrong and what to do."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class NotFound(DomainError):
    """What the operation is about does not exist."""

    @classmethod
    def of(cls, what: str, key: object) -> NotFound:
        return cls(f"There is no {what} {key!s}.")


class Conflict(DomainError):
    """What is stored does not allow the operation."""

    @classmethod
    def taken(cls, field: str, value: str) -> Conflict:
        return cls(f"{field} {value!r} is taken; choose another.")


class StaleVersion(DomainError):
    """What the caller read has changed since."""

    def __init__(self) -> None:
        super().__init__("This was changed since you read it; read it again and repeat your change.")


def check_version(version: int, known: Collection[int] | None) -> None:
    """Raises `StaleVersion` where `version` is none of those that the caller may have read; None is any."""
    if known is not None and version not in known:
        raise StaleVersion


class Invalid(DomainError):
    """Values are wrong; `errors` are pairs of a field, as the caller names it, and what is wrong with it."""

    def __init__(self, field: str, message: str, *, more: Sequence[tuple[str, str]] = ()) -> None:
        self.errors = ((field, message), *more)
        super().__init__("; ".join(f"{name}: {text}" for name, text in self.errors))


def check_values(found: Iterable[tuple[str, str | None]]) -> None:
    """Raises `Invalid` that names all that is wrong; `found` are fields with their errors, None for none."""
    wrong = [(field, error) for field, error in found if error is not None]
    if wrong:
        raise Invalid(*wrong[0], more=wrong[1:])
