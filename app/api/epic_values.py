"""The value question: how an initiative helps the business, who was asked, and who answered."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter(prefix="/epics", tags=["epics"])
