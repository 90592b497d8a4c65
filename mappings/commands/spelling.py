"""Which keys a mistyped key may stand for. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_MOST = 3


def near_keys(typed: str, keys: Iterable[str]) -> list[str]:
    """The keys that differ from `typed` in case, signs and leading zeros alone; where there are none, those
    that differ by one character more."""
    plain = _plain(typed)
    same, near = list[str](), list[str]()
    for key in keys:
        other = _plain(key)
        if other == plain:
            same.append(key)
        elif len(plain) > 2 and _one_apart(plain, other):
            near.append(key)
    return (same or near)[:_MOST]


def _plain(key: str) -> str:
    """Letters and digits in lower case, no number with leading zeros."""
    plain = ""
    for char in key.lower():
        if char == "0" and not plain[-1:].isdigit():
            continue
        plain += char if char.isalnum() else ""
    return plain


def _one_apart(first: str, second: str) -> bool:
    """Whether one character is left out, added or another, or two neighbours changed places."""
    if abs(len(first) - len(second)) > 1:
        return False
    start = 0
    while start < min(len(first), len(second)) and first[start] == second[start]:
        start += 1
    first, second = first[start:], second[start:]
    if first[1:] == second[1:] or first[1:] == second or first == second[1:]:
        return True
    return first[:2] == second[1::-1] and first[2:] == second[2:]
