"""Taking the last change back."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter()
