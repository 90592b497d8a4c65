"""Northing's part of the set-up, over its API: goals, a policy without grace, both sources live."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import httpx

from tests.soak.sources import KEYS, SECRET, SoakSource

TOKEN = "a-token-for-the-soak"


def api_at(port: int) -> httpx.Client:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    return httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=30, trust_env=False)


def set_up(port: int, soak_sources: Sequence[SoakSource]) -> None:
    """Sources are named as their kind."""
    with api_at(port) as api:

        def send(method: str, path: str, body: Any) -> Any:
            return api.request(method, f"/api/v1{path}", json=body).raise_for_status().json()

        goal = send("POST", "/objectives", {"title": "A shop that people come back to"})
        for key in KEYS:
            send("POST", f"/objectives/{goal['key']}/key-results", {"key": key, "title": f"Measure {key}"})
        send("PATCH", "/policy", {"grace": "PT0S", "since": None})
        for soak_source in soak_sources:
            send("POST", "/sources", _source(soak_source))


def _source(soak_source: SoakSource) -> dict[str, Any]:
    return {
        "name": soak_source.tickets.kind,
        "kind": soak_source.tickets.kind,
        "base_url": soak_source.tracker.base_url,
        "credentials": soak_source.tickets.credentials,
        "scope": soak_source.tickets.scope,
        "webhook_secret": SECRET,
        "schedule": {"every": "PT30S", "full": "* * * * *"},
        # Guard and caps as far open as they go, for they have tests of their own: here all is to be written.
        "notices": {"mode": "live", "per_run": 10_000, "per_day": 10_000, "max_share": 1.0},
    }
