"""The mode in which notices of a project are written. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from mappings.policy.names import NO_NAMES, NamedProjects, key_of

if TYPE_CHECKING:
    from collections.abc import Mapping

NoticesMode = Literal["off", "shadow", "live"]


def mode_in(notices: Mapping[str, Any], project: str, named: NamedProjects = NO_NAMES) -> NoticesMode:
    """The mode of one project: `live` only if the source is live, and only in the projects it is limited to.

    `notices` is the source's setting: `mode` and, to limit it, `projects`. Outside these, `live` is `shadow`.
    `named`: which projects the names mean.
    """
    mode: NoticesMode = notices["mode"]
    only = notices.get("projects")
    if mode != "live" or only is None:
        return mode
    if project.lower() not in {key_of(named, name).lower() for name in only}:
        return "shadow"
    return mode
