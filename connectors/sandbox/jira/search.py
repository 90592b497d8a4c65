"""Search by JQL with page tokens, and bulk fetch.

See https://developer.atlassian.com/cloud/jira/platform/rest/v3/api-group-issue-search/. A page may be shorter
than requested; only a missing `nextPageToken` ends the list; there is no total.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from connectors.sandbox.faults import PAGE_SIZE
from connectors.sandbox.jira.answers import Call, Handler, JiraError
from connectors.sandbox.jira.jql import JqlError, Query, parse
from connectors.sandbox.jira.views import dump, issue_bytes, selection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from starlette.responses import Response

    from connectors.sandbox.jira.records import Issue, Json
    from connectors.sandbox.jira.site import JiraSite

MOST_RECONCILED = 50
MOST_FETCHED = 100
VALIDATIONS = {"strict", "warn", "none"}
KEPT_TOKENS = 10_000
KEPT_RESULTS = 64  # of several projects that are read side by side, with the searches between their pages
GONE = "The requested API has been removed. Please migrate to the /rest/api/3/search/jql API."


def _is(*kinds: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))


def _is_listed(call: Call, issue: Issue) -> bool:
    return call.sees(issue) and not issue.project.archived


def _list_of(kind: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(_is(kind)(item) for item in value)


SEARCH_MEMBERS = {
    "jql": _is(str),
    "nextPageToken": _is(str),
    "maxResults": _is(int),
    "fields": _list_of(str),
    "expand": _is(str),
    "properties": _list_of(str),
    "fieldsByKeys": _is(bool),
    "reconcileIssues": _list_of(int),
}
FETCH_MEMBERS = {
    "issueIdsOrKeys": _list_of(str),
    "fields": _list_of(str),
    "expand": _list_of(str),
    "properties": _list_of(str),
    "fieldsByKeys": _is(bool),
}


@dataclass(frozen=True, slots=True)
class SearchRequest:
    jql: str
    names: tuple[str, ...]
    limit: int
    token: str | None
    reconcile: frozenset[str]


class Search:
    """The search routes of one site, with its page tokens and the result lists that were used last."""

    def __init__(self, site: JiraSite) -> None:
        self.site = site
        self._tokens: OrderedDict[str, tuple[str, tuple[Any, ...] | None]] = OrderedDict()
        self._results: OrderedDict[Any, tuple[Query, list[Issue]]] = OrderedDict()
        self._indexes: tuple[int, dict[str, list[Issue]], dict[str, Issue]] | None = None

    def handlers(self) -> list[tuple[str, str, Handler]]:
        return [
            ("GET", "search/jql", self.by_query),
            ("POST", "search/jql", self.by_body),
            ("GET", "search", self.gone),
            ("POST", "search", self.gone),
            ("POST", "issue/bulkfetch", self.bulk_fetch),
            ("POST", "jql/parse", self.parse),
            ("POST", "search/approximate-count", self.count),
        ]

    async def gone(self, call: Call) -> Response:
        raise JiraError(410, GONE)

    async def by_query(self, call: Call) -> Response:
        query = call.request.query_params
        body: Json = {"maxResults": call.number("maxResults", 50)}
        for name in ("jql", "nextPageToken"):
            if name in query:
                body[name] = query[name]
        if "fields" in query:
            body["fields"] = query.getlist("fields")
        numbers = [part for entry in query.getlist("reconcileIssues") for part in entry.split(",")]
        if not all(number.isdigit() for number in numbers):
            raise JiraError(400, "The parameter 'reconcileIssues' takes issue ids.")
        body["reconcileIssues"] = [int(number) for number in numbers]
        return self._answer(call, self._parse_request(body))

    async def by_body(self, call: Call) -> Response:
        return self._answer(call, self._parse_request(await call.body(SEARCH_MEMBERS)))

    def _parse_request(self, body: Json) -> SearchRequest:
        reconcile = body.get("reconcileIssues", [])
        if len(reconcile) > MOST_RECONCILED:
            raise JiraError(400, f"The maximum number of issues to reconcile is {MOST_RECONCILED}.")
        limit = body.get("maxResults", 50)
        if limit < 1:
            raise JiraError(400, "The value of 'maxResults' must be greater than 0.")
        names = selection(body.get("fields", ["id"]))
        cap = self.site.id_page_cap if set(names) <= {"id", "key"} else self.site.page_cap
        return SearchRequest(
            body.get("jql", ""),
            names,
            min(limit, cap),
            body.get("nextPageToken"),
            frozenset(map(str, reconcile)),
        )

    def _answer(self, call: Call, request: SearchRequest) -> Response:
        if call.viewer is None:
            return call.reply({"issues": [], "isLast": True})  # no error for an anonymous request
        query, rows = self._rows(call, request)
        start = self._start(request, query, rows)
        end = start + min(request.limit, call.request.scope.get(PAGE_SIZE, request.limit))
        page = b",".join(issue_bytes(self.site, issue, request.names) for issue in rows[start:end])
        if end >= len(rows):
            return call.reply(b'{"issues":[' + page + b'],"isLast":true}')
        token = self._token(request.jql, query.place(rows[end - 1]) if end else None)
        return call.reply(b'{"issues":[' + page + b'],"nextPageToken":' + dump(token) + b',"isLast":false}')

    def _rows(self, call: Call, request: SearchRequest) -> tuple[Query, list[Issue]]:
        viewer = call.known()
        denied = frozenset(self.site.denied)
        cache_key = (request.jql, viewer.account_id, request.reconcile, denied, self.site.version)
        if cache_key in self._results:
            self._results.move_to_end(cache_key)  # its next page may be asked for after many other searches
        else:
            try:
                query = parse(request.jql, self.site, viewer.time_zone)
            except JqlError as error:
                raise JiraError(400, str(error)) from None
            indexed = self._indexed(request, query)
            visible = [issue for issue in indexed if _is_listed(call, issue)]
            self._results[cache_key] = query, query.rows(visible)
            while len(self._results) > KEPT_RESULTS:
                self._results.popitem(last=False)
        return self._results[cache_key]

    def _indexed(self, request: SearchRequest, query: Query) -> Iterable[Issue]:
        """The issues that the query may find, so that a benchmark does not measure the tracker."""
        if query.within is None or request.reconcile:
            return self.site.indexed(request.reconcile)
        if self._indexes is None or self._indexes[0] != self.site.version:
            children: dict[str, list[Issue]] = {}
            by_id = {issue.id: issue for issue in self.site.indexed()}
            for issue in by_id.values():
                if issue.parent is not None:
                    children.setdefault(issue.parent.id, []).append(issue)
            self._indexes = self.site.version, children, by_id
        (parents, ids), (_, children, by_id) = query.within, self._indexes
        found = {issue.id: issue for parent in parents for issue in children.get(parent, ())}
        return (found | {id: by_id[id] for id in ids if id in by_id}).values()

    def _start(self, request: SearchRequest, query: Query, rows: list[Issue]) -> int:
        if request.token is None:
            return 0
        jql, position = self._tokens.get(request.token, (None, None))
        if jql != request.jql:
            raise JiraError(400, "The provided next page token is invalid or expired.")
        return 0 if position is None else query.after(rows, position)

    def _token(self, jql: str, position: tuple[Any, ...] | None) -> str:
        token = secrets.token_urlsafe(18)
        self._tokens[token] = jql, position
        while len(self._tokens) > KEPT_TOKENS:
            self._tokens.popitem(last=False)
        return token

    async def count(self, call: Call) -> Response:
        """How many issues a query finds. The service's number is approximate; this one is exact."""
        body = await call.body({"jql": _is(str)})
        _, rows = self._rows(call, self._parse_request(body))
        return call.reply({"count": len(rows)})

    async def parse(self, call: Call) -> Response:
        """What is wrong with each query; the answer is 200 all the same. The structure is left out.

        See https://developer.atlassian.com/cloud/jira/platform/rest/v3/api-group-jql/#api-rest-api-3-jql-parse-post.
        """
        if call.request.query_params.get("validation") not in VALIDATIONS:
            raise JiraError(400, "The parameter 'validation' must be one of strict, warn, none.")
        body = await call.body({"queries": _list_of(str)})
        zone = call.viewer.time_zone if call.viewer is not None else "UTC"
        parsed: list[Json] = []
        for text in body.get("queries", []):
            try:
                parse(text, self.site, zone)
            except JqlError as error:
                parsed.append({"query": text, "errors": [str(error)]})
            else:
                parsed.append({"query": text})
        return call.reply({"queries": parsed})

    async def bulk_fetch(self, call: Call) -> Response:
        body = await call.body(FETCH_MEMBERS)
        requested = list(dict.fromkeys(body.get("issueIdsOrKeys", [])))
        if not 0 < len(requested) <= MOST_FETCHED:
            raise JiraError(400, f"Between 1 and {MOST_FETCHED} issue ids or keys are needed.")
        names = selection(body.get("fields", ["*navigable"]))
        found, missing = [], []
        for name in requested:
            issue = self.site.find(name)
            if issue is not None and call.sees(issue):
                found.append(issue_bytes(self.site, issue, names))
            else:
                missing.append({"id": name, "errorMessage": "Issue does not exist or you cannot see it."})
        page = b",".join(found)
        return call.reply(b'{"issues":[' + page + b'],"issueErrors":' + dump(missing) + b"}")
