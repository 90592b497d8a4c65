"""Where work goes, against what the weights of the objectives say."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter()
