"""The mode in which notices of a project are written. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

NoticesMode = Literal["off", "shadow", "live"]


def mode_in(notices: Mapping[str, Any], project: str) -> NoticesMode:
    """The mode of one project: `live` only if the source is live, and only in the projects it is limited to.

    `notices` is the source's setting: `mode` and, to limit it, `projects`. Outside these, `live` is `shadow`.
    """
    mode: NoticesMode = notices["mode"]
    only = notices.get("projects")
    if mode == "live" and only is not None and project.lower() not in {name.lower() for name in only}:
        return "shadow"
    return mode
