"""What can strike a tracker, and what it means for us."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from starlette.types import ASGIApp, Receive, Scope, Send

from connectors.sandbox import faults
from connectors.sandbox.faults import Action
from connectors.sandbox.limits import limit
from connectors.sandbox.tracker import Tracker
from tests.support.tracker_drivers import ALL

# What a tracker's answer means for us: come back later, it cannot be read, we are nobody, it is not there
# or not here, and, of a write, that it may have been carried out.
Meaning = Literal["later", "unreadable", "nobody", "nothing"]


@dataclass(frozen=True)
class Trouble:
    """`wait`: seconds after which we are to come back, at the latest where it is not `named`. `limit`: the
    tracker has done nothing, and said so."""

    name: str
    strike: Callable[[Tracker], Action]
    meaning: Meaning
    wait: int = 60
    limit: bool = False

    @property
    def named(self) -> bool:
        return self.limit or self.name == "503"

    @property
    def lone(self) -> bool:
        """Whether, of a write, it holds up the source's other tickets too."""
        return self.limit or self.meaning == "nobody" or self.name == "redirect"


def _limit(form: str, seconds: int, wait: int) -> Trouble:
    return Trouble(form, lambda tracker: limit(form, seconds, tracker.clock), "later", wait, limit=True)


def _plain(name: str, make: Callable[[], Action], meaning: Meaning, wait: int = 60) -> Trouble:
    return Trouble(name, lambda tracker: make(), meaning, wait)


def credentials_die(tracker: Tracker) -> Action:
    """From here on the tracker takes us for a stranger, and does not say so."""

    async def act(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        tracker.faults.add("*", faults.as_stranger(), times=None)
        await faults.as_stranger()(app, scope, receive, send)

    return act


ELSEWHERE = "http://127.0.0.1:9/sign-in"  # nobody listens there; who goes there is told "cannot be reached"

_ANY = [
    _plain("503", lambda: faults.answer(503, "", {"Retry-After": "90"}), "later", 90),
    _plain("502 page of a proxy", lambda: faults.proxy_page(502), "later"),
    _plain("reset", faults.drop, "later"),
    _plain("truncated", faults.truncate, "later"),
    _plain("200 page of a proxy", lambda: faults.proxy_page(200), "unreadable"),
    _plain("no body", lambda: faults.answer(200, ""), "unreadable"),
    _plain("401", lambda: faults.answer(401, {"message": "Bad credentials"}), "nobody"),
    Trouble("credentials die", credentials_die, "nobody"),
    _plain("404", lambda: faults.answer(404, {"message": "Not Found"}), "nothing"),
    _plain("redirect", lambda: faults.redirect(ELSEWHERE), "nothing"),
]
_AFTER_THE_WORK = [
    _plain("reset after the work", faults.lose_answer, "later"),
    _plain("502 after the work", lambda: faults.after_work(faults.proxy_page(502)), "later"),
    _plain("200 after the work, unreadable", lambda: faults.after_work(faults.proxy_page(200)), "unreadable"),
]
_LIMITS = {
    "jira": [
        _limit("jira", 120, 120),
        _limit("jira_date", 300, 300),
        _limit("jira_reset", 40, 40),
        _limit("jira_silent", 0, 60),
    ],
    "github": [
        _limit("github_primary", 1800, 1800),
        _limit("github_primary_429", 1800, 1800),
        _limit("github_secondary", 90, 90),
        _limit("github_secondary_429", 90, 90),
        _limit("github_secondary_words", 0, 60),
        _limit("github_silent", 0, 60),
    ],
}


# Unless all is asked for, each trouble strikes somewhere and each place is struck by one of each meaning, for
# what an answer means is told in one place for all calls (`test_tracker_faults_calls`).
#
# Looks before a write are dealt fewer: each of theirs takes the whole way of a comment.
_BEFORE_A_WRITE = {
    "fetch": ("200 page of a proxy", "404"),
    "find": ("200 page of a proxy", "credentials die"),
    "marks": ("truncated", "credentials die"),
}
# There it is the truth, that the issue was deleted, or there is another way to the same.
_TRUE = {("github", "lookup"): "404", ("jira", "lookup"): "404", ("jira", "fetch"): "404"}


def all_troubles(kind: str) -> list[Trouble]:
    return [*_LIMITS[kind], *_ANY]


def dealt(kind: str, places: Sequence[str], *, write: bool = False) -> dict[str, list[Trouble]]:
    """What strikes at each of these places, all of which read or all of which write."""
    troubles = all_troubles(kind)
    if write:
        limits = _LIMITS[kind] if ALL else [_LIMITS[kind][0], _LIMITS[kind][-1]]
        troubles = [*limits, *_ANY, *_AFTER_THE_WORK]
    fitting = {place: [one for one in troubles if one.name != _TRUE.get((kind, place))] for place in places}
    if ALL:
        return fitting
    given: dict[str, list[Trouble]] = {place: [] for place in places}
    for alike in _alike(troubles):
        for number in range(max(len(alike), len(places))):
            place = places[number % len(places)]
            here = [one for one in alike if one in fitting[place]]
            given[place].append(here[number % len(here)])
    return given


def _alike(troubles: Sequence[Trouble]) -> list[list[Trouble]]:
    """By what they mean for us, and whether the work was done."""
    found: dict[tuple[str, bool], list[Trouble]] = {}
    for one in troubles:
        found.setdefault((one.meaning, one in _AFTER_THE_WORK), []).append(one)
    return list(found.values())


def before_a_write(kind: str, place: str) -> list[Trouble]:
    fitting = [one for one in _ANY if one.name != _TRUE.get((kind, place))]
    return [_LIMITS[kind][0], *(one for one in fitting if ALL or one.name in _BEFORE_A_WRITE[place])]


HANGS = _plain("hangs", faults.hang, "later")
HANGS_AFTER = _plain("hangs after the work", lambda: faults.after_work(faults.hang()), "later")
DRIPS = _plain("drips", faults.drip, "later")
