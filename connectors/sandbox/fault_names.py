"""The faults by name, so that another process can set them; see `controls`.

`with` has these members, by name: `answer` status, body, headers · `proxy_page` status · `redirect` location,
status · `limit` form (one of `limits.LIMITS`), seconds · `drip` seconds · `page_size` items · `is_last` value
· `in_zone` name. The others have none: `drop`, `hang`, `truncate`, `as_stranger`, `repeat_token`,
`empty_last_page`. With `after_work` true the tracker executes the request before the fault replaces its
answer: `drop` then loses the answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from zoneinfo import available_timezones

from connectors.sandbox import faults, vendor_faults
from connectors.sandbox.limits import LIMITS, limit

if TYPE_CHECKING:
    from collections.abc import Callable

    from connectors.sandbox.faults import Action, Fault
    from connectors.sandbox.tracker import Tracker


class Status(int):
    """200 to 599."""


# For each name: the function that makes its action, and the type of each member of `with`.
NAMED: dict[str, tuple[Callable[..., Action], dict[str, type]]] = {
    "answer": (faults.answer, {"status": Status, "body": object, "headers": dict}),
    "proxy_page": (faults.proxy_page, {"status": Status}),
    "redirect": (faults.redirect, {"location": str, "status": Status}),
    "limit": (limit, {"form": str, "seconds": int}),
    "drop": (faults.drop, {}),
    "hang": (faults.hang, {}),
    "drip": (faults.drip, {"seconds": float}),
    "truncate": (faults.truncate, {}),
    "as_stranger": (faults.as_stranger, {}),
    "page_size": (faults.page_size, {"items": int}),
    "is_last": (faults.is_last, {"value": bool}),
    "repeat_token": (faults.repeat_token, {}),
    "empty_last_page": (vendor_faults.empty_last_page, {}),
    "in_zone": (vendor_faults.in_zone, {"name": str}),
}
MEMBERS = frozenset({"fault", "match", "times", "skip", "with", "after_work"})


def add_named(tracker: Tracker, change: Any) -> Fault:
    """Adds `{"fault", "match", "times"?=1 or null (no end), "skip"?=0, "with"?={}, "after_work"?=false}`.

    Raises ValueError; its text is the answer to the caller.
    """
    if not isinstance(change, dict) or not {"fault", "match"} <= set(change) <= MEMBERS:
        raise ValueError(f"Needed is an object with fault and match, at most {', '.join(sorted(MEMBERS))}.")
    match, times, skip = change["match"], change.get("times", 1), change.get("skip", 0)
    if not isinstance(match, str) or not match:
        raise ValueError('match is a glob over "METHOD /path", such as "POST */comment".')
    if times is not None and not _is_whole(times, 1):
        raise ValueError("times is a whole number above 0, or null for ever.")
    if not _is_whole(skip, 0):
        raise ValueError("skip is a whole number.")
    if not isinstance(change.get("after_work", False), bool):
        raise ValueError("after_work is true or false.")
    action = _action(tracker, change["fault"], change.get("with", {}))
    if change.get("after_work", False):
        action = faults.after_work(action)
    return tracker.faults.add(match, action, times=times, skip=skip, name=str(change["fault"]))


def _action(tracker: Tracker, name: Any, members: Any) -> Action:
    if not isinstance(name, str) or name not in NAMED:
        raise ValueError(f"There is no fault {name!r}; there are {', '.join(NAMED)}.")
    make, types = NAMED[name]
    if not isinstance(members, dict) or not set(members) <= set(types):
        raise ValueError(f"with holds, for {name}: {', '.join(types) or 'nothing'}.")
    for member, kind in types.items():
        if member in members and not _fits(members[member], kind):
            raise ValueError(f"with.{member} must be a {kind.__name__}.")
    if name == "limit" and members.get("form") not in LIMITS:
        raise ValueError(f"with.form is one of {', '.join(LIMITS)}.")
    if name == "in_zone" and members.get("name") not in available_timezones():
        raise ValueError("with.name is a time zone such as Pacific/Kiritimati.")
    try:
        return make(**members, **({"clock": tracker.clock} if name == "limit" else {}))
    except TypeError:
        raise ValueError(f"{name} needs more in with: {', '.join(types)}.") from None


def _fits(value: Any, kind: type) -> bool:
    if kind is int:
        return _is_whole(value, 0)
    if kind is Status:
        return _is_whole(value, 200) and value < 600
    if kind is dict:
        return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0
    return isinstance(value, kind)


def _is_whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
