"""Epics ranked by their scores, and scored in place."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter()
