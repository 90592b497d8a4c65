"""Northing as any other program sees it: its HTTP API and a token."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx

Json = dict[str, Any]

POLL_SECONDS = 0.05
WAIT_SECONDS = 400  # a busy machine may take long over the comments of a whole tracker


class DemoFailed(Exception):
    """A step of the demo failed; the message says what was asked for and what the answer was."""


class Api:
    """Calls below `/api/v1`; anything but success raises `DemoFailed`."""

    def __init__(
        self,
        url: str,
        token: str,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        """`transport`: how the calls get there, where it is not by HTTP. `poll_seconds`: how often it is
        asked whether a run has ended."""
        self._poll_seconds = poll_seconds
        headers = {"Authorization": f"Bearer {token}"}
        # The environment's proxies are for other machines; the library fails on some forms of NO_PROXY.
        self._http = httpx.AsyncClient(
            base_url=f"{url}/api/v1/", headers=headers, timeout=30, trust_env=False, transport=transport
        )

    async def aclose(self) -> None:
        await self._http.aclose()

    async def get(self, path: str, **query: str | int) -> Json:
        return await self._call("GET", path, params=query)

    async def post(self, path: str, body: Json) -> Json:
        return await self._call("POST", path, json=body)

    async def put(self, path: str, body: Json | list[Json]) -> Any:
        return await self._call("PUT", path, json=body)

    async def patch(self, path: str, body: Json) -> Json:
        return await self._call("PATCH", path, json=body)

    async def every(self, path: str, **query: str | int) -> list[Json]:
        """The items of a list, page after page to its end."""
        items: list[Json] = []
        while True:
            page = await self.get(path, limit=500, **query)
            items += page["items"]
            if page["next"] is None:
                return items
            query = {"cursor": page["next"]}

    async def sync(self, source: str, mode: str = "incremental") -> Json:
        """Sync a source; the run once it has ended and its comments are written. Raises `DemoFailed`."""
        run = await self.post(f"sources/{source}/sync", {"mode": mode})
        deadline = time.monotonic() + WAIT_SECONDS
        while run["finished_at"] is None or run["writes"]["pending"]:
            if time.monotonic() > deadline:
                left = f"{run['state']}, with {run['writes']['pending']} comments to write"
                raise DemoFailed(f"Run {run['id']} of {source} is {left}, after {WAIT_SECONDS} s")
            await asyncio.sleep(self._poll_seconds)
            run = await self.get(f"runs/{run['id']}")
        if run["state"] != "succeeded":
            error = run["error"] or {}
            raise DemoFailed(f"The sync of {source} ended {run['state']}: {error.get('message', '')}")
        return run

    async def wait_until_idle(self, source: str) -> None:
        """Until every run of the source has ended and its comments are written. Raises `DemoFailed`."""
        deadline = time.monotonic() + WAIT_SECONDS
        while any(
            run["finished_at"] is None or run["writes"]["pending"]
            for run in (await self.get("runs", source=source))["items"]
        ):
            if time.monotonic() > deadline:
                raise DemoFailed(f"The runs of {source} have not ended after {WAIT_SECONDS} s")
            await asyncio.sleep(self._poll_seconds)

    async def wait_for_finding(self, source: str, key: str, state: str) -> None:
        """Until a finding on this epic has the state. Raises `DemoFailed`."""
        deadline = time.monotonic() + WAIT_SECONDS
        while not any(
            finding["epic"]["key"] == key
            for finding in await self.every("findings", source=source, state=state)
            if finding["epic"] is not None
        ):
            if time.monotonic() > deadline:
                raise DemoFailed(f"No finding on {key} is {state} after {WAIT_SECONDS} s")
            await asyncio.sleep(self._poll_seconds)

    async def _call(self, method: str, path: str, **more: Any) -> Json:
        try:
            response = await self._http.request(method, path, **more)
        except httpx.HTTPError as error:
            raise DemoFailed(f"{method} {path} got no answer ({type(error).__name__})") from None
        document: Json = response.json()
        if response.is_error:
            raise DemoFailed(f"{method} {path} answered {response.status_code}: {document.get('detail')}")
        return document


def synced_sentence(run: Json) -> str:
    """What a run wrote, for the person that pressed `Sync now`."""
    writes = run["writes"]
    done = [
        f"{writes[kind]} {'comment' if writes[kind] == 1 else 'comments'} {kind}"
        for kind in ("posted", "edited", "resolved", "held", "failed")
        if writes[kind]
    ]
    return f"Synced: {', '.join(done) or 'no comment had to change'}."
