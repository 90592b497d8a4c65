"""A rule as a form: its condition as lines of tests where it can be shown so, else as JSON. Pure.

What is typed comes back as it was, also where it is wrong. A condition that lines cannot show without a loss
(groups in groups, a value with a line break) stays JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mappings.rules.condition import ATTRIBUTES, MAX_TESTS
from mappings.rules.operations import RuleValues

KINDS = (*ATTRIBUTES, "title", "field")
JOINED = ("all", "any")
LINE = 64  # characters
NOT_JSON = "is no JSON: {problem} in line {line}"
# A value that a comma list has to quote, and one that a field of one line cannot hold.
_NEEDS_QUOTES = re.compile(r'[",]|^\s|\s$')
_BROKEN = re.compile(r"[\r\n\x00]")
_VALUE = re.compile(r'\s*(?:"((?:[^"]|"")*)"\s*(?=,|$)|([^,]*))(,|$)')


@dataclass(frozen=True, slots=True)
class ConditionLine:
    """One test: its kind, whether it rules out, its values as a comma list (of a title, the expression), and
    the name of the field."""

    kind: str = "label"
    negated: bool = False
    values: str = ""
    field: str = ""


@dataclass(frozen=True, slots=True)
class RuleForm:
    """`text` is the condition as JSON where it is edited so, else None and `lines` have it."""

    name: str = ""
    key_result: str = ""
    priority: str = "100"
    enabled: bool = True
    joined: str = "all"
    lines: Sequence[ConditionLine] = (ConditionLine(),)
    text: str | None = None
    version: str = ""
    problems: Mapping[str, str] = field(default_factory=dict)


def form_of(values: RuleValues, version: int) -> RuleForm:
    shown = RuleForm(values.name, values.key_result, str(values.priority), values.enabled)
    shown = replace(shown, version=str(version))
    known = lines_of(values.when)
    if known is None:
        return replace(shown, lines=(), text=as_text(values.when))
    return replace(shown, joined=known[0], lines=known[1])


def typed_form(fields: Mapping[str, str]) -> RuleForm:
    """As a browser sent it."""
    numbers = sorted(
        int(name[5:]) for name in fields if name.startswith("kind.") and re.fullmatch("[0-9]{1,4}", name[5:])
    )
    lines = [
        ConditionLine(
            kind if (kind := fields[f"kind.{number}"]) in KINDS else "label",
            fields.get(f"is.{number}") == "not",
            fields.get(f"values.{number}", ""),
            fields.get(f"field.{number}", ""),
        )
        for number in numbers[: MAX_TESTS + 1]
    ]
    return RuleForm(
        name=fields.get("name", ""),
        key_result=fields.get("key_result", ""),
        priority=fields.get("priority", ""),
        enabled="enabled" in fields,
        joined="any" if fields.get("joined") == "any" else "all",
        lines=tuple(lines),
        text=fields.get("when"),
        version=fields.get("version", ""),
    )


def when_of(form: RuleForm, stored: Any = None) -> Any:
    """The condition as JSON; `stored` itself where the lines say the same, so that nothing changes. Raises
    `ValueError` with what is wrong where the text is no JSON."""
    if form.text is not None:
        return _parsed(form.text)
    lines = tuple(form.lines)
    if stored is not None and lines_of(stored) == (form.joined, lines):
        return stored
    return {form.joined: [_test_of(line) for line in lines]}


def as_text(when: Any) -> str:
    """Indented, but for what fits one line."""
    return _written(when, "")


def _written(node: Any, margin: str) -> str:
    line = json.dumps(node, ensure_ascii=False)
    if len(line) + len(margin) <= LINE or not isinstance(node, dict | list) or not node:
        return line
    inner = margin + "  "
    if isinstance(node, list):
        parts = [_written(one, inner) for one in node]
        return "[\n" + ",\n".join(inner + part for part in parts) + f"\n{margin}]"
    named = [f"{json.dumps(key, ensure_ascii=False)}: {_written(one, inner)}" for key, one in node.items()]
    if len(named) == 1:  # as a condition always is: no line for its name alone
        key, one = next(iter(node.items()))
        return f"{{{json.dumps(key, ensure_ascii=False)}: {_written(one, margin)}}}"
    return "{\n" + ",\n".join(inner + part for part in named) + f"\n{margin}}}"


def as_json(form: RuleForm) -> RuleForm:
    """The same form with its condition as text."""
    return form if form.text is not None else replace(form, text=as_text(when_of(form)), lines=())


def as_lines(form: RuleForm) -> RuleForm:
    """The same form with its condition as lines; with what is wrong where they cannot show it."""
    if form.text is None:
        return form
    try:
        when = _parsed(form.text)
    except ValueError as error:
        return replace(form, problems={"when": str(error)})
    known = lines_of(when)
    if known is None:
        nested = "cannot be shown as lines, for it has groups in groups, or is no condition: it stays JSON"
        return replace(form, problems={"when": nested})
    return replace(form, joined=known[0], lines=known[1], text=None)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_number)
    except RecursionError:
        raise ValueError("is nested too deep") from None
    except json.JSONDecodeError as error:
        problem = error.msg[:1].lower() + error.msg[1:]
        raise ValueError(NOT_JSON.format(problem=problem, line=error.lineno)) from None


def _no_number(word: str) -> Any:
    raise ValueError(f"is no JSON: {word} is no number")


# --- lines ----------------------------------------------------------------------------------------


def lines_of(when: Any) -> tuple[str, tuple[ConditionLine, ...]] | None:
    """How the tests are joined, and each as a line; None where lines cannot say the same."""
    if not isinstance(when, dict) or len(when) != 1:
        return None
    ((key, inner),) = when.items()
    if key not in JOINED:
        key, inner = "all", [when]
    if not isinstance(inner, list):
        return None
    lines = [_line_of(one) for one in inner]
    shown = tuple(line for line in lines if line is not None)
    return (key, shown) if len(shown) == len(lines) <= MAX_TESTS else None


def _line_of(test: Any) -> ConditionLine | None:
    if not isinstance(test, dict) or len(test) != 1:
        return None
    ((kind, inner),) = test.items()
    if kind == "not":
        line = None if isinstance(inner, dict) and "not" in inner else _line_of(inner)
        return None if line is None else replace(line, negated=True)
    if kind == "title":
        return ConditionLine(kind, values=inner) if _stays(inner) else None
    if kind == "field":
        if not isinstance(inner, dict) or set(inner) != {"name", "is"} or not _stays(inner["name"]):
            return None
        values = _joined(inner["is"])
        return None if values is None else ConditionLine(kind, values=values, field=inner["name"])
    values = _joined(inner) if kind in ATTRIBUTES else None
    return None if values is None else ConditionLine(kind, values=values)


def _stays(text: Any) -> bool:
    """Whether a field of one line gives it back as it is."""
    return isinstance(text, str) and text == text.strip() and not _BROKEN.search(text)


def _joined(values: Any) -> str | None:
    listed = [values] if isinstance(values, str) else values
    if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed):
        return None
    if any(_BROKEN.search(one) or not one.strip() for one in listed):
        return None
    return ", ".join(map(_quoted, listed))


def _quoted(value: str) -> str:
    return '"' + value.replace('"', '""') + '"' if _NEEDS_QUOTES.search(value) else value


def split_values(text: str) -> list[str]:
    """The values of a comma list. One that holds a comma stands in double quotes, a quote in it doubled."""
    found: list[str] = []
    at = 0
    while at <= len(text):
        match = _VALUE.match(text, at)
        if match is None:
            break
        quoted, plain, comma = match.groups()
        value = quoted.replace('""', '"') if quoted is not None else plain.strip()
        if value:
            found.append(value)
        if not comma:
            break
        at = match.end()
    return found


def _test_of(line: ConditionLine) -> dict[str, Any]:
    test: dict[str, Any]
    if line.kind == "title":
        test = {"title": line.values}
    elif line.kind == "field":
        test = {"field": {"name": line.field, "is": split_values(line.values)}}
    else:
        test = {line.kind: split_values(line.values)}
    return {"not": test} if line.negated else test


def by_field(errors: Mapping[str, str], form: RuleForm) -> dict[str, str]:
    """What is wrong, by the fields of the form: an error in the condition stands at its line."""
    found: dict[str, str] = {}
    for name, message in errors.items():
        place = re.match(r"when\.(?:all|any)\[([0-9]+)\](.*)", name)
        if place is not None and form.text is None:
            number, rest = place.groups()
            found.setdefault(f"{'field' if rest.endswith('.field.name') else 'values'}.{number}", message)
        elif name.startswith("when"):
            found.setdefault("when", message if name == "when" else f"{name}: {message}")
        else:
            found.setdefault(name, message)
    return found
