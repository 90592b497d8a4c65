"""What an epic's page says of its value, stage, scores, estimates, conflicts and decisions."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter()
