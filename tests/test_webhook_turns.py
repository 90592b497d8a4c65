"""Webhooks that are ready at once are read a few at a time, in the order in which they came."""

from __future__ import annotations

import asyncio

from app.webhooks.turns import Turns


async def test_so_many_go_on_in_each_turn_of_the_loop() -> None:
    turns, went_on = Turns(2), [list[int]()]

    async def caller(number: int) -> None:
        await turns.wait()
        went_on[-1].append(number)

    callers = [asyncio.create_task(caller(number)) for number in range(7)]
    while not all(task.done() for task in callers):
        await asyncio.sleep(0)
        if went_on[-1]:
            went_on.append([])
    assert [some for some in went_on if some] == [[0, 1], [2, 3], [4, 5], [6]]


async def test_one_that_comes_later_waits_behind_those_who_wait() -> None:
    turns, order = Turns(1), list[str]()

    async def caller(name: str) -> None:
        await turns.wait()
        order.append(name)

    callers = [asyncio.create_task(caller(name)) for name in ("first", "second", "third")]
    await asyncio.sleep(0)
    callers.append(asyncio.create_task(caller("later")))
    await asyncio.gather(*callers)
    assert order == ["first", "second", "third", "later"]


async def test_who_is_called_off_takes_no_turn() -> None:
    turns, order = Turns(1), list[str]()

    async def caller(name: str) -> None:
        await turns.wait()
        order.append(name)

    callers = [asyncio.create_task(caller(name)) for name in ("first", "called off", "third")]
    await asyncio.sleep(0)
    callers[1].cancel()
    await asyncio.wait(callers)
    assert order == ["first", "third"]
