"""The health of a source: every possible problem as a message, and what a person can do about it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from mappings.policy.names import NamedProjects

HealthState = Literal["ok", "unknown", "degraded", "failing"]
ORDER: tuple[HealthState, ...] = ("ok", "unknown", "degraded", "failing")

RECENTLY = timedelta(hours=1)
LATE_AFTER = timedelta(minutes=2)
UNOPENED_AFTER = timedelta(minutes=5)
MAX_CLOCK_DIFFERENCE = 300.0  # seconds
MOST_NAMED = 3
UNREADABLE_TO_DO = (
    "Look in the tracker at what is named; if it looks as it should, open an issue with this message."
)


@dataclass(frozen=True, slots=True)
class HealthConcern:
    """One problem with its severity and remedy, or a message without a problem (`ok`)."""

    state: HealthState
    message: str
    what_to_do: str = ""


class MachineClock(NamedTuple):
    """`ahead`: seconds by which the clock of the machine `host` is ahead of the database's."""

    host: str
    ahead: float


@dataclass(frozen=True, slots=True)
class RefusedSignatures:
    """Counts to within ten minutes. `since`: when the first of the day came (UTC); None where none did."""

    hour: int = 0
    day: int = 0
    since: datetime | None = None

    def __str__(self) -> str:
        if self.since is None:
            return ""
        return (
            f"Refused for their signature: {self.hour} in the past hour, {self.day} in the past day, "
            f"since {self.since:%Y-%m-%d %H:%M} UTC."
        )


NONE_REFUSED = RefusedSignatures()


@dataclass(frozen=True, slots=True)
class HealthFacts:
    """What is known of a source besides the result of its last run. Times are UTC.

    `due_since`: since when the oldest due work has no worker. `webhooks_wait`: why, and until when.
    `paused_projects`: projects in which nothing is written, each with the tracker's message. `held_by_guard`:
    the number of notices that wait for a person, by run. `removals`: the number of epics that a full run did
    not meet and that wait for a person, by run. `unreadable`: the number of tickets that cannot be read, and
    some of them: key, project's key, reason. `clock_ahead`: seconds by which the tracker's clock is ahead
    of ours. `machine_clocks`: the machines of Northing whose clock is apart from the database's. `refused`:
    webhooks with a wrong signature.
    """

    has_worker: bool = True
    due_since: datetime | None = None
    unknown_deliveries: int = 0
    failed_deliveries: int = 0
    last_delivery_at: datetime | None = None
    webhooks_wait: tuple[str, datetime] | None = None
    paused_projects: tuple[tuple[str, str], ...] = ()
    held_by_guard: tuple[tuple[int | None, int], ...] = ()
    removals: tuple[tuple[int, int], ...] = ()
    unreadable: tuple[int, tuple[tuple[str, str, str], ...]] = (0, ())
    clock_ahead: float | None = None
    machine_clocks: tuple[MachineClock, ...] = ()
    refused: RefusedSignatures = NONE_REFUSED


@dataclass(frozen=True, slots=True)
class RenamedProject:
    """A project that the configuration names by a former key, at these places."""

    name: str
    key: str
    places: tuple[str, ...]


class UnreadableValues(NamedTuple):
    """A field that has values on tickets which are no days, or no numbers (`kind`), one of them on `epic`:
    the setting that is about it, and its name."""

    setting: str
    name: str
    kind: str
    epic: str


@dataclass(frozen=True, slots=True)
class HealthInput:
    """A source: its name, whether it has a webhook secret, when a signature was last refused (UTC), and what
    its last run reported. `renamed`: projects that the configuration names by a former key. `unknown_names`:
    pairs of a setting and a name in it that the tracker does not have. `unopened_since`: since when no
    process opens its credentials (UTC). `unreadable_values`: fields of the plan that are not all readable."""

    name: str
    has_secret: bool
    refused_at: datetime | None
    last_run: HealthConcern
    renamed: tuple[RenamedProject, ...] = ()
    unknown_names: tuple[tuple[str, str], ...] = ()
    unopened_since: datetime | None = None
    unreadable_values: tuple[UnreadableValues, ...] = ()


@dataclass(frozen=True, slots=True)
class Health:
    """`state` is the worst of the concerns; `message` and `what_to_do` join theirs, the worst first."""

    state: HealthState
    message: str
    what_to_do: str
    concerns: tuple[HealthConcern, ...]


def names_unknown(
    epics: Mapping[str, Any], notices: Mapping[str, Any], unknown: Mapping[str, Any]
) -> tuple[tuple[str, str], ...]:
    """The names in a source's epics or notices that the tracker does not have, each with its setting."""
    own = {f"epics.{member}": names for member, names in epics.items() if isinstance(names, list)}
    own |= {f"epics.{member}": [name] for member, name in epics.items() if isinstance(name, str)}
    own["notices.projects"] = notices.get("projects") or []
    return tuple(
        (setting, name)
        for setting, names in sorted(unknown.items())
        for name in names
        if name in own.get(setting, ())
    )


def renamed_projects(
    scope: Mapping[str, Any], notices: Mapping[str, Any], named: NamedProjects
) -> tuple[RenamedProject, ...]:
    """The projects that a source's scope or notices, a rule or the policy names by a former key."""
    own: list[tuple[str, Iterable[Any]]] = [
        (f"scope.{member}", names) for member, names in scope.items() if isinstance(names, list)
    ]
    own.append(("notices.projects", notices.get("projects") or ()))
    found = []
    for lower, known in sorted(named.items()):
        here = [place for place, names in own if lower in (str(name).lower() for name in names)]
        places = (*here, *known["places"])
        if lower != known["key"].lower() and places:
            found.append(RenamedProject(known["name"], known["key"], places))
    return tuple(found)


def assess_health(source: HealthInput, facts: HealthFacts, now: datetime) -> Health:
    """The problems of a source at `now` (UTC), the worst first, each with what to do."""
    parts = (
        _no_worker(facts, now),
        _unopened(source, now),
        source.last_run,
        _removals(facts, source.last_run),
        _renamed(source.renamed),
        _unknown_names(source.unknown_names),
        _unreadable_values(source.unreadable_values),
        _unreadable(facts, source.last_run),
        _paused_projects(facts),
        _held_by_guard(source.name, facts),
        _webhooks_wait(facts),
        _refused(source, facts, now),
        _failed(source.name, facts),
        _clock(facts),
        *_machine_clocks(facts),
        _unknown(facts),
    )
    found = [concern for concern in parts if concern is not None]
    found.sort(key=lambda concern: -ORDER.index(concern.state))
    worst = found[0].state
    if worst != "ok" and source.last_run.state == "ok":
        found.remove(source.last_run)  # "everything was read" says nothing about the problem
    found = [concern for concern in found if concern.message]
    message, what_to_do = (one.message for one in found), (one.what_to_do for one in found)
    return Health(worst, _joined(message), _joined(what_to_do), tuple(found))


def _joined(texts: Iterable[str]) -> str:
    """The non-empty texts, each once, in their order."""
    return " ".join(text for text in dict.fromkeys(texts) if text)


def _no_worker(facts: HealthFacts, now: datetime) -> HealthConcern | None:
    if facts.has_worker or facts.due_since is None or now - facts.due_since < LATE_AFTER:
        return None
    return HealthConcern(
        "failing",
        f"Work is due since {_utc(facts.due_since)} and no worker is alive to do it.",
        "Start `northing worker`, or `northing serve` without --no-worker.",
    )


def _unopened(source: HealthInput, now: datetime) -> HealthConcern | None:
    since = source.unopened_since
    if since is None or now - since < UNOPENED_AFTER:
        return None
    return HealthConcern(
        "failing",
        f"No process that does jobs has a key that opens the stored credentials, since {_utc(since)}; runs,"
        " webhooks and comments wait.",
        "Add the key used before to NORTHING_SECRET_KEY of every process and restart it, or send the"
        " credentials again with PATCH.",
    )


def _removals(facts: HealthFacts, last_run: HealthConcern) -> HealthConcern | None:
    """Removals that wait for a person, unless the last run's own message says so, as it does at first."""
    paths = [(f"/api/v1/runs/{run}/accept-removals", count) for run, count in facts.removals]
    held = [(path, count) for path, count in paths if path not in last_run.what_to_do]
    if not held:
        return None
    return HealthConcern(
        "degraded",
        f"Kept, though a full run did not find them any more: {_counted(held, 'epic')}.",
        "Check whether the account lost access or the scope is wrong, then sync in full. If they are to be "
        f"removed, an admin allows it with {_listed(f'POST {path}' for path, _ in held)}.",
    )


def _renamed(renamed: tuple[RenamedProject, ...]) -> HealthConcern | None:
    """It harms nothing as long as no other project gets the former key, so the advice says what is read."""
    if not renamed:
        return None
    now = _listed(f"{one.name} is now {one.key}" for one in renamed)
    changes = _listed(f"change {one.name} to {one.key} in {', '.join(one.places)}" for one in renamed)
    return HealthConcern(
        "degraded",
        f"Renamed in the tracker, and followed: project {now}.",
        f"{changes[0].upper()}{changes[1:]}. Until then the former key means the same project here, also "
        "where another project has got it.",
    )


def _unknown_names(unknown: tuple[tuple[str, str], ...]) -> HealthConcern | None:
    if not unknown:
        return None
    return HealthConcern(
        "degraded",
        "The last full sync found nothing in the tracker that has the name in "
        f"{_listed(f'{setting}: {name}' for setting, name in unknown)}.",
        "Correct the name by PATCH of the source, or create it in the tracker and sync in full.",
    )


def _unreadable_values(fields: tuple[UnreadableValues, ...]) -> HealthConcern | None:
    if not fields:
        return None
    found = (f"{one.name} ({one.setting}) as a {one.kind}, on {one.epic} for one" for one in fields)
    return HealthConcern(
        "degraded",
        f"Some tickets have values that cannot be read, and count as empty: {_listed(found)}.",
        f"Correct the values in the tracker, or name another field in "
        f"{_listed(one.setting for one in fields)}; the next full sync looks at all of them again.",
    )


def _unreadable(facts: HealthFacts, last_run: HealthConcern) -> HealthConcern | None:
    """Tickets that cannot be read, unless the last run's own message names them, as it does at first."""
    count, named = facts.unreadable
    if not count or unreadable_in_words(count, named) in last_run.message:
        return None
    return HealthConcern("degraded", unreadable_in_words(count, named), UNREADABLE_TO_DO)


def unreadable_in_words(count: int, named: Iterable[tuple[str, str, str]]) -> str:
    """`count` tickets that cannot be read, some of which are `named`: key, project's key, reason."""
    words = [f"{key or _ticket_of(project)}: {reason.rstrip('.')}" for key, project, reason in named]
    what = "1 ticket" if count == 1 else f"{count} tickets"
    more = f"; and {count - len(words)} more" if count > len(words) else ""
    return f"{what} cannot be read: {'; '.join(words)}{more}."


def _ticket_of(project: str) -> str:
    return f"a ticket of {project}" if project else "a ticket"


def _paused_projects(facts: HealthFacts) -> HealthConcern | None:
    if not facts.paused_projects:
        return None
    projects = _listed(project for project, _ in facts.paused_projects)
    return HealthConcern(
        "degraded",
        f"Nothing is written in {projects}, where the tracker takes no comments: "
        f"{facts.paused_projects[0][1]}",
        "Fix what the message names; Northing tries again a day after the last refusal, or at once when the "
        "source is changed with PATCH.",
    )


def _held_by_guard(name: str, facts: HealthFacts) -> HealthConcern | None:
    if not facts.held_by_guard:
        return None
    runs = [f'{{"run": {run}}}' for run, _ in facts.held_by_guard if run is not None]
    return HealthConcern(
        "degraded",
        "Held by the guard until a person has looked at them: "
        f"{_counted(facts.held_by_guard, 'new comment')}.",
        f"Read them with GET /api/v1/notices?source={name}&state=held; POST /api/v1/notices/approve "
        f"{_listed(runs)} releases them.",
    )


def _webhooks_wait(facts: HealthFacts) -> HealthConcern | None:
    if facts.webhooks_wait is None:
        return None
    why, until = facts.webhooks_wait
    return HealthConcern(
        "degraded", f"Webhooks wait until {_utc(until)}: {why}", "Nothing; they are tried again then."
    )


def _refused(source: HealthInput, facts: HealthFacts, now: datetime) -> HealthConcern | None:
    """A signature was refused within `RECENTLY`, and no valid webhook came after it."""
    at, last = source.refused_at, facts.last_delivery_at
    if at is None or now - at > RECENTLY or (last is not None and last > at):
        return None
    if not source.has_secret:
        return HealthConcern(
            "degraded",
            f"Webhooks arrive and are refused, last at {_utc(at)}, because the source has no webhook_secret."
            f" {facts.refused}".rstrip(),
            "Give it the secret that the tracker signs with, by PATCH of webhook_secret.",
        )
    return HealthConcern(
        "degraded",
        f"Webhooks are refused, last at {_utc(at)}, for their signature does not fit the webhook_secret."
        f" {facts.refused}".rstrip(),
        "Set the same secret in the tracker and, by PATCH of webhook_secret, here; the next valid webhook "
        "ends this message. If the tracker's webhooks are valid, another system sends to this address.",
    )


def _failed(name: str, facts: HealthFacts) -> HealthConcern | None:
    if not facts.failed_deliveries:
        return None
    return HealthConcern(
        "degraded",
        f"Not processed, of the past 7 days: {_counted([(0, facts.failed_deliveries)], 'webhook')}.",
        f"GET /api/v1/deliveries?source={name}&state=failed says why for each; once that is fixed, "
        "POST /api/v1/deliveries/ID/replay.",
    )


def _clock(facts: HealthFacts) -> HealthConcern | None:
    ahead = facts.clock_ahead
    if ahead is None or abs(ahead) <= MAX_CLOCK_DIFFERENCE:
        return None
    which = "ahead of" if ahead > 0 else "behind"
    return HealthConcern(
        "degraded",
        f"The tracker's clock is {abs(ahead) / 60:.0f} minutes {which} ours, which is the database's.",
        "Set the database machine's clock by NTP; if it is right, tell the administrator of the tracker.",
    )


def _machine_clocks(facts: HealthFacts) -> Iterator[HealthConcern]:
    for host, ahead in facts.machine_clocks:
        which = "ahead of" if ahead > 0 else "behind"
        yield HealthConcern(
            "degraded",
            f"The clock of the machine {host} is {abs(ahead) / 60:.0f} minutes {which} the database's. A "
            "tracker's certificate may seem expired or not yet valid there, which holds up what that machine "
            "reads and writes; and its log lines have wrong times.",
            "Set that machine's clock by NTP; if it is right, set the database machine's.",
        )


def _unknown(facts: HealthFacts) -> HealthConcern | None:
    """Webhooks with an unknown event do no harm, so they alone leave a source `ok`."""
    if not facts.unknown_deliveries:
        return None
    return HealthConcern(
        "ok",
        "With an event this version does not know, of the past 90 days: "
        f"{_counted([(0, facts.unknown_deliveries)], 'webhook')}.",
        "Choose only the events that docs/admin.md names in the tracker's webhook, or update Northing.",
    )


def _listed(words: Iterable[str]) -> str:
    """The first `MOST_NAMED` words, and how many more there are."""
    shown = [*words]
    more = f" and {len(shown) - MOST_NAMED} more" if len(shown) > MOST_NAMED else ""
    return ", ".join(shown[:MOST_NAMED]) + more


def _counted(counted: Iterable[tuple[object, int]], what: str) -> str:
    count = sum(number for _, number in counted)
    return f"{count} {what}{'' if count == 1 else 's'}"


def _utc(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
