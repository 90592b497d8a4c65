"""Reviews: opened, held, closed; what each froze, its agenda and its pack."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter(prefix="/reviews", tags=["reviews"])
