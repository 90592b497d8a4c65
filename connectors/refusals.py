"""Why a tracker refuses a call, by its words: a limit, or a cause of its vendor's table. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from connectors.json import parse_json

if TYPE_CHECKING:
    from collections.abc import Sequence

# Seconds to wait where a limit says nothing of its end: GitHub's documentation asks for a minute at least.
LIMIT_PAUSE = 60.0

_READ_BYTES = 16 * 1024
_LONGEST_ERROR = 256 * 1024  # an error with a few messages is a thousand times shorter
# The wordings of GitHub, of Jira and of the gateways before them, in messages and in the addresses of pages.
_LIMIT = re.compile(
    r"rate[ _-]?limit|abuse[ -](?:detection|rate)|too many requests|too quickly|request limit|throttl"
    r"|temporarily blocked|quota (?:was |has been |is )?(?:exceeded|exhausted)"
    r"|exceeded (?:your|the|its) (?:\w+ ){0,2}quota|secondary limit"
)
# Pages of broken servers say so too, and these may have executed the request: for refusals (4xx) alone.
_LATER = re.compile(
    r"wait a few minutes|(?:re)?try (?:your request )?(?:again )?(?:later|in a few (?:minutes|moments))"
)
# Names that people chose may hold such words: vendors put them between backticks or quotes.
_NAMES = re.compile(r"`[^`]*`|(?<!\w)'[^']*'(?!\w)")


@dataclass(frozen=True, slots=True)
class Cause:
    """One cause of a refusal. `words`: in lower case; one of them stands in what the tracker says.

    `everywhere`: other tickets are refused alike, because the cause is the account, the token, the network or
    a rule of the organisation.
    """

    words: tuple[str, ...]
    what_to_do: str
    everywhere: bool = False


def cause_of(causes: Sequence[Cause], text: str) -> Cause | None:
    """The first of `causes` whose words stand in `text`; a name that people chose stops no other tickets."""
    folded = text.casefold()
    unnamed = _NAMES.sub("", folded)

    def stands(cause: Cause) -> bool:
        return any(word in (unnamed if cause.everywhere else folded) for word in cause.words)

    return next(filter(stands, causes), None)


def members_of(body: bytes) -> dict[str, Any]:
    """The members of an error's body; none if it is no JSON object, or longer than any error is."""
    if len(body) > _LONGEST_ERROR:
        return {}
    try:
        decoded = parse_json(body)
    except ValueError:
        return {}
    return decoded if isinstance(decoded, dict) else {}


def says_limit(status: int, body: bytes) -> bool:
    """Whether an error's body, JSON or a page, says that we send too many requests."""
    text = _NAMES.sub("", body[:_READ_BYTES].decode("utf-8", "replace").casefold())
    return bool(_LIMIT.search(text)) or (status < 500 and bool(_LATER.search(text)))
