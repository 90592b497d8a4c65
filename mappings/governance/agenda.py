"""The agenda of a review: from what is open at its opening to an ordered, bounded list of lines. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """`kind` says what of, `about` names it (`{"epic": {"source", "key"}}`, `{"key_result"}`, …), `facts` are
    its figures at the opening."""

    kind: str
    title: str
    detail: str
    about: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    epic_id: int | None = None
    key_result_id: int | None = None


# Of lines of these kinds that name a key result a mitigation is asked.
MITIGATION_ASKED = ("at-risk", "late-red")
