"""Conflicts of a technical constraint with a business demand."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter(prefix="/conflicts", tags=["conflicts"])
