"""What an epic without a live link of its own takes from the epics above it. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from mappings.links.resolve import Ancestor, Resolution, ResolvedLink

# So many epics of the way are named in a link's `why`.
WAY_SHOWN = 5


def ancestors(epic_id: int, parent_of: Callable[[int], int | None]) -> Iterator[int]:
    """The ids of the epics above an epic, its parent first, each once: a loop ends where it is met again."""
    met = {epic_id}
    above = parent_of(epic_id)
    while above is not None and above not in met:
        yield above
        met.add(above)
        above = parent_of(above)


def with_inherited(own: Resolution, above: Iterable[tuple[Ancestor, Sequence[ResolvedLink]]]) -> Resolution:
    """`own` and, where none of its links is live, the links of the epics above.

    `above` gives each with its own links, oldest first, from the parent on; no more of it is read than
    needed. The first with a live link is the last that is asked. Links that are not live are taken on the
    way there: they are shown, as the parent shows them. A key result is taken once, from the nearest.
    Weights are the parent's, and so is the primary link, unless a person marked one of the epic's own.
    """
    if own.aligned:
        return own
    taken = {link.key_result.id for link in own.links}
    inherited: list[ResolvedLink] = []
    way: list[Ancestor] = []
    oldest: ResolvedLink | None = None
    for ancestor, links in above:
        fresh = [link for link in links if link.key_result.id not in taken]
        passed: dict[int, ResolvedLink] = {}
        for link in sorted(fresh, key=lambda link: not link.primary):  # one key result may be linked twice
            passed.setdefault(link.key_result.id, link)
        order = dict.fromkeys(link.key_result.id for link in fresh)
        inherited += [_inherited(passed[id], ancestor, tuple(way)) for id in order]
        taken |= passed.keys()
        is_live = any(link.live for link in links)
        if fresh and (oldest is None or is_live):
            oldest = inherited[-len(order)]
        if is_live:
            break
        way.append(ancestor)
    if not inherited:
        return own
    return replace(own, links=(*own.links, *_with_one_primary(own, inherited, oldest)))


def _with_one_primary(
    own: Resolution, inherited: Sequence[ResolvedLink], oldest: ResolvedLink | None
) -> Iterator[ResolvedLink]:
    """The links with the parent's primary alone marked: the nearest that a person marked, else `oldest`."""
    marked: ResolvedLink | None = None
    if not any(link.primary for link in own.links):
        marked = next((link for link in inherited if link.primary), oldest)
    for link in inherited:
        is_marked = link is marked
        yield link if link.primary == is_marked else replace(link, primary=is_marked)


def _inherited(link: ResolvedLink, ancestor: Ancestor, way: tuple[Ancestor, ...]) -> ResolvedLink:
    why = f"inherited from {ancestor.key}{_by_way_of(way)}: {link.why}"
    return replace(link, origin="inherited", why=why, inherited_from=ancestor, way=way)


def _by_way_of(way: Sequence[Ancestor]) -> str:
    if not way:
        return ""
    keys = ", ".join(ancestor.key for ancestor in way[:WAY_SHOWN])
    more = f" and {len(way) - WAY_SHOWN} more" if len(way) > WAY_SHOWN else ""
    return f" by way of {keys}{more}"
