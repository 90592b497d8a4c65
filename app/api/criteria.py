"""The criteria of priorities, and the scores that epics were given."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter(tags=["criteria"])
