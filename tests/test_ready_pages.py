"""Pages are stored together where they came while others were stored, and none waits for another's answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import UTC, datetime, timedelta

import pytest

from app.sync.projects import MOST_CHARACTERS, _kind_of
from app.sync.ready import MOST_TOGETHER, ReadyPages
from connectors.base import Epic, EpicRef, Missing, Page, Unreadable
from connectors.ticket_text import Line

BEGUN = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)


async def _numbers(numbers: Sequence[int]) -> AsyncGenerator[int, None]:
    for number in numbers:
        yield number


def _tens(number: int) -> int | None:
    """Of the same tens are of one kind; a negative number is of none."""
    return None if number < 0 else number // 10


async def _lists(numbers: Sequence[int]) -> list[list[int]]:
    ready = ReadyPages(_numbers(numbers), _tens, BEGUN)
    async with aclosing(ready.lists()) as lists:
        return [together async for together, _ in lists]


@pytest.mark.parametrize(
    ("numbers", "lists"),
    [
        ([], []),
        ([1], [[1]]),
        ([*range(7)], [[0, 1, 2, 3, 4], [5, 6]]),
        ([1, 2, 11, 12, 3], [[1, 2], [11, 12], [3]]),
        ([1, -1, -2, 2, 3], [[1], [-1], [-2], [2, 3]]),
    ],
)
async def test_pages_of_one_kind_are_given_out_together_in_their_order(
    numbers: list[int], lists: list[list[int]]
) -> None:
    assert await _lists(numbers) == lists


async def test_a_page_does_not_wait_for_the_next_answer() -> None:
    stored = asyncio.Event()

    async def pages() -> AsyncGenerator[int, None]:
        yield 1
        await stored.wait()
        yield 2

    together = []
    async with aclosing(pages()) as made, aclosing(ReadyPages(made, _tens, BEGUN).lists()) as lists:
        async for one, _ in lists:
            together.append(one)
            stored.set()
    assert together == [[1], [2]]


async def test_no_more_pages_are_ahead_than_are_stored_together() -> None:
    made = 0

    async def pages() -> AsyncGenerator[int, None]:
        nonlocal made
        while True:
            made += 1
            yield 1

    ready = ReadyPages(pages(), _tens, BEGUN)
    async with aclosing(ready.lists()) as lists:
        for number in range(1, 4):
            assert len((await anext(lists))[0]) == MOST_TOGETHER
            await asyncio.sleep(0)
            assert made <= (number + 1) * MOST_TOGETHER + 1


async def test_an_error_is_raised_after_the_pages_before_it() -> None:
    async def pages() -> AsyncGenerator[int, None]:
        yield 1
        yield 2
        raise ZeroDivisionError

    stored = []
    async with aclosing(ReadyPages(pages(), _tens, BEGUN).lists()) as lists:
        stored += (await anext(lists))[0]
        with pytest.raises(ZeroDivisionError):
            await anext(lists)
    assert stored == [1, 2]


async def test_a_page_was_asked_for_at_its_time_or_later() -> None:
    """A list counts as asked for when its first page was, at the latest."""
    ready = ReadyPages(_numbers([-1] * 6), _tens, BEGUN)
    moments = []
    async with aclosing(ready.lists()) as lists:
        async for _, requested_at in lists:
            moments.append((requested_at - BEGUN) // timedelta(minutes=1))
            ready.latest += timedelta(minutes=1)
    assert moments == [0, 0, 0, 1, 2, 3]


def _page(*epics: Epic, missing: Sequence[Missing] = (), unreadable: Sequence[Unreadable] = ()) -> Page:
    return Page(epics, tuple(missing), tuple(unreadable), BEGUN)


def _epic(text: str = "", **fields: str) -> Epic:
    return Epic(
        "1", "SHOP-1", "SHOP", "Epic", "", "Epic", "To Do", "todo", BEGUN, BEGUN,
        text=(Line(text, "text"),), fields={name: (value,) for name, value in fields.items()},
    )  # fmt: skip


def test_pages_with_epics_alone_are_of_a_kind() -> None:
    ref, long = EpicRef("2", "SHOP-2"), "x" * (MOST_CHARACTERS + 1)
    assert _kind_of(_page(_epic())) is not None
    others = [
        _page(_epic(), missing=[Missing(ref, "deleted")]),
        _page(_epic(), unreadable=[Unreadable(ref, "it has no title")]),
        _page(_epic(long)),
        _page(_epic(notes=long)),
    ]
    assert [_kind_of(page) for page in others] == [None] * 4
