"""The pack of a review as one HTML file that prints well: its own small sheet, no script, nothing from
elsewhere, and every text escaped. Pure."""

from __future__ import annotations

from html import escape as escaped
from typing import TYPE_CHECKING, Any

from mappings.files.harmless import visible
from mappings.governance.agenda import coverage_words
from mappings.governance.pack import (
    Pack,
    PackDecision,
    PackItem,
    change_lines,
    confidential_line,
    dealt_words,
    decision_words,
    facts_line,
    item_words,
    mitigation_words,
    moved_progress,
    objective_words,
    owner_words,
    people_lines,
    people_words,
    state_words,
    value_words,
)
from mappings.words import number_words, percent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# For the header of the answer: the file loads nothing, and only its own sheet applies.
PACK_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"

_SHEET = """
@page{size:A4;margin:16mm 15mm}
:root{color-scheme:light}
*{box-sizing:border-box;margin:0;padding:0}
body{max-width:48rem;margin:0 auto;padding:2rem 1.5rem;background:#fff;color:#161b22;
font:15px/1.5 -apple-system,"Segoe UI",Inter,Roboto,"DejaVu Sans",sans-serif;overflow-wrap:anywhere}
h1{font-size:26px;line-height:1.2;letter-spacing:-.015em}
h2{font-size:18px;margin:2rem 0 .6rem;padding-top:.9rem;border-top:2px solid #161b22;break-after:avoid}
h3{font-size:15px;margin:1.4rem 0 .4rem;break-after:avoid}
ul,ol{padding-left:1.3rem}
li{margin:.3rem 0;break-inside:avoid}
.soft{color:#57606d;font-size:13px}
.head p{margin-top:.4rem}
.missing{color:#9a3412;font-weight:600}
.figure{display:flex;gap:1.2rem;align-items:baseline;flex-wrap:wrap}
.figure b{font-size:44px;line-height:1;letter-spacing:-.02em}
.figure p{flex:1 1 20rem}
table{width:100%;border-collapse:collapse;font-size:13px;table-layout:fixed}
thead{display:table-header-group}
th{text-align:left;font-weight:600;color:#57606d;border-bottom:1px solid #868f9c;
padding:.25rem .5rem .25rem 0;vertical-align:bottom}
td{border-bottom:1px solid #e2e5ea;padding:.4rem .5rem .4rem 0;vertical-align:top}
tr{break-inside:avoid}
.kr{break-inside:avoid}
.words td{border-bottom:1px solid #e2e5ea;padding:0 .5rem .5rem 0;font-style:italic;color:#3a424d}
.with td{border-bottom:0;padding-bottom:.2rem}
.num{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.bar{display:block;width:100%;height:6px;background:#e2e5ea;margin-top:.35rem}
.risk{color:#9a3412;font-weight:600}
.todo{color:#9a3412;font-weight:600}
.cards{list-style:none;padding:0}
.cards li{border:1px solid #c3c9d2;border-radius:5px;padding:.6rem .8rem;margin:.6rem 0}
.cards .soft{float:right;margin-left:1rem}
@media (max-width:36rem){body{padding:1rem .8rem}table{font-size:12px}col:first-child{width:32%}}
@media print{body{max-width:none;padding:0;font-size:10.5pt}h1{font-size:19pt}h2{font-size:13.5pt}
.figure b{font-size:30pt}table,.soft{font-size:9pt}
.cards li{margin:.3rem 0;padding:.4rem .7rem}
.sheet{break-before:page;border-top:0;padding-top:0;margin-top:0}}
"""


def escape(text: str) -> str:
    """Its visible characters in one line: nothing that turns the words around it, either."""
    return escaped(visible(text))


def pack_html(pack: Pack) -> str:
    """A whole document. What it shows of other people's texts is escaped."""
    title = f"{pack.title}: {pack.cycle['title']}"
    parts = (_head(pack, title), _goals(pack), _moved(pack), _to_decide(pack), _risks(pack), _decided(pack))
    body = "\n".join(line for part in parts for line in part)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(PACK_POLICY)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_SHEET}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _head(pack: Pack, title: str) -> Iterator[str]:
    yield f'<div class="head"><h1>{escape(title)}</h1>'
    yield f'<p class="soft">{escape(facts_line(pack))}</p>'
    if (confidential := confidential_line(pack)) is not None:
        yield f'<p class="missing">{escape(confidential)}</p>'
    for line in people_lines(pack):
        css = ' class="missing"' if line.startswith("Nobody") else ""
        yield f"<p{css}>{escape(line)}</p>"
    yield "</div>"
    yield "<h2>Coverage</h2>"
    words = escape(coverage_words(pack.coverage, pack.changes))
    rate = pack.coverage["rate"]
    figure = "" if rate is None else f"<b>{percent(rate)}</b>"
    if rate is not None:  # the figure stands before it already
        words = words.partition(": ")[2]
        words = words[:1].upper() + words[1:]
    yield f'<div class="figure">{figure}<p>{words}</p></div>'


def _moved(pack: Pack) -> Iterator[str]:
    yield "<h2>What moved</h2>"
    yield "<ul>"
    for line in change_lines(pack):
        yield f"<li>{escape(line)}</li>"
    yield "</ul>"


# --- goals -------------------------------------------------------------------------------------

_COLUMNS = (("Key result", "40%"), ("Value", "20%"), ("Progress", "20%"), ("Confidence", "20%"))


def _goals(pack: Pack) -> Iterator[str]:
    yield "<h2>Goals</h2>"
    if not pack.objectives:
        yield "<p>The cycle has no key result.</p>"
    else:
        yield '<p class="soft">The mark in a bar is where a steady pace would be.</p>'
    moved = moved_progress(pack)
    for objective, key_results in pack.objectives:
        yield f"<h3>{escape(objective['key'])} {escape(objective['title'])}</h3>"
        yield f'<p class="soft">{escape(objective_words(objective))}</p>'
        yield "<table>"
        yield "<colgroup>" + "".join(f'<col width="{width}">' for _, width in _COLUMNS) + "</colgroup>"
        heads = "".join(f'<th scope="col">{name}</th>' for name, _ in _COLUMNS)
        yield f"<thead><tr>{heads}</tr></thead>"
        for one in key_results:
            yield '<tbody class="kr">'  # of its own, so that a page ends before it or after it
            yield from _key_result(one, moved.get(one["key"]))
            yield "</tbody>"
        yield "</table>"


def _key_result(one: Mapping[str, Any], moved: str | None) -> Iterator[str]:
    facts = one["facts"]
    state = state_words(facts)
    css = ' class="risk"' if facts["at_risk"] else ""
    confidence = number_words(facts["confidence"])
    cells = (
        f"<strong>{escape(one['key'])}</strong> {escape(one['title'])}",
        escape(value_words(facts)),
        _progress(facts, moved),
        f"{escape(confidence)}<br><span{css}>{escape(state)}</span>",
    )
    words = owner_words(facts)
    yield f"<tr{' class=with' if words else ''}>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
    if words:
        yield f'<tr class="words"><td colspan="{len(_COLUMNS)}">{escape(words)}</td></tr>'


def _progress(facts: Mapping[str, Any], moved: str | None) -> str:
    """The share in words, and a bar with a mark where a steady pace would be."""
    progress, steady = facts["progress"], facts["steady"]
    words = percent(progress) + (f", {moved}" if moved else "")
    if progress is None:
        return escape(words)
    label = f"{percent(progress)} of the way" + ("" if steady is None else f", steady pace {percent(steady)}")
    mark = (
        ""
        if steady is None
        else f'<rect x="{min(steady, 0.99) * 100:.4g}%" width="2" height="6" fill="#161b22"/>'
    )
    colour = "#c2540a" if facts["at_risk"] else "#2450c4"
    bar = f'<rect width="{progress * 100:.4g}%" height="6" fill="{colour}"/>{mark}'
    return f'{escape(words)}<svg class="bar" role="img" aria-label="{escape(label)}">{bar}</svg>'


# --- agenda and decisions ----------------------------------------------------------------------


def _risks(pack: Pack) -> Iterator[str]:
    yield "<h2>At risk</h2>"
    if not pack.at_risk:
        yield "<p>No key result is at risk.</p>"
        return
    yield '<ul class="cards">'
    for one in pack.at_risk:
        named = one.about.get("key_result")
        head = f"{escape(named)} {escape(one.title)}" if named else escape(one.title)
        yield f"<li><strong>{head}</strong><br>{escape(one.detail)}{_mitigation(one)}</li>"
    yield "</ul>"


def _mitigation(one: PackItem) -> str:
    words = mitigation_words(one)
    if words is None:
        return ""
    css = "" if one.mitigation else ' class="todo"'
    return f"<br><span{css}>{escape(words)}</span>"


def _to_decide(pack: Pack) -> Iterator[str]:
    yield '<h2 class="sheet">To decide</h2>'
    if not pack.to_decide:
        yield "<p>Nothing waits for a decision.</p>"
        return
    yield '<ol class="cards">'
    for number, one in enumerate(pack.to_decide, 1):
        dealt = dealt_words(pack, one)
        state = f'<span class="soft">{escape(dealt)}</span>' if dealt else ""
        yield (
            f"<li>{state}<strong>{number}. {escape(one.title)}</strong> "
            f"<small>{escape(item_words(one))}</small><br>{escape(one.detail)}{_mitigation(one)}</li>"
        )
    yield "</ol>"


def _decided(pack: Pack) -> Iterator[str]:
    yield "<h2>Decided</h2>"
    if not pack.decisions:
        yield f"<p>{'Nothing was decided.' if pack.closed else 'Nothing is decided yet.'}</p>"
        return
    yield "<table>"
    yield '<colgroup><col width="38%"><col width="38%"><col width="24%"></colgroup>'
    heads = "".join(f'<th scope="col">{name}</th>' for name in ("Decision", "Reason", "By"))
    yield f"<thead><tr>{heads}</tr></thead>"
    yield "<tbody>"
    for one in pack.decisions:
        yield f"<tr>{_decision(one)}</tr>"
    yield "</tbody></table>"


def _decision(one: PackDecision) -> str:
    people = people_words(one.people)
    return (
        f"<td><strong>{escape(decision_words(one))}</strong><br>{escape(one.title)}</td>"
        f"<td>{escape(one.reason)}</td><td>{escape(people)}</td>"
    )
