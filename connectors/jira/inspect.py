"""What Northing may do on a Jira site, and which of these rights it does not need. It writes nothing.

https://developer.atlassian.com/cloud/jira/platform/rest/v3/api-group-permissions/#api-rest-api-3-mypermissions-get
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from connectors.base import (
    Account,
    BadPayload,
    Blocked,
    Connector,
    ConnectorError,
    Gone,
    Rejected,
    Unauthorized,
    Unavailable,
)
from connectors.inspector import ADDRESS_FIELD, SIGN_IN, TOKEN_FIELD, WITHOUT_FIELD, Inspector
from connectors.jira import payloads
from connectors.jira.errors import ADDRESS, NEW_TOKEN, NoSuchCall
from connectors.jira.named_fields import NamedFields
from connectors.markup import quoted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from connectors.diagnostics import Inspection
    from connectors.jira.config import JiraEpics, JiraScope
    from connectors.jira.transport import JiraTransport

# By permission key, the name that Jira's own pages show.
NEEDED = {
    "BROWSE_PROJECTS": "Browse Projects",
    "ADD_COMMENTS": "Add Comments",
    "EDIT_OWN_COMMENTS": "Edit Own Comments",
}
OPTIONAL = {"DELETE_OWN_COMMENTS": "Delete Own Comments"}
NOT_NEEDED = {
    "ADMINISTER_PROJECTS": "Administer Projects",
    "CREATE_ISSUES": "Create Issues",
    "EDIT_ISSUES": "Edit Issues",
    "DELETE_ISSUES": "Delete Issues",
    "EDIT_ALL_COMMENTS": "Edit All Comments",
    "DELETE_ALL_COMMENTS": "Delete All Comments",
}
ASKED = NEEDED | OPTIONAL | NOT_NEEDED

_SIDE_BY_SIDE = 4  # requests at the same time: the number of the transport's threads
_WHOSE = "See that the e-mail address is that of the token's account."
_MOST_SAID = 3  # errors in a condition
_WHERE = (
    "the project's permission scheme or, where it is team-managed, in its role (Project settings, Access)."
)
_SEE = (
    "See that the key is right and the project is not archived, and give the account Browse Projects there."
)


class JiraInspector(Inspector):
    """The check of a Jira source. `transport`, `scope` and `epics` are those of `connector`."""

    def __init__(
        self, connector: Connector, transport: JiraTransport, scope: JiraScope, epics: JiraEpics
    ) -> None:
        super().__init__(connector)
        self._transport, self._scope, self._epics = transport, scope, epics
        self._jql_is_wrong = False
        self.fields = {
            SIGN_IN: TOKEN_FIELD,
            "projects": "scope.projects",
            "rights in projects": "scope.projects",
            "scope.jql": "scope.jql",
            "epics": "epics.issue_types",
            "epics.fields": "epics.fields",
        }

    async def inspect(self, seconds: float | None = None) -> Inspection:
        return await self.go(
            [
                (SIGN_IN, self._sign_in),
                ("server", self._server),
                ("projects", self._projects),
                ("rights in projects", self._rights),
                ("Administer Jira", self._administration),
                ("scope.jql", self._condition),
                ("epics", self._find_epics),
                ("epics.fields", self._fields),
                ("requests left", self.requests_left),
            ],
            seconds,
        )

    async def _sign_in(self) -> None:
        account = await self._account()
        self.note("ok", SIGN_IN, f"Signed in as {account.name} ({account.id}).")
        self.note(
            "unknown",
            "token expiry",
            "Jira does not show when an API token expires; none lasts longer than a year.",
            "See id.atlassian.com, Security, API tokens, signed in as that account.",
        )

    async def _account(self) -> Account:
        try:
            return await self.connector.account()
        except (Blocked, Gone, Rejected) as error:
            # Whatever answers there refused; a Jira says what it is to everybody.
            if type(error) is Rejected:  # a redirect
                self.fields[SIGN_IN] = ADDRESS_FIELD
            elif type(error) is not Blocked and not await self._is_jira():
                raise Rejected(
                    f"No Jira answers at {self._transport.site}. {error.message}", ADDRESS
                ) from error
            if error.what_to_do == NEW_TOKEN:  # Jira does not say which of the two is wrong
                raise Unauthorized(error.message, f"{_WHOSE} {NEW_TOKEN}") from error
            raise

    async def _is_jira(self) -> bool:
        try:
            about = await self._transport.call("GET", "serverInfo", anonymous=True)
        except (BadPayload, Gone, NoSuchCall):
            about = None
        except Unavailable:
            raise
        except ConnectorError:
            return True  # it refuses, as a site does that lets in only some networks
        if not isinstance(about, dict) or "version" not in about:
            self.fields[SIGN_IN] = ADDRESS_FIELD
            return False
        return True

    async def _server(self) -> None:
        server_info = await self._transport.call("GET", "serverInfo")
        server_info = server_info if isinstance(server_info, dict) else {}
        kind, version = server_info.get("deploymentType"), server_info.get("version")
        if kind == "Cloud":
            self.note("ok", "server", f"Jira Cloud {version}, REST API version 3.")
        elif kind is None:
            self.note("unknown", "server", f"Jira {version} does not say whether it is Cloud or Data Center.")
        else:
            why = f"Jira {kind} {version}; this build supports only Jira Cloud."
            todo = "Set base_url to a Jira Cloud site, https://NAME.atlassian.net."
            self.note("missing", "server", why, todo, field=ADDRESS_FIELD)

    async def _projects(self) -> None:
        why_none = "The account can browse no project at all."
        found = await self.connector.projects()
        near = await self.near_names([one.key for one in found if one.problem == payloads.NO_PROJECT])
        self.note_projects(found, why_none, _SEE, near)

    # --- rights ---

    async def _rights(self) -> None:
        service_desks = {project.key for project in self.readable if project.service_desk}
        answers: list[tuple[str, Mapping[str, bool]]] = []
        keys = [project.key for project in self.inspected]
        for start in range(0, len(keys), _SIDE_BY_SIDE):
            batch = keys[start : start + _SIDE_BY_SIDE]
            asked = (self._held(list(ASKED), {"projectKey": key}) for key in batch)
            # Wait for all requests, so that none is left running; then raise the first error of the batch.
            for key, held in zip(batch, await asyncio.gather(*asked, return_exceptions=True), strict=True):
                if isinstance(held, BaseException):
                    raise held
                answers.append((key, held))
        self._note_needed(answers, service_desks)
        for right, name in NOT_NEEDED.items():
            if projects_with_it := [key for key, held in answers if held[right]]:
                todo = f"Take it from the account in {_WHERE}"
                self.note(
                    "not_needed", name, "Northing never uses this right.", todo, projects=projects_with_it
                )

    def _note_needed(self, answers: list[tuple[str, Mapping[str, bool]]], service_desks: set[str]) -> None:
        for right, name in NEEDED.items():
            writing = right != "BROWSE_PROJECTS"
            granted = [(key, held[right]) for key, held in answers if not (writing and key in service_desks)]
            if lacking := [key for key, has in granted if not has]:
                why = "The account does not have this right."
                todo = f"Give it to the account in {_WHERE}"
                self.note(
                    "missing", name, why, todo, projects=lacking, writing=writing, field="scope.projects"
                )
            if having := [key for key, has in granted if has]:
                self.note("ok", name, "The account has this right.", projects=having, writing=writing)
        written = [(key, held["DELETE_OWN_COMMENTS"]) for key, held in answers if key not in service_desks]
        if having := [key for key, has in written if has]:
            why = "The account has this right, which deletes comments when a run is withdrawn."
            self.note("ok", OPTIONAL["DELETE_OWN_COMMENTS"], why, projects=having, writing=True)
        if lacking := [key for key, has in written if not has]:
            why = "They become one line. To delete them takes Delete Own Comments, which nothing else needs."
            self.note("ok", "withdrawn comments", why, projects=lacking, writing=True)

    async def _administration(self) -> None:
        if (await self._held(["ADMINISTER"], {}))["ADMINISTER"]:
            todo = "Remove it from the groups that administer Jira (Settings, System, Global permissions)."
            self.note("not_needed", "Administer Jira", "The account administers the whole site.", todo)

    async def _held(self, rights: list[str], scope: Mapping[str, str]) -> dict[str, bool]:
        """For each of `rights`, whether our account has it. Raises `BadPayload` if the answer omits one."""
        answer = await self._transport.call(
            "GET", "mypermissions", {"permissions": ",".join(rights), **scope}
        )
        try:
            return {right: answer["permissions"][right]["havePermission"] is True for right in rights}
        except (KeyError, TypeError) as error:
            raise BadPayload("Jira's answer about our permissions could not be read.") from error

    # --- epics ---

    async def _condition(self) -> None:
        """Record what Jira says of the condition alone, before it is a part of our own query."""
        if self._scope.jql is None:
            return
        body = {"queries": [self._scope.jql]}
        try:
            answer = await self._transport.call("POST", "jql/parse", {"validation": "strict"}, body)
        except NoSuchCall:
            return  # the search says it too
        errors = _errors_in(answer)
        if errors:
            self._jql_is_wrong = True
            why = "; ".join(quoted(error, 500) for error in errors[:_MOST_SAID])
            todo = "Correct the condition; Jira's search for issues shows the same error while you type."
            self.note("missing", "scope.jql", f"Jira says: {why}", todo, field="scope.jql")
        else:
            self.note("ok", "scope.jql", "Jira understands the condition.")

    async def _find_epics(self) -> None:
        types = await self._transport.call("GET", "issuetype")
        ids = payloads.epic_type_ids(types, self._epics.issue_types)
        names = sorted({str(kind.get("name")) for kind in types if str(kind["id"]) in ids})
        if not self.readable:
            return
        if self._jql_is_wrong:
            self.note("unknown", "epics", "Not looked for, as scope.jql is wrong.")
            return
        self.fields["epics"] = "scope.projects" if self._scope.jql is None else "scope.jql"
        body = {"jql": self._jql(ids), "fields": ["id"], "maxResults": 1}
        answer = await self._transport.call("POST", "search/jql", body=body)
        if payloads.issues_of(answer):
            count = await self._count(body["jql"])
            self.note("ok", "epics", f"There are {count}, of the types {', '.join(names)}.")
            return
        todo = "None if there are none yet; else see epics.issue_types and scope.jql."
        self.note("warning", "epics", f"None is found of the types {', '.join(names)}.", todo)

    async def _count(self, jql: object) -> str:
        """About how many epics there are, as far as Jira says."""
        try:
            answer = await self._transport.call("POST", "search/approximate-count", body={"jql": jql})
        except Unavailable:
            raise
        except ConnectorError:
            return "some"
        count = answer.get("count") if isinstance(answer, dict) else None
        return f"some, about {count}" if isinstance(count, int) else "some"

    def _jql(self, ids: list[str]) -> str:
        parts = [f"issuetype in ({', '.join(ids)})"]
        if self._scope.projects is not None:
            keys = ", ".join(f'"{project.key}"' for project in self.inspected)
            parts.append(f"project in ({keys})")
        return " AND ".join(parts + ([f"({self._scope.jql})"] if self._scope.jql else []))

    async def _fields(self) -> None:
        named = NamedFields(self._transport, self._epics)
        unknown = await named.unknown()
        others = {one.setting: one for one in await named.of_other_kinds()}
        settings = {"epics.fields": (self._epics.fields, "rules that ask for it match nothing")}
        for member, name in named.configured.items():
            settings[f"epics.{member}"] = ([name], WITHOUT_FIELD[f"epics.{member}"])
        for setting, (names, effect) in settings.items():
            if missing := unknown.get(setting, []):
                why = f"Jira has no field {', '.join(missing)}, or does not show it to the account."
                self.note("missing", setting, why, f"Change {setting}; {effect}.", field=setting)
            elif other := others.get(setting):
                why = f"The values of {other.name} are of the type {other.has}, not {other.needs}."
                self.note("warning", setting, why, f"Change {setting}.", field=setting)
            elif names:
                self.note("ok", setting, f"{', '.join(names)}: Jira has {_these(names)}.")


def _these(names: Sequence[str]) -> str:
    return "this field" if len(names) == 1 else "these fields"


def _errors_in(answer: object) -> list[object]:
    """What is wrong with the one query that was parsed. Raises `BadPayload`."""
    queries = answer.get("queries") if isinstance(answer, dict) else None
    if not isinstance(queries, list) or not queries or not isinstance(queries[0], dict):
        raise BadPayload("Jira's answer about scope.jql could not be read.")
    errors = queries[0].get("errors")
    return errors if isinstance(errors, list) else []
