"""What epics and key results are worth, planned and realised."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter(tags=["estimates"])
