"""The objectives above those of a file: each is stored or another line makes it, and none is above itself.

A line that is wrong here may make others wrong: those below an objective that is then not made. Pure.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from mappings.imports.target import Target

# New objectives above each other: each level is stored by itself.
LEVELS_AT_MOST = 50
ROUNDS = 20  # a line that is left out may close another ring; each round leaves out all that are in one
Goals = dict[str, Target[Any]]  # by their keys in lower case


def check_parents(made: Sequence[Target[Any]], by_key: Goals, column: str) -> None:
    """Turn the lines whose parent cannot be into errors. `made` are the new goals; `by_key` are all goals
    with a key, from which those that are not made are taken out."""
    below: dict[str, list[Target[Any]]] = defaultdict(list)
    for target in [*by_key.values(), *(new for new in made if new.key is None)]:
        if target.good and target.values[column] is not None:
            below[target.values[column].lower()].append(target)
    _leave_out(by_key, below, column, [key for key in below if key not in by_key])
    for attempt in range(ROUNDS):
        ringed = _ringed(by_key, column)
        if not ringed:
            break
        if attempt == ROUNDS - 1:
            ringed = {key: "" for key, target in by_key.items() if target.good}
        for key, ring in ringed.items():
            _fail_if_moved(by_key[key], column, ring or "is part of many loops; import it by itself")
        _leave_out(by_key, below, column, _drop_failed(by_key))
    for target in made:
        if target.good and _levels(target, by_key, column) > LEVELS_AT_MOST:
            message = f"more than {LEVELS_AT_MOST} new levels in one file; import the upper ones first"
            target.fail(column, message)
    _leave_out(by_key, below, column, _drop_failed(by_key))


def _drop_failed(by_key: Goals) -> list[str]:
    """Take out the goals that are not made after all; their keys."""
    dropped = [
        key for key, target in by_key.items() if target.stored is None and target.lines and not target.good
    ]
    for key in dropped:
        del by_key[key]
    return dropped


def _leave_out(by_key: Goals, below: dict[str, list[Target[Any]]], column: str, missing: list[str]) -> None:
    """Fail what has a parent of one of these keys, and what is below that."""
    while missing:
        for target in below.pop(missing.pop(), ()):
            if target.good:
                target.fail(column, f"there is no objective {target.values[column]!r}")
                if target.stored is None and target.key is not None:
                    by_key.pop(target.key.lower(), None)
                    missing.append(target.key.lower())


def _fail_if_moved(target: Target[Any], column: str, message: str) -> None:
    if target.good and (target.stored is None or column in target.changed):
        target.fail(column, message)


def _ringed(by_key: Goals, column: str) -> dict[str, str]:
    """The goals that are above themselves, each with the ring in words."""
    found: dict[str, str] = {}
    seen: dict[str, int] = {}
    for walk, start in enumerate(by_key):
        path: list[str] = []
        key = start
        while key in by_key and key not in seen:
            seen[key] = walk
            path.append(key)
            key = str(by_key[key].values[column] or "").lower()
        if seen.get(key) == walk and key in path:
            ring = path[path.index(key) :]
            names = [str(by_key[each].key) for each in ring]
            shown = " under ".join([*names[:4], *(["…"] if len(names) > 4 else []), names[0]])
            found.update(dict.fromkeys(ring, f"makes a loop: {shown}"))
    return found


def _levels(target: Target[Any], by_key: Goals, column: str) -> int:
    """How many new goals stand in a line from this one up, counted no further than needed."""
    levels, at = 0, target
    while at.stored is None and levels <= LEVELS_AT_MOST:
        levels += 1
        parent = by_key.get(str(at.values[column] or "").lower())
        if parent is None:
            break
        at = parent
    return levels
