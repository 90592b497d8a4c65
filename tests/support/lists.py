"""Lists of the API, read to their end."""

from __future__ import annotations

from typing import Any

import httpx

from tests.support.goals_api import send
from tests.support.world import World


async def listed(world: World, path: str, **filters: str) -> list[Any]:
    """All items of the list at `path`, page by page, in the list's order."""
    query = "".join(f"&{name}={value}" for name, value in filters.items())
    page = await world.send("GET", f"{path}?limit=500{query}")
    items: list[Any] = page["items"]
    while page["next"] is not None:
        page = await world.send("GET", f"{path}?limit=500&cursor={page['next']}")
        items += page["items"]
    return items


async def item_keys(api: httpx.AsyncClient, path: str) -> list[str]:
    """The keys of the items of one page, in their order."""
    return [item["key"] for item in (await send(api, "GET", path))["items"]]
