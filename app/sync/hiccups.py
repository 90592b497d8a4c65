"""A call whose answer could not be understood is made again: most such answers are a hiccup on the way."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

import structlog

from connectors.base import BadPayload

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

log = structlog.get_logger()

T = TypeVar("T")


async def after_hiccups(call: Callable[[], Awaitable[T]], pauses: Sequence[float]) -> T:
    """The result of `call`. While it raises `BadPayload`, it is made again after each of `pauses` (seconds).

    Raises what the last call raised. The caller has no transaction open, and a heartbeat renews its claim.
    """
    for pause in pauses:
        try:
            return await call()
        except BadPayload as error:
            await wait_for_next(error, pause)
    return await call()


async def wait_for_next(error: BadPayload, pause: float) -> None:
    """Wait `pause` seconds before the call that raised `error` is made again."""
    log.info("asking again", reason=error.message, pause=pause)
    await asyncio.sleep(pause)
