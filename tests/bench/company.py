"""A made-up retailer's goals and the tickets of its teams. Which goal a ticket serves is known, because the
ticket is made from it; what they are made from is in `tests/fixtures/company`."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

_FILES = Path(__file__).parent.parent / "fixtures" / "company"
_SMALL = 14
_EPICS_OF_A_GOAL = 6


@dataclass(frozen=True, slots=True)
class CompanyGoal:
    """A key result and what is known of its objective. `id` counts from 1."""

    id: int
    title: str
    description: str
    unit: str
    category: str
    owner: str
    objective: tuple[str, str]  # title and description


@dataclass(slots=True)
class CompanyEpic:
    """A ticket; `serves` is the id of its goal, None for one that serves none."""

    id: int
    project: str
    title: str
    lines: list[str]
    labels: tuple[str, ...]
    components: tuple[str, ...]
    parent_title: str | None
    serves: int | None


@dataclass(frozen=True, slots=True)
class Company:
    goals: tuple[CompanyGoal, ...]
    epics: tuple[CompanyEpic, ...]

    def of(self, ids: Sequence[int]) -> Company:
        """With these goals alone, and the tickets that serve them or none."""
        kept = set(ids)
        return Company(
            tuple(goal for goal in self.goals if goal.id in kept),
            tuple(epic for epic in self.epics if epic.serves is None or epic.serves in kept),
        )


@cache
def _read(name: str) -> Any:
    return yaml.safe_load((_FILES / name).read_text("utf-8"))


def company(seed: int = 7) -> Company:
    """111 goals, six tickets for each, and 120 that serve none; the same for the same seed."""
    drawn = random.Random(seed)
    about, written = _read("topics.yaml"), _read("tickets.yaml")
    projects = sorted({topic["project"] for topic in about["topics"]})
    aside = [line for topic in about["topics"] for line in (*topic["far"], *topic["lines"])]
    goals: list[CompanyGoal] = []
    epics: list[CompanyEpic] = []
    for topic in about["topics"]:
        for variant, names in about["axes"][topic["axis"]].items():
            goal = CompanyGoal(
                id=len(goals) + 1,
                title=topic["title"].replace("{v}", variant),
                description=topic["description"],
                unit=topic["unit"],
                category=topic["cat"],
                owner=f"Team {topic['team']}",
                objective=tuple(about["objectives"][topic["objective"]]),
            )
            goals.append(goal)
            spoken = [variant.removeprefix("the "), *names]
            for _ in range(_EPICS_OF_A_GOAL):
                epics.append(_ticket(drawn, written, topic, spoken, len(epics) + 1, goal.id))
                if drawn.random() < 0.4:
                    other = drawn.choice(["depends on: {}", "not part of this: {}", "vgl. {}"])
                    epics[-1].lines.append(other.format(drawn.choice(aside)))
                if drawn.random() < 0.2:
                    epics[-1].project = drawn.choice(projects)
    epics += [_noise(drawn, written, projects, len(epics) + n) for n in range(1, 121)]
    return Company(tuple(goals), tuple(epics))


def small(whole: Company, seed: int = 7) -> Company:
    """14 goals of it, three pairs of near twins among them."""
    by_topic = random.Random(seed).sample(range(len(whole.goals) // 3), _SMALL - 3)
    twins = [topic * 3 + 2 for topic in by_topic[:3]]
    return whole.of([topic * 3 + 1 for topic in by_topic] + twins)


def _ticket(
    drawn: random.Random, written: Any, topic: Any, names: Sequence[str], id: int, serves: int
) -> CompanyEpic:
    kind = drawn.choices(["far", "near", "german"], [5, 3, 2])[0]
    title = drawn.choice(topic[kind])
    if drawn.random() < 0.75:  # else nothing but the person's memory says for which twin it is
        title = drawn.choice(["{n}: {t}", "{t} ({n})", "{t} {n}"]).format(t=title, n=drawn.choice(names))
    substance = drawn.sample(topic["lines"], drawn.randint(0, 2))
    if drawn.random() < 0.35:
        substance.append(drawn.choice(topic["near"] + topic["german"]))
    if drawn.random() < 0.3:
        substance.append(f"Scope: {drawn.choice(names)} only")
    labels = [drawn.choice(topic["labels"])] * (drawn.random() < 0.4) + [drawn.choice(written["labels"])]
    return CompanyEpic(
        id=id,
        project=topic["project"],
        title=drawn.choice(written["prefixes"]) + title + drawn.choice(written["suffixes"]),
        lines=_within(drawn, substance, written),
        labels=tuple(labels),
        components=(drawn.choice(topic["components"]),) if drawn.random() < 0.5 else (),
        parent_title=drawn.choice(written["parents"]) if drawn.random() < 0.3 else None,
        serves=serves,
    )


def _noise(drawn: random.Random, written: Any, projects: Sequence[str], id: int) -> CompanyEpic:
    return CompanyEpic(
        id=id,
        project=drawn.choice(projects),
        title=drawn.choice(written["prefixes"])
        + drawn.choice(written["noise"])
        + drawn.choice(written["suffixes"]),
        lines=_within(drawn, drawn.sample(written["noise_lines"], 2), written),
        labels=(drawn.choice(written["labels"]),),
        components=(),
        parent_title=drawn.choice(written["parents"]) if drawn.random() < 0.3 else None,
        serves=None,
    )


def _within(drawn: random.Random, substance: Sequence[str], written: Any) -> list[str]:
    """What matters, somewhere in the form that the team fills in."""
    form = [line for line in drawn.choice(written["templates"]) if drawn.random() < 0.8]
    # As it is, or with what somebody filled in.
    lines = [line if drawn.random() < 0.5 else f"{line} {drawn.choice(written['filled'])}" for line in form]
    for line in substance:
        lines.insert(drawn.randint(0, len(lines)), line)
    return lines
