"""Work on a time axis, under the outcomes that it serves."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter()
