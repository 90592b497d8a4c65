"""The audit of the current initiatives."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter()
