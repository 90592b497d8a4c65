"""Whether a key result's title names an output, which is made, and no outcome, which changes by it.

A hint, never a refusal: a title has no grammar, so words decide, in English and German. A number that moves
or is to be reached makes an outcome of any title. Pure.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal

Kind = Literal["release", "replace", "work"]

_NUMBER = r"[^\w\s]{0,2}\d[\d.,]*"
# What says by itself that something changes for somebody.
_OUTCOME = re.compile(
    rf"""
      \b(?:from|von|bei)\s+{_NUMBER}\s*\S{{0,12}}\s+(?:to|auf|bis|nach)\b
    | \b(?:from|von)\s+(?:\w+ly|täglich|monatlich|wöchentlich|quartalsweise)\b
    | \d\s*(?:→|->|=>)\s*\d
    | \b(?:by|um)\s+{_NUMBER}
    | \b(?:below|under|above|over|at\ (?:least|most)|less\ than|more\ than|fewer\ than|no\ more\ than|within
        |up|unter|über|mindestens|höchstens|weniger\ als|mehr\ als|maximal
        |innerhalb\ von)\s+(?:\w+\s+)?{_NUMBER}
    | \d\s*(?:times|x|mal)\s+(?:a|an|per|each|pro|je|am|im)\b
    | \b(?:increas|decreas|reduc|rais|improv|grow|doubl|tripl|halv|cut|lower|shorten|drop|fall|ris|shrink
        |spend)
        (?:e|es|ed|ing|s|en|t|ts|n|ped|ps|th)?\b
    | \b(?:fewer|less|more|sooner|faster|weniger|mehr|schneller|seltener|häufiger|kürzer)\b
    | \b(?:steiger|erhöh|verbesser|senk|sink|reduzier|verringer|verkürz|halbier|verdoppel|wachs|wächs
        |verdreifach)
        \w*\b
    | \b(?:rate|share|score|cost|time|adoption|churn|conversion|revenue|turnover|satisfaction|nps
        |\w*(?:quote|anteil|kosten|zeit|umsatz|zufriedenheit|verfügbarkeit))\b.*\d
    """,
    re.IGNORECASE | re.VERBOSE,
)
# "Complete 80% of the rewrite", "100% of the services migrated": a share of the work, not of the world.
_SHARE_OF_WORK = re.compile(
    r"^(?:complete|finish|deliver|implement|migrate|ship|release|build|close)\w*\s+(?:at least\s+)?"
    r"\d+\s*(?:%|percent|prozent)\s+of\b",
    re.IGNORECASE,
)
# One sign at a time, so that a long row of them is read once.
_BEGINNING = r"^(?:(?:we|wir|to|will|zu|q[1-4]|h[12]|20\d\d)\b|\W)*"


def _first(words: str) -> re.Pattern[str]:
    """English: the verb in front."""
    return re.compile(rf"{_BEGINNING}(?:{words})\b", re.IGNORECASE)


def _last(words: str) -> re.Pattern[str]:
    """German verbs, and what is done in either language, stand at the end."""
    return re.compile(rf"\b(?:{words})\s*[.!]?$", re.IGNORECASE)


def _noun(words: str) -> re.Pattern[str]:
    """The making of something, as a noun with what it is the making of."""
    return re.compile(
        rf"\b(?:{words})\s+(?:of|for|to|des|der|von|eines|einer|in|auf|für|zu[rm]?)\b", re.IGNORECASE
    )


_SIGNS: dict[Kind, tuple[re.Pattern[str], ...]] = {
    "release": (
        _first(
            "launch|release|deliver|ship|roll ?out|introduce|go live|deploy|publish|add|start|begin|open"
            "|bring|pilot|provide|enable|offer"
        ),
        _last(
            "launched|released|delivered|shipped|rolled out|introduced|live|deployed|published|available"
            "|in production|in produktion|launchen|releasen|ausliefern|liefern|ausrollen|einführen"
            "|veröffentlichen|bereitstellen|live schalten|freischalten|anbieten|starten|eingeführt|ausgerollt"
            "|veröffentlicht|ausgeliefert|bereitgestellt|verfügbar|eröffnen|pilotieren"
        ),
        _noun(
            "launch|release|roll-?out|go-?live|introduction|delivery|einführung|bereitstellung|auslieferung"
        ),
        re.compile(r"\bführen\b.*\bein$|\brollen\b.*\baus$", re.IGNORECASE),
    ),
    "replace": (
        _first(
            "migrate|replace|refactor|rewrite|upgrade|move|modernis|moderniz|consolidate|integrate|connect"
            "|decommission|retire|switch|port|update|modernise|modernize|automate|onboard"
        ),
        _last(
            "migrated|replaced|refactored|rewritten|upgraded|consolidated|integrated|decommissioned|migrieren"
            "|ablösen|ersetzen|abschalten|umstellen|aktualisieren|modernisieren|anbinden|integrieren"
            "|konsolidieren|migriert|abgelöst|ersetzt|abgeschaltet|umgestellt|angebunden|integriert"
            "|automatisieren|refaktorieren"
        ),
        _noun("migration|replacement|umstellung|ablösung|abschaltung|anbindung|konsolidierung|integration"),
        re.compile(r"\bonboarded\b", re.IGNORECASE),
    ),
    "work": (
        _first(
            "build|implement|complete|finish|develop|create|design|write|set ?up|hold|run|hire|establish"
            "|define|document|conduct|organi[sz]e|prepare|produce|make|train|test|plan|draft|do|execute|close"
        ),
        _last(
            "built|implemented|completed|finished|developed|created|designed|written|set up|established"
            "|defined|documented|done|umsetzen|implementieren|bauen|aufbauen|fertigstellen|abschließen|entwickeln"
            "|erstellen|aufsetzen|einrichten|durchführen|erarbeiten|gestalten|schreiben|definieren|einstellen"
            "|dokumentieren|planen|konzipieren|etablieren|schulen|umgesetzt|implementiert|gebaut|aufgebaut"
            "|fertiggestellt|abgeschlossen|entwickelt|erstellt|aufgesetzt|eingerichtet|durchgeführt"
            "|erarbeitet|gestaltet"
        ),
        _noun(
            "implementation|completion|development|creation|umsetzung|fertigstellung|abschluss|entwicklung"
            "|erstellung|aufbau|durchführung|implementierung|erarbeitung|einrichtung"
        ),
    ),
}
_ADVICE: dict[Kind, str] = {
    "release": "Name what people then do more often, or what they need less: the share that uses it, "
    "the orders, the time or the contacts it saves.",
    "replace": "Name what the old state costs and the new one saves: money, outages, findings, or the time "
    "that a change takes.",
    "work": "Name what is different for those it is made for, once it is done: what they can do, how often, "
    "how fast, at what cost.",
}


@lru_cache(maxsize=4096)
def output_hint(title: str) -> str | None:
    """What to name instead, in words, where the title names an output; None where it does not."""
    words = " ".join(title.split())[:500]
    if _OUTCOME.search(words) and not _SHARE_OF_WORK.search(words):
        return None
    for kind, signs in _SIGNS.items():
        if any(sign.search(words) for sign in signs):
            return f"This names what is made, not what changes by it. {_ADVICE[kind]}"
    return None
