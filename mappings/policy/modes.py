"""The mode in which notices of a project are written. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from mappings.policy.names import NO_NAMES, NamedProjects, key_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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


def with_project(
    notices: Mapping[str, Any],
    project: str,
    live: bool,
    listed: Sequence[str],
    named: NamedProjects = NO_NAMES,
) -> dict[str, Any]:
    """`mode` and `projects` of a source once this project is `live`, or in shadow. `listed`: all its
    projects; the mode of the others stays."""
    lower = project.lower()
    only = notices.get("projects") if notices["mode"] == "live" else []
    if live:
        if only is None or lower in {key_of(named, name).lower() for name in only}:
            return {"mode": "live", "projects": only}
        return {"mode": "live", "projects": [*only, project]}
    left = [name for name in (listed if only is None else only) if key_of(named, name).lower() != lower]
    if not left:
        return {"mode": "off" if notices["mode"] == "off" else "shadow", "projects": None}
    return {"mode": "live", "projects": left}
