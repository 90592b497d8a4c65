"""One review, while it is prepared or held, and after it is closed."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter()
