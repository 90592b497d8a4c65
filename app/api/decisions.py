"""Decisions of reviews and on conflicts, and their undoing."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter(prefix="/decisions", tags=["decisions"])
