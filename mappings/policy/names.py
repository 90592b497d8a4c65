"""Which project a name in the configuration means: the one that had it when it was first read there. Pure.

A rename does not change that: the name still means that project, and no other one that gets the key.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

# By the name in lower case: `name` as it is written, `id` and the present `key` of the project, and `places`
# in the configuration, beside the source's own, that have the name.
NamedProjects = Mapping[str, Mapping[str, Any]]

NO_NAMES: NamedProjects = MappingProxyType({})


def key_of(named: NamedProjects, name: str) -> str:
    """The present key of the project that `name` means; `name` itself where no other is known."""
    known = named.get(name.lower())
    return name if known is None else str(known["key"])


def former_names(named: NamedProjects, project: str) -> tuple[str, ...]:
    """The former keys by which the configuration names `project`, as they are written there."""
    return tuple(
        known["name"]
        for name, known in sorted(named.items())
        if known["key"].lower() == project.lower() and name != project.lower()
    )
