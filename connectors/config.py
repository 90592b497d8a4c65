"""What the configurations of all trackers have in common."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    PrivateAttr,
    SecretStr,
    StringConstraints,
    ValidationError,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from connectors.base import BadPayload, NamedProject, Project

_NAMES = {" ": "a blank", "\t": "a tab", "\n": "a line break", "\r": "a line break", "\u00a0": "a blank"}

# Of the other categories, those that show nothing: fillers, the empty braille cell, joiners, selectors.
_BLANK_LETTERS = "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0" + "".join(map(chr, range(0xFE00, 0xFE10)))


def hidden_end(secret: str) -> str | None:
    """What one does not see at an end of `secret`, in words; None where both ends show.

    A secret is never trimmed: whether the other side has such a character too cannot be known here.
    """
    for where, char in (("begins", secret[:1]), ("ends", secret[-1:])):
        # Category Z are separators, C are controls, format characters such as U+200B and U+FEFF, surrogates.
        if char and (unicodedata.category(char)[0] in "CZ" or char in _BLANK_LETTERS):
            named = _NAMES.get(char, f"the invisible character U+{ord(char):04X}")
            return f"{where} with {named}"
    return None


def _header_safe(secret: SecretStr) -> SecretStr:
    if not re.fullmatch(r"[!-~]+", secret.get_secret_value()):
        raise PydanticCustomError("token", "must be printable ASCII without blanks; was it copied whole?")
    return secret


# A token that a connector sends in a header.
Token = Annotated[SecretStr, AfterValidator(_header_safe)]
# The name or id of a field of the plan, as a person types or pastes it: no tracker's names have blanks around
# them. PostgreSQL, where the configuration is stored, accepts no NUL.
PlanFieldName = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=255, pattern=r"^[^\x00]+$")
]


class ProjectNames(BaseModel):
    """A scope that names projects by key. A name means the project that had it when Northing first read it
    there: after a rename it still does, and another project that gets the key is not meant."""

    model_config = ConfigDict(extra="forbid")

    _known: Mapping[str, NamedProject] = PrivateAttr(default_factory=dict)

    def following(self, known: Mapping[str, Mapping[str, str]]) -> Self:
        """This scope, with the projects that names are known to mean: `id` and `key` by lower-case name."""
        made = self.model_copy()
        projects = {name: NamedProject(one["id"], one["key"]) for name, one in known.items()}
        made._known = projects  # noqa: SLF001  # of its own class
        return made

    def known_project(self, name: str) -> NamedProject | None:
        return self._known.get(name.lower())

    def _named(self, names: Sequence[str], project: str, remote_id: str | None) -> bool:
        """Whether one of `names` means the project with this key and, where it is known, this id."""
        for name in names:
            known = self.known_project(name)
            if known is not None and remote_id is not None:
                if known.id == remote_id:
                    return True
            elif (name if known is None else known.key).lower() == project.lower():
                return True
        return False


def unread_project(key: str, error: BadPayload) -> Project:
    """In place of a project whose row could not be read, so that the others are read, and nothing that is
    stored of it is removed."""
    return Project(key, public=None, problem=error.message, what_to_do=error.what_to_do)


def joined(projects: Sequence[Project]) -> list[Project]:
    """Each project once, though the scope names it twice, by a former key and by its own."""
    found: dict[str, Project] = {}
    for project in projects:
        before = found.get(project.key.casefold())
        names = project.named if before is None else (*before.named, *project.named)
        found[project.key.casefold()] = replace(before or project, named=tuple(dict.fromkeys(names)))
    return list(found.values())


def refuse_unsupported_type(model: str, data: Any, kind: str, why: str) -> Any:
    """`data` unchanged, unless its `type` is `kind`, which the API names and this build does not support.

    The models call this before their other checks, so that the person reads `why` and not the errors of the
    other fields. Raises `ValidationError` of the model `model`, on the field `type`.
    """
    if isinstance(data, dict) and data.get("type") == kind:
        error = PydanticCustomError("not_in_this_build", "{why}", {"why": why})
        raise ValidationError.from_exception_data(
            model, [InitErrorDetails(type=error, loc=("type",), input=kind)]
        )
    return data
