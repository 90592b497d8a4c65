"""Conflicts, and who is to settle each."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter()
