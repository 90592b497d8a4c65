"""How a source fares, in words with what to do. All that may be the matter is put together here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

State = Literal["ok", "unknown", "degraded", "failing"]
ORDER: tuple[State, ...] = ("ok", "unknown", "degraded", "failing")

LATELY = timedelta(hours=1)
LATE = timedelta(minutes=2)
CLOCKS_APART = 300.0  # seconds
NAMED = 3


@dataclass(frozen=True, slots=True)
class Concern:
    """One thing that is the matter, or a word on what is not."""

    state: State
    message: str
    what_to_do: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a source beside what its last run said. Moments are UTC.

    `due_since`: the oldest work that nobody has taken. `webhooks_wait`: why, and until when. `stopped`:
    projects in which nothing is written, each with the tracker's words. `guarded`: notices that wait for a
    person, by run. `removals`: epics that a full run did not meet and that wait for a person, by run.
    `clock_ahead`: seconds by which the tracker's clock is ahead of ours.
    """

    somebody_works: bool = True
    due_since: datetime | None = None
    unknown_deliveries: int = 0
    failed_deliveries: int = 0
    last_delivery_at: datetime | None = None
    webhooks_wait: tuple[str, datetime] | None = None
    stopped: tuple[tuple[str, str], ...] = ()
    guarded: tuple[tuple[int | None, int], ...] = ()
    removals: tuple[tuple[int, int], ...] = ()
    clock_ahead: float | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """A source: its name, whether it has a webhook secret, and when a signature was last refused."""

    name: str
    has_secret: bool
    refused_at: datetime | None
    last_run: Concern


@dataclass(frozen=True, slots=True)
class Health:
    """`state` is the worst of the concerns, `message` and `what_to_do` are theirs, the worst first."""

    state: State
    message: str
    what_to_do: str
    concerns: tuple[Concern, ...]


def health(subject: Subject, facts: Facts, now: datetime) -> Health:
    """What is the matter with a source at `now`, the worst first, and the way out of each."""
    parts = (
        _nobody_works(facts, now),
        subject.last_run,
        _removals(facts, subject.last_run),
        _stopped(facts),
        _guarded(subject.name, facts),
        _webhooks_wait(facts),
        _refused(subject, facts, now),
        _failed(subject.name, facts),
        _clock(facts),
        _unknown(facts),
    )
    found = [concern for concern in parts if concern is not None]
    found.sort(key=lambda concern: -ORDER.index(concern.state))
    worst = found[0].state
    if worst != "ok" and subject.last_run.state == "ok":
        found.remove(subject.last_run)  # that all was read is no answer to what is the matter
    found = [concern for concern in found if concern.message]
    message, what_to_do = (one.message for one in found), (one.what_to_do for one in found)
    return Health(worst, _joined(message), _joined(what_to_do), tuple(found))


def _joined(texts: Iterable[str]) -> str:
    """Each once, in their order."""
    return " ".join(text for text in dict.fromkeys(texts) if text)


def _nobody_works(facts: Facts, now: datetime) -> Concern | None:
    if facts.somebody_works or facts.due_since is None or now - facts.due_since < LATE:
        return None
    return Concern(
        "failing",
        f"Work is due since {_at(facts.due_since)} and no worker is alive to do it.",
        "Start `northing worker`, or `northing serve` without --no-worker.",
    )


def _removals(facts: Facts, last_run: Concern) -> Concern | None:
    """Not where the last run says so itself, as it does until another run has read something."""
    paths = [(f"/api/v1/runs/{run}/accept-removals", count) for run, count in facts.removals]
    held = [(path, count) for path, count in paths if path not in last_run.what_to_do]
    if not held:
        return None
    return Concern(
        "degraded",
        f"Kept, though a full run did not find them any more: {_so_many(held, 'epic')}.",
        "See whether the account lost access or the scope is wrong, then sync in full. If they are to go, an "
        f"admin says so with {_listed(f'POST {path}' for path, _ in held)}.",
    )


def _stopped(facts: Facts) -> Concern | None:
    if not facts.stopped:
        return None
    projects = _listed(project for project, _ in facts.stopped)
    return Concern(
        "degraded",
        f"Nothing is written in {projects}, where the tracker takes no comments: {facts.stopped[0][1]}",
        "Mend what it names; Northing tries again a day after the last refusal, or at once when the source "
        "is changed with PATCH.",
    )


def _guarded(name: str, facts: Facts) -> Concern | None:
    if not facts.guarded:
        return None
    runs = [f'{{"run": {run}}}' for run, _ in facts.guarded if run is not None]
    return Concern(
        "degraded",
        f"Held by the guard until a person has looked at them: {_so_many(facts.guarded, 'new comment')}.",
        f"Read them with GET /api/v1/notices?source={name}&state=held; POST /api/v1/notices/approve "
        f"{_listed(runs)} lets them go.",
    )


def _webhooks_wait(facts: Facts) -> Concern | None:
    if facts.webhooks_wait is None:
        return None
    why, until = facts.webhooks_wait
    return Concern(
        "degraded", f"Webhooks wait until {_at(until)}: {why}", "Nothing; they are tried again then."
    )


def _refused(subject: Subject, facts: Facts, now: datetime) -> Concern | None:
    """Lately, and none came since that was in order."""
    at, last = subject.refused_at, facts.last_delivery_at
    if at is None or now - at > LATELY or (last is not None and last > at):
        return None
    if not subject.has_secret:
        return Concern(
            "degraded",
            f"Webhooks arrive and are refused, last at {_at(at)}, for the source has no webhook_secret.",
            "Give it the secret that the tracker signs with, by PATCH of webhook_secret.",
        )
    return Concern(
        "degraded",
        f"Webhooks are refused, last at {_at(at)}, for their signature does not fit the webhook_secret.",
        "Set the same secret in the tracker and, by PATCH of webhook_secret, here; the next webhook in order "
        "ends this message. If the tracker's are in order, somebody else sends to this address.",
    )


def _failed(name: str, facts: Facts) -> Concern | None:
    if not facts.failed_deliveries:
        return None
    return Concern(
        "degraded",
        f"Not worked on, of the past 7 days: {_so_many([(0, facts.failed_deliveries)], 'webhook')}.",
        f"GET /api/v1/deliveries?source={name}&state=failed says why of each; once that is mended, "
        "POST /api/v1/deliveries/ID/replay.",
    )


def _clock(facts: Facts) -> Concern | None:
    ahead = facts.clock_ahead
    if ahead is None or abs(ahead) <= CLOCKS_APART:
        return None
    which = "ahead of" if ahead > 0 else "behind"
    return Concern(
        "degraded",
        f"The tracker's clock is {abs(ahead) / 60:.0f} minutes {which} ours.",
        "Set this machine's clock by NTP; if it is right, tell who runs the tracker.",
    )


def _unknown(facts: Facts) -> Concern | None:
    """No harm is done by what nobody waits for, so this alone leaves a source well."""
    if not facts.unknown_deliveries:
        return None
    return Concern(
        "ok",
        "With an event this version does not know, of the past 90 days: "
        f"{_so_many([(0, facts.unknown_deliveries)], 'webhook')}.",
        "Choose only the events that README names in the tracker's webhook, or update Northing.",
    )


def _listed(words: Iterable[str]) -> str:
    """The first of them."""
    named = [*words]
    more = f" and {len(named) - NAMED} more" if len(named) > NAMED else ""
    return ", ".join(named[:NAMED]) + more


def _so_many(counted: Iterable[tuple[object, int]], what: str) -> str:
    count = sum(number for _, number in counted)
    return f"{count} {what}{'' if count == 1 else 's'}"


def _at(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
