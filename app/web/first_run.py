"""PAGES OF first_run"""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter()
