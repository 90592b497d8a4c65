"""The stage of an epic: idea, pilot, scale, done."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter(prefix="/epics", tags=["epics"])
