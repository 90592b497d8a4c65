"""The part of JQL that an integration sends. Like Jira, the parser refuses what it does not know.

Grammar: clauses joined by AND and OR, NOT, brackets, `=`, `!=`, `in`, `not in`, `is [not] EMPTY`, and for
dates `<`, `<=`, `>`, `>=`; then ORDER BY. A date is epoch milliseconds without quotes, or "YYYY-MM-DD HH:MM"
in the profile time zone of the searching user.
See https://support.atlassian.com/jira-software-cloud/docs/jql-fields/.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from connectors.sandbox.jira.records import Issue, Project

if TYPE_CHECKING:
    from connectors.sandbox.jira.site import JiraSite

Test = Callable[[Issue], bool]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MOST_ORDER_FIELDS = 7
TOKEN = re.compile(r"""\s*(?:("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(>=|<=|!=|[()=<>,])|([^\s()=<>!,"']+))""")
COMPARE = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}
DATES: dict[str, Callable[[Issue], datetime]] = {
    "updated": lambda i: i.updated,
    "created": lambda i: i.created,
}
ORDER: dict[str, Callable[[Issue], Any]] = {
    **DATES,
    "key": lambda i: (i.project.key, i.number),
    "id": lambda i: int(i.id),
}
CATEGORY_NAMES = {"new": "to do", "indeterminate": "in progress", "done": "done"}
SETS: dict[str, Callable[[Issue], set[str]]] = {
    "project": lambda i: {i.project.id},
    "issuetype": lambda i: {i.type.id},
    "id": lambda i: {i.id},
    "parent": lambda i: {i.parent.id} if i.parent else set(),
    "labels": lambda i: {label.lower() for label in i.labels},
    "component": lambda i: {name.lower() for name in i.components},
    "status": lambda i: {i.status.name.lower(), i.status.id},
    "statuscategory": lambda i: {i.status.category, CATEGORY_NAMES[i.status.category]},
}
ALIASES = {"type": "issuetype", "key": "id", "issuekey": "id", "issue": "id"}


class JqlError(Exception):
    """The query is wrong; the text of this error is Jira's message."""


@dataclass(frozen=True, slots=True)
class Query:
    """A checked query. `order` holds fields and whether each descends; it ends with a tie-break. `within`:
    the ids of the parents, and those of tickets, outside of which it finds nothing; None for any."""

    test: Test
    order: tuple[tuple[str, bool], ...]
    within: tuple[frozenset[str], frozenset[str]] | None = None

    def rows(self, issues: list[Issue]) -> list[Issue]:
        found = [issue for issue in issues if self.test(issue)]
        for name, descending in reversed(self.order):
            found.sort(key=ORDER[name], reverse=descending)
        return found

    def place(self, issue: Issue) -> tuple[Any, ...]:
        """The issue's position in the order, for `after`."""
        return tuple(ORDER[name](issue) for name, _ in self.order)

    def after(self, rows: list[Issue], place: tuple[Any, ...]) -> int:
        """The index of the first row after `place`."""
        low, high = 0, len(rows)
        while low < high:
            middle = (low + high) // 2
            if self._comes_after(rows[middle], place):
                high = middle
            else:
                low = middle + 1
        return low

    def _comes_after(self, issue: Issue, place: tuple[Any, ...]) -> bool:
        for (name, descending), limit in zip(self.order, place, strict=True):
            value = ORDER[name](issue)
            if value != limit:
                return bool(value < limit) if descending else bool(value > limit)
        return False


def parse(text: str, site: JiraSite, time_zone: str) -> Query:
    """Raises JqlError where Jira answers 400: bad grammar, unknown names, no restriction."""
    return _Parser(text, site, ZoneInfo(time_zone)).query()


class _Parser:
    def __init__(self, text: str, site: JiraSite, zone: ZoneInfo) -> None:
        self.site, self.zone = site, zone
        self.tokens = _tokens(text)
        self.at = 0
        self.named: dict[str, set[str]] = {"parent": set(), "id": set()}
        self.is_wider = False

    def query(self) -> Query:
        if self._peek() is None or self._word("order"):
            raise JqlError(
                "Unbounded JQL queries are not allowed here. Please add a search restriction to your query."
            )
        test = self._disjunction()
        order = self._order() if self._word("order") else [("created", True)]
        if self._peek() is not None:
            raise JqlError(
                f"Error in the JQL Query: Expecting either 'OR' or 'AND' but got '{self._peek()}'."
            )
        within = frozenset(self.named["parent"]), frozenset(self.named["id"])
        return Query(test, (*order, ("id", order[-1][1])), None if self.is_wider else within)

    def _disjunction(self) -> Test:
        tests = [self._conjunction()]
        while self._take("or"):
            tests.append(self._conjunction())
        return tests[0] if len(tests) == 1 else lambda issue: any(test(issue) for test in tests)

    def _conjunction(self) -> Test:
        tests = [self._term()]
        while self._take("and"):
            tests.append(self._term())
        return tests[0] if len(tests) == 1 else lambda issue: all(test(issue) for test in tests)

    def _term(self) -> Test:
        if self._take("not"):
            self.is_wider = True
            inner = self._term()
            return lambda issue: not inner(issue)
        if self._take("("):
            inside = self._disjunction()
            self._expect(")")
            return inside
        return self._clause()

    def _clause(self) -> Test:
        written = self._next()
        name = ALIASES.get(_unquoted(written).lower(), _unquoted(written).lower())
        if name in DATES:
            self.is_wider = True
            return self._date(name)
        if name not in SETS:
            raise JqlError(
                f"Field '{_unquoted(written)}' does not exist or you do not have permission to view it."
            )
        negative, values = self._values(name, _unquoted(written))
        read = SETS[name]
        if values is None:
            self.is_wider = True
            return lambda issue: bool(read(issue)) == negative
        if name in self.named and not negative:
            self.named[name] |= values
        else:
            self.is_wider = True
        return lambda issue: read(issue).isdisjoint(values) == negative

    def _values(self, name: str, written: str) -> tuple[bool, set[str] | None]:
        """Whether the operator negates, and the resolved values; None means EMPTY."""
        sign = self._next().lower()
        if sign == "is":
            negative = self._take("not")
            if self._next().lower() not in {"empty", "null"}:
                raise JqlError("Error in the JQL Query: Expecting 'EMPTY' or 'NULL'.")
            return negative, None
        if sign in {"=", "!="}:
            return sign == "!=", {self._resolve(name, written, self._next())}
        negative = sign == "not"
        if (negative and not self._take("in")) or (not negative and sign != "in"):
            raise JqlError(f"The operator '{sign}' is not supported by the '{written}' field.")
        self._expect("(")
        values = {self._resolve(name, written, self._next())}
        while self._take(","):
            values.add(self._resolve(name, written, self._next()))
        self._expect(")")
        return negative, values

    def _resolve(self, name: str, written: str, token: str) -> str:
        value = _unquoted(token)
        lower = value.lower()
        if name == "project":
            if (project := self._project(lower)) is not None:
                return project.id
        elif name == "issuetype":
            for kind in self.site.types.values():
                if lower == kind.id or (lower == kind.name.lower() and kind.project is None):
                    return kind.id
        elif name in {"id", "parent"}:
            found = self.site.find(value)
            if found:
                return found.id
            raise JqlError(f"An issue with key '{value}' does not exist for field '{written}'.")
        else:
            return lower
        raise JqlError(f"The value '{value}' does not exist for the field '{written}'.")

    def _project(self, lower: str) -> Project | None:
        """The project by its key, else by its name or id, else by a former key; in lower case."""
        projects = self.site.projects.values()
        found = [
            *(one for one in projects if lower == one.key.lower()),
            *(one for one in projects if lower in {one.name.lower(), one.id}),
            *(one for key, one in self.site.former_keys.items() if lower == key.lower()),
        ]
        return next(iter(found), None)

    def _date(self, name: str) -> Test:
        sign, token = self._next(), self._next()
        if sign not in COMPARE:
            raise JqlError(f"The operator '{sign}' is not supported by the '{name}' field.")
        compare, read, moment = COMPARE[sign], DATES[name], self._moment(name, token)
        return lambda issue: bool(compare(read(issue), moment))

    def _moment(self, name: str, token: str) -> datetime:
        value = _unquoted(token)
        if value == token and value.lstrip("-").isdigit():
            return EPOCH + timedelta(milliseconds=int(value))
        for form in ("%Y-%m-%d %H:%M", "%Y/%m/%d %H:%M", "%Y-%m-%d", "%Y/%m/%d"):
            try:
                return datetime.strptime(value, form).replace(tzinfo=self.zone).astimezone(UTC)
            except ValueError:
                continue
        raise JqlError(
            f"Date value '{value}' for field '{name}' is invalid. Valid formats include: 'yyyy/MM/dd HH:mm', "
            "'yyyy-MM-dd HH:mm', 'yyyy/MM/dd', 'yyyy-MM-dd', or a period format e.g. '-5d', '4w 2d'."
        )

    def _order(self) -> list[tuple[str, bool]]:
        self._expect("order")
        self._expect("by")
        order = [self._order_field()]
        while self._take(","):
            order.append(self._order_field())
        if len(order) > MOST_ORDER_FIELDS:
            raise JqlError(f"The maximum number of ORDER BY fields is {MOST_ORDER_FIELDS}.")
        return order

    def _order_field(self) -> tuple[str, bool]:
        written = _unquoted(self._next())
        name = {"issuekey": "key", "issue": "key"}.get(written.lower(), written.lower())
        if name not in ORDER:
            raise JqlError(f"Not able to sort using field '{written}'.")
        descending = self._take("desc")
        if not descending:
            self._take("asc")
        return name, descending

    def _peek(self) -> str | None:
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    def _next(self) -> str:
        token = self._peek()
        if token is None:
            raise JqlError("Error in the JQL Query: The query ended where a value or a field was expected.")
        self.at += 1
        return token

    def _word(self, word: str) -> bool:
        return (self._peek() or "").lower() == word

    def _take(self, word: str) -> bool:
        if self._word(word):
            self.at += 1
            return True
        return False

    def _expect(self, word: str) -> None:
        token = self._next()
        if token.lower() != word:
            raise JqlError(f"Error in the JQL Query: Expecting '{word}' but got '{token}'.")


def _tokens(text: str) -> list[str]:
    tokens, at = [], 0
    text = text.strip()
    while at < len(text):
        found = TOKEN.match(text, at)
        if found is None:
            raise JqlError(f"Error in the JQL Query: The character '{text[at]}' is a reserved JQL character.")
        tokens.append(found.group(0).strip())
        at = found.end()
    return tokens


def _unquoted(token: str) -> str:
    quoted = len(token) > 1 and token[0] in "\"'"
    return re.sub(r"\\(.)", r"\1", token[1:-1]) if quoted else token
