"""Delivery beside outcome, of each key result and initiative."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter()
