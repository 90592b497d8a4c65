"""What Northing may do on a GitHub host, and which of these rights it does not need. It writes nothing.

GitHub shows the scopes of classic tokens, but not the permissions of fine-grained ones:
https://docs.github.com/apps/oauth-apps/building-oauth-apps/scopes-for-oauth-apps and
https://docs.github.com/rest/authentication/permissions-required-for-fine-grained-personal-access-tokens
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from connectors.base import BadPayload, Blocked, Connector, Gone, Project
from connectors.github.epic_names import EpicNames, url_vars
from connectors.github.errors import NEW_TOKEN, Forbidden, is_missing_permission
from connectors.github.transport import API_VERSION, GitHubTransport
from connectors.inspector import SIGN_IN, TOKEN_FIELD, WITHOUT_FIELD, Inspector
from connectors.plan_values import PLANNED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from connectors.diagnostics import Inspection
    from connectors.github.config import GitHubEpics

SOON = timedelta(days=14)
CLASSIC = "GitHub, Settings, Developer settings, Tokens (classic)"
FINE_GRAINED = "GitHub, Settings, Developer settings, Fine-grained tokens"
_RIGHT = "Issues: Read and write"
_REPOSITORY = "/repos/{owner}/{repo}"
# Roles with more rights than commenting needs, the widest first.
_WIDER_ROLES = ("admin", "maintain", "push")


class GitHubInspector(Inspector):
    """The check of a GitHub source. `transport` and `epics` are those of `connector`."""

    def __init__(self, connector: Connector, transport: GitHubTransport, epics: GitHubEpics) -> None:
        super().__init__(connector)
        self._transport, self._epics = transport, epics
        self._scopes: frozenset[str] | None = None
        self._sample: dict[str, Any] | None = None  # an issue, any
        self.fields = {
            "projects": "scope.repositories",
            "role": TOKEN_FIELD,
            "epics": "epics.labels",
            "issue fields": "epics",
        }

    def scope_field(self, name: str) -> str:
        # Without a name, where nothing is found at all: each repository that is named would be, as a problem.
        by_organization = not name or name.endswith("/*")
        return "scope.organizations" if by_organization else "scope.repositories"

    async def inspect(self, seconds: float | None = None) -> Inspection:
        return await self.go(
            [
                (SIGN_IN, self._sign_in),
                ("server", self._server),
                ("projects", self._projects),
                ("Issues: Read-only", self._read_issues),
                ("comments", self._comments),
                ("scopes", self._wide_scopes),
                ("role", self._roles),
                ("epics", self._find_epics),
                ("issue fields", self._find_fields),
                ("requests left", self.requests_left),
            ],
            seconds,
        )

    async def _sign_in(self) -> None:
        try:
            account = await self.connector.account()
        except Blocked as error:
            if type(error) is not Blocked:  # a rule about tokens, not a setting of this machine
                self.fields[SIGN_IN] = TOKEN_FIELD
            raise
        headers = self._transport.headers
        self._scopes = scopes_of(headers)
        token = "a fine-grained token" if self._scopes is None else "a classic token"
        self.note("ok", SIGN_IN, f"Signed in as {account.name}, with {token}.")
        self._note_expiry(headers.get("github-authentication-token-expiration"), self._transport.clock())

    def _note_expiry(self, header: str | None, now: datetime) -> None:
        expires = expiry_of(header or "")
        if header is None:
            self.note("ok", "token expiry", "GitHub names no expiry date of this token.")
        elif expires is None:
            self.note("unknown", "token expiry", f"GitHub says {header!r}, which could not be read.")
        elif expires - now < SOON:
            self.note(
                "warning", "token expiry", f"The token expires {expires:%Y-%m-%d %H:%M} UTC.", NEW_TOKEN
            )
        else:
            self.note("ok", "token expiry", f"The token expires {expires:%Y-%m-%d %H:%M} UTC.")

    async def _server(self) -> None:
        version = self._transport.headers.get("x-github-api-version-selected", API_VERSION)
        try:
            meta = await self._transport.item("/meta", {})
        except (Gone, Forbidden, BadPayload) as error:
            self.note("unknown", "server", f"The host does not show its release. {error.message}")
            return
        release = meta.get("installed_version") if isinstance(meta, dict) else None
        name = f"GitHub Enterprise Server {release}" if release else "GitHub's cloud"
        self.note("ok", "server", f"{name}, REST API version {version}.")

    async def _projects(self) -> None:
        todo = "Give the token access to it, or take it out of the scope."
        found = await self.connector.projects()
        unknown = [one.key for one in found if one.problem is not None and not one.key.endswith("/*")]
        near = await self.near_names(unknown)
        self.note_projects(found, "The scope has no repository with issues.", todo, near)

    # --- rights ---

    async def _read_issues(self) -> None:
        unread: dict[tuple[str, str], list[str]] = {}
        read: list[str] = []
        for project in self.inspected:
            try:
                rows, _ = await self._transport.page(
                    f"{_REPOSITORY}/issues?state=all&per_page=1", url_vars(project)
                )
            except (Gone, Forbidden) as error:
                accepted = self._transport.headers.get("x-accepted-github-permissions")
                lacking = is_missing_permission(error)
                asks = f" It asks for {accepted}." if accepted and lacking else ""
                todo = self._give("read") if lacking else error.what_to_do
                unread.setdefault((f"{error.message}.{asks}", todo), []).append(project.key)
            else:
                read.append(project.key)
                self._sample = self._sample or next((row for row in rows if isinstance(row, dict)), None)
        if read:
            self.note("ok", "Issues: Read-only", "Issues can be read.", projects=read)
        for (why, todo), keys in unread.items():
            self.note("missing", "Issues: Read-only", why, todo, projects=keys, field=TOKEN_FIELD)

    def _give(self, access: str) -> str:
        if self._scopes is None:
            kind = "Issues: Read-only" if access == "read" else _RIGHT
            return f"Give the token the repository permission {kind} ({FINE_GRAINED})."
        return f"Give the token the scope repo, or public_repo for public repositories ({CLASSIC})."

    async def _comments(self) -> None:
        """Record where the token may comment. GitHub shows this for a classic token only, by its scopes."""
        keys = [project.key for project in self.readable]
        if not keys:
            return
        if self._scopes is None:
            why = "GitHub does not show what a fine-grained token may write, and the check writes nothing."
            todo = f"See that it has {_RIGHT} and Metadata: Read-only, and nothing else ({FINE_GRAINED})."
            self.note("unknown", _RIGHT, why, todo, projects=keys, writing=True)
            return
        reached = [p.key for p in self.readable if self._scopes & _scopes_for(p)]
        if reached:
            why = f"The scope {', '.join(sorted(self._scopes & {'repo', 'public_repo'}))} lets it comment."
            self.note("ok", "comments", why, projects=reached, writing=True)
        if beyond := [key for key in keys if key not in reached]:
            why = "The token's scopes do not let it comment."
            todo = self._give("write")
            self.note("missing", "scope repo", why, todo, projects=beyond, writing=True, field=TOKEN_FIELD)

    async def _wide_scopes(self) -> None:
        if self._scopes is None:
            return
        public = bool(self.readable) and all(project.public for project in self.readable)
        needed = {"public_repo"} if public else {"repo"}
        for scope in sorted(self._scopes - needed - ({"public_repo"} & self._scopes)):
            why = "Northing never uses this scope."
            if scope == "repo":
                why = "Every repository of the source is public; public_repo is enough."
            todo = f"Take it from the token ({CLASSIC}), or use a fine-grained token with {_RIGHT} alone."
            self.note("not_needed", f"scope {scope}", why, todo)

    async def _roles(self) -> None:
        """Record wider roles than needed; only a classic token has all rights of its account's role."""
        wide: dict[str, list[str]] = {}
        for project in self.inspected if self._scopes is not None else ():
            raw = await self._transport.item(_REPOSITORY, url_vars(project))
            held = raw.get("permissions") if isinstance(raw, dict) else None
            role = next((name for name in _WIDER_ROLES if isinstance(held, dict) and held.get(name)), None)
            if role is not None:
                wide.setdefault(role, []).append(project.key)
        for role, keys in wide.items():
            why = f"The account's role there has {role}; the role Read is enough to comment."
            todo = "Give the account a smaller role (repository Settings, Collaborators and teams)."
            self.note("not_needed", f"role {role}", why, todo, projects=keys)

    # --- epics ---

    async def _find_epics(self) -> None:
        if not self.readable:
            return
        names = EpicNames(self._transport, self._epics, self.readable)
        found = [("epics.labels", f"label {name}", *await names.label(name)) for name in self._epics.labels]
        self.fields["epics"] = "epics.issue_types"
        types = await names.types()
        found += [("epics.issue_types", f"issue type {name}", *there) for name, there in types.items()]
        if self._epics.with_sub_issues:
            has = None if self._sample is None else "sub_issues_summary" in self._sample
            reasons = {
                None: "There is no issue yet that could show it.",
                True: "This host has sub-issues.",
                False: "This host has no sub-issues.",
            }
            found.append(("epics.with_sub_issues", "sub-issues", has, reasons[has]))
        others = (
            "" if any(there is not False for _, _, there, _ in found) else "; no other selector finds epics"
        )
        for field, what, there, why in found:
            if there is not False:
                self.note("ok" if there else "unknown", what, why)
            else:
                self.note("missing", what, why, f"Create it, or change {field}{others}.", field=field)

    async def _find_fields(self) -> None:
        names = EpicNames(self._transport, self._epics, self.readable)
        for member, field in names.fields.items() if self.readable else ():
            setting, what = f"epics.{member}", f"issue field {field}"
            there, why = await names.issue_field(field)
            kinds = await names.kinds_of_field(field)
            needs = PLANNED[member][1] if member in PLANNED else None
            if there is False:
                todo = f"Create it, or change {setting}; until then {WITHOUT_FIELD[setting]}."
                self.note("missing", what, why, todo, field=setting)
            elif kinds and needs is not None and needs not in kinds:
                why = f"Its values are of the type {', '.join(sorted(kinds))}, not {needs}."
                self.note("warning", what, why, f"Change {setting}.", field=setting)
            else:
                self.note("ok" if there else "unknown", what, why)


def scopes_of(headers: Mapping[str, str]) -> frozenset[str] | None:
    """A classic token's scopes, which may be none; None for a token with fine-grained permissions.

    For the latter, a response names the permissions that the call needs, and its scopes are empty or absent.
    """
    header = headers.get("x-oauth-scopes")
    scopes = frozenset(part.strip() for part in (header or "").split(",")) - {""}
    if scopes or (header is not None and "x-accepted-github-permissions" not in headers):
        return scopes
    return None


def expiry_of(header: str) -> datetime | None:
    """The expiry of a token in UTC. GitHub sends `2023-01-31 23:00:00 UTC` or `2023-04-26 23:23:18 +0200`.

    https://github.blog/changelog/2021-07-26-expiration-options-for-personal-access-tokens/
    """
    try:
        return datetime.strptime(header.strip().replace(" UTC", " +0000"), "%Y-%m-%d %H:%M:%S %z").astimezone(
            UTC
        )
    except (ValueError, OverflowError):
        return None


def _scopes_for(project: Project) -> set[str]:
    return {"repo", "public_repo"} if project.public else {"repo"}
