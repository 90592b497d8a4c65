"""Reviews: prepared, held and closed."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter()
