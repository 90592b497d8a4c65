"""How well suggestions fit, against plain methods, on a made-up company; and what one costs at 500 goals."""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from time import process_time
from typing import Any

import bm25s
import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

from mappings.goals.key_results import KeyResult
from mappings.suggestions.material import GoalText, LinkedEpic, TicketText
from mappings.suggestions.rank import SuggestionIndex
from tests.bench.company import Company, CompanyEpic, CompanyGoal, company, small
from tests.bench.report import Line, Report, ratio, spread

NOW = datetime(2026, 11, 16, 12, tzinfo=UTC)
# Other draws than those that the weights and the threshold were chosen by.
SMALL_DRAWS, LARGE_DRAWS = range(100, 112), range(100, 103)
LEAST_PRECISION = 0.85
MOST_MILLISECONDS = 15.0
logging.getLogger("bm25s").setLevel(logging.WARNING)
_Scores = Any  # an array: a row an epic, a column a goal


@dataclass(frozen=True, slots=True)
class _Task:
    """Epics to find the goals of, where some others are linked."""

    goals: Sequence[CompanyGoal]
    linked: Sequence[CompanyEpic]
    asked: Sequence[CompanyEpic]


@dataclass(frozen=True, slots=True)
class _Result:
    first: bool
    among_three: bool


def measure(report: Report, rounds: int) -> None:
    for number, draws in ((14, SMALL_DRAWS), (111, LARGE_DRAWS)):
        for half in (False, True):
            tasks = [_task(_drawn(draw, number), draw, half) for draw in draws]
            with_links = "half of the links confirmed" if half else "no link"
            report.section(f"Suggestions among {number} goals, {with_links} ({_asked(tasks)} epics)")
            _compare(report, tasks)
    _cost(report, rounds)


def _drawn(draw: int, number: int) -> Company:
    whole = company(draw)
    return whole if number > 14 else small(whole, draw)


def _asked(tasks: Sequence[_Task]) -> int:
    return sum(epic.serves is not None for task in tasks for epic in task.asked)


def _task(of: Company, draw: int, half: bool) -> _Task:
    serving: dict[int | None, list[CompanyEpic]] = {}
    for epic in of.epics:
        serving.setdefault(epic.serves, []).append(epic)
    linked: list[CompanyEpic] = []
    asked: list[CompanyEpic] = []
    drawn = random.Random(draw)
    for serves, epics in serving.items():
        drawn.shuffle(epics)
        cut = len(epics) // 2 if half and serves is not None else 0
        linked += epics[:cut]
        asked += epics[cut:]
    return _Task(of.goals, linked, asked)


def _compare(report: Report, tasks: Sequence[_Task]) -> None:
    best_plain = 0.0
    for name, method in _PLAIN.items():
        if tasks[0].linked or name not in _NEED_LINKS:
            results = [found for task in tasks for found in _hits(task, method(task))]
            best_plain = max(best_plain, _share([one.among_three for one in results]))
            report.add(Line(f"{name}: hit@1, hit@3", _figures(results)))
    results, confident = [], []
    for task in tasks:
        index = _index(task)
        for epic in task.asked:
            found = index.fitting(_ticket(epic), NOW)
            ids = [one.key_result.id for one in found]
            if epic.serves is not None:
                results.append(_Result(ids[0] == epic.serves, epic.serves in ids))
            confident += [one.key_result.id == epic.serves for one in found if one.confident]
    met = _share([one.among_three for one in results]) >= best_plain
    report.add(Line("Northing's: hit@1, hit@3", _figures(results), "best plain one", met))
    right = _share(confident) >= LEAST_PRECISION if confident else None
    report.add(Line("its precision when confident", _interval(confident), f"{LEAST_PRECISION}", right))
    report.add(Line("confident ones for each epic", f"{len(confident) / _asked(tasks):.3f}"))


# --- plain methods --------------------------------------------------------------------------------


def _own(goal: CompanyGoal) -> str:
    return "\n".join((goal.title, goal.description, goal.unit, *goal.objective))


def _text(epic: CompanyEpic) -> str:
    marks = (*epic.labels, *epic.components, epic.parent_title or "")
    return "\n".join((epic.title, *epic.lines, *marks))


def _tfidf(analyzer: str, runs: tuple[int, int], known: Sequence[str], asked: Sequence[str]) -> _Scores:
    weigh = TfidfVectorizer(analyzer=analyzer, ngram_range=runs, sublinear_tf=True).fit(known)
    return (weigh.transform(asked) @ weigh.transform(known).T).toarray()


def _words(task: _Task) -> _Scores:
    return _tfidf("word", (1, 1), [_own(goal) for goal in task.goals], [_text(epic) for epic in task.asked])


def _characters(task: _Task) -> _Scores:
    own, asked = [_own(goal) for goal in task.goals], [_text(epic) for epic in task.asked]
    return _tfidf("char_wb", (3, 5), own, asked)


def _bm25(task: _Task) -> _Scores:
    def tokens(texts: Sequence[str]) -> list[list[str]]:
        found: list[list[str]] = bm25s.tokenize(
            list(texts), stopwords=None, return_ids=False, show_progress=False
        )
        return found

    index = bm25s.BM25()
    index.index(tokens([_own(goal) for goal in task.goals]), show_progress=False)
    asked = tokens([_text(epic) for epic in task.asked])
    return np.array([index.get_scores(sorted(set(words))) for words in asked])


def _nearest(task: _Task) -> _Scores:
    """By goal the most similar linked epic's similarity."""
    alike = _tfidf("char_wb", (3, 5), [_text(one) for one in task.linked], [_text(one) for one in task.asked])
    places = {goal.id: place for place, goal in enumerate(task.goals)}
    found = np.zeros((len(task.asked), len(task.goals)))
    for row, epic in enumerate(task.linked):
        if epic.serves is not None:
            place = places[epic.serves]
            found[:, place] = np.maximum(found[:, place], alike[:, row])
    return found


def _ranks(scores: _Scores) -> _Scores:
    return (-scores).argsort(axis=1, kind="stable").argsort(axis=1, kind="stable")


def _by_ranks(task: _Task) -> _Scores:
    return 1 / (10 + _ranks(_characters(task))) + 1 / (10 + _ranks(_nearest(task)))


def _joined(task: _Task) -> _Scores:
    """The words of linked epics count as the goal's own."""
    joined = [
        "\n".join((_own(goal), *(_text(epic) for epic in task.linked if epic.serves == goal.id)))
        for goal in task.goals
    ]
    return _tfidf("char_wb", (3, 5), joined, [_text(epic) for epic in task.asked])


_PLAIN: dict[str, Callable[[_Task], _Scores]] = {
    "TF-IDF of words": _words,
    "TF-IDF of characters": _characters,
    "BM25": _bm25,
    "nearest linked epic": _nearest,
    "sum of characters and nearest": lambda task: _characters(task) + _nearest(task),
    "reciprocal ranks of both": _by_ranks,
    "characters, with linked epics' words": _joined,
}
_NEED_LINKS = tuple(_PLAIN)[3:]


def _hits(task: _Task, scores: _Scores) -> list[_Result]:
    ids = np.array([goal.id for goal in task.goals])
    best = ids[(-scores).argsort(axis=1, kind="stable")[:, :3]]
    pairs = zip(task.asked, best.tolist(), strict=True)
    return [
        _Result(three[0] == epic.serves, epic.serves in three)
        for epic, three in pairs
        if epic.serves is not None
    ]


# --- ours -----------------------------------------------------------------------------------------


def _index(task: _Task) -> SuggestionIndex:
    linked = [LinkedEpic(_ticket(epic), (epic.serves,)) for epic in task.linked if epic.serves is not None]
    return SuggestionIndex([_goal(goal) for goal in task.goals], linked)


def _goal(goal: CompanyGoal) -> GoalText:
    key_result = KeyResult(
        id=goal.id,
        key=f"KR-{goal.id}",
        title=goal.title,
        objective_key="O-1",
        objective_title=goal.objective[0],
    )
    return GoalText(key_result=key_result, text=_own(goal), team=f"{goal.owner}\n{goal.category}")


def _ticket(epic: CompanyEpic) -> TicketText:
    return TicketText(
        id=epic.id,
        source_id=1,
        project=epic.project,
        key=f"{epic.project}-{epic.id}",
        title=epic.title,
        lines=tuple(epic.lines),
        labels=epic.labels,
        components=epic.components,
        parent_title=epic.parent_title or "",
    )


# --- cost -----------------------------------------------------------------------------------------


def _cost(report: Report, rounds: int) -> None:
    """500 goals: the company's, and others of its own with numbers in their words."""
    of = company()
    goals = [
        replace(of.goals[n % 111], id=n + 1, title=f"{of.goals[n % 111].title} ({n})") for n in range(500)
    ]
    task = _Task(goals, [epic for epic in of.epics[:1200:2] if epic.serves], of.epics[1:201:2])
    started = process_time()
    index = _index(task)
    built = process_time() - started
    weigh = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True)
    matrix = weigh.fit_transform([_own(goal) for goal in goals]).T.tocsr()
    ours, plain = [], []
    for _ in range(rounds):
        ours.append(_milliseconds(lambda epic: index.fitting(_ticket(epic), NOW), task.asked))
        plain.append(_milliseconds(lambda epic: weigh.transform([_text(epic)]) @ matrix, task.asked))
    report.section(f"What a suggestion costs at 500 goals and {len(task.linked)} linked epics")
    report.add(Line("an index is made in", f"{built:.2f} s, {index.size / 1024**2:.0f} MB"))
    report.add(Line("an epic", spread(ours, unit="ms"), "at most 15", max(ours) <= MOST_MILLISECONDS))
    report.add(ratio("against a plain TF-IDF call", ours, plain))


def _milliseconds(call: Callable[[CompanyEpic], Any], epics: Sequence[CompanyEpic]) -> float:
    """Of the processor: others may use the machine."""
    started = process_time()
    for epic in epics:
        call(epic)
    return (process_time() - started) * 1000 / len(epics)


# --- figures --------------------------------------------------------------------------------------


def _share(found: Sequence[bool]) -> float:
    return sum(found) / len(found) if found else 0.0


def _figures(results: Sequence[_Result]) -> str:
    ones, threes = [one.first for one in results], [one.among_three for one in results]
    return f"{_interval(ones)}, {_interval(threes)}"


def _interval(found: Sequence[bool]) -> str:
    """The share, and Wilson's interval of 95 % around it."""
    if not found:
        return "none"
    n, share, z = len(found), _share(found), 1.96
    middle, half = share + z * z / (2 * n), z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low, high = ((middle + sign * half) / (1 + z * z / n) for sign in (-1, 1))
    return f"{share:.2f} ({low:.2f}-{high:.2f})"
