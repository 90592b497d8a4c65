"""What a connector says of its own rights, asked of the simulated trackers over HTTP; nothing is written."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from connectors.diagnostics import Fact, Inspection
from connectors.github.client import GitHubConnector
from connectors.github.config import GitHubCredentials, GitHubEpics, GitHubScope
from connectors.github.inspect import expiry_of, scopes_of
from connectors.jira.client import JiraConnector
from connectors.jira.config import JiraCredentials, JiraEpics, JiraScope
from connectors.sandbox import faults
from connectors.sandbox.github.host import GitHubHost
from connectors.sandbox.github.tracker import GitHubTracker
from connectors.sandbox.jira.site import JiraSite
from connectors.sandbox.jira.tracker import JiraTracker
from connectors.sandbox.server import serve
from connectors.sandbox.tracker import Tracker
from tests.support.tracker_guard import Guard
from tests.support.vendor_api import openapi_for

NOT_NEEDED = ("CREATE_ISSUES", "EDIT_ISSUES", "DELETE_ISSUES")
BOT = "northing-bot"


def jira_site() -> JiraSite:
    """Two projects and a service desk, an epic, and a bot with the least rights in each."""
    site = JiraSite()
    for key, kind in (("CORE", "software"), ("HELP", "service_desk"), ("SHOP", "software")):
        site.add_project(key, key.title(), kind)
        site.denied |= {(right, key) for right in (*NOT_NEEDED, "DELETE_OWN_COMMENTS")}
    site.denied |= {("ADD_COMMENTS", "HELP"), ("EDIT_OWN_COMMENTS", "HELP")}
    site.create("SHOP", "One-page checkout")
    return site


def github_host(**more: Any) -> GitHubHost:
    """Two private repositories, one issue with the label `epic`, and a fine-grained token."""
    host = GitHubHost(**more)
    host.add_repository("acme/core")
    host.add_repository("acme/shop")
    host.create("acme/shop", "One-page checkout", labels=["epic"])
    return host


@asynccontextmanager
async def looking(tracker: Tracker) -> AsyncIterator[str]:
    """Each exchange is held against the vendor's description."""
    guard = Guard(openapi_for("jira-cloud-v3" if isinstance(tracker, JiraTracker) else "github"))
    async with serve(tracker, through=guard.around) as url:
        yield url
    assert guard.found == []
    # Searching is a POST that changes nothing; there is no other way to ask for more than an address holds.
    written = {seen.line for seen in tracker.log.entries if seen.method != "GET"}
    searching = ("search/jql", "search/approximate-count", "jql/parse")
    assert written <= {f"POST /rest/api/3/{path}" for path in searching}


async def inspect_jira(
    site: JiraSite,
    *,
    break_it: Callable[[Tracker], object] | None = None,
    token: str | None = None,
    scope: dict[str, Any] | None = None,
    epics: dict[str, Any] | None = None,
) -> Inspection:
    tracker = JiraTracker(site)
    if break_it is not None:
        break_it(tracker)
    async with looking(tracker) as url:
        connector = JiraConnector(
            url,
            JiraCredentials(type="api_token", email=site.bot.email, token=token or site.bot.token),
            JiraScope(**(scope or {"projects": ["SHOP", "CORE", "HELP"]})),
            JiraEpics(**(epics or {})),
        )
        try:
            return await connector.inspect()
        finally:
            await connector.aclose()


async def inspect_github(
    host: GitHubHost,
    *,
    break_it: Callable[[Tracker], object] | None = None,
    token: str | None = None,
    scope: dict[str, Any] | None = None,
    epics: dict[str, Any] | None = None,
) -> Inspection:
    tracker = GitHubTracker(host)
    if break_it is not None:
        break_it(tracker)
    async with looking(tracker) as url:
        connector = GitHubConnector(
            url,
            GitHubCredentials(type="token", token=token or host.bot.token),
            GitHubScope(**(scope or {"repositories": ["acme/core", "acme/shop"]})),
            GitHubEpics(**(epics or {})),
        )
        try:
            return await connector.inspect()
        finally:
            await connector.aclose()


def of_level(found: Inspection, level: str) -> list[tuple[str, tuple[str, ...]]]:
    return [(fact.what, fact.projects) for fact in found.facts if fact.level == level]


def fact(found: Inspection, what: str) -> Fact:
    [one] = [one for one in found.facts if one.what == what]
    return one


def each_bad_one_says_what_to_do(found: Inspection) -> bool:
    return all(
        one.why and (one.what_to_do or one.level not in ("missing", "not_needed")) for one in found.facts
    )


# --- all is well --------------------------------------------------------------------------------


async def test_a_jira_account_with_the_least_rights_lacks_nothing() -> None:
    site = jira_site()
    found = await inspect_jira(site)
    assert of_level(found, "missing") == of_level(found, "not_needed") == of_level(found, "warning") == []
    assert of_level(found, "unknown") == [("token expiry", ()), ("requests left", ())]
    assert of_level(found, "ok") == [
        ("sign-in", ()),
        ("server", ()),
        ("projects", ("SHOP", "CORE", "HELP")),
        ("service desk", ("HELP",)),
        ("Browse Projects", ("SHOP", "CORE", "HELP")),
        ("Add Comments", ("SHOP", "CORE")),
        ("Edit Own Comments", ("SHOP", "CORE")),
        ("withdrawn comments", ("SHOP", "CORE")),
        ("epics", ()),
    ]
    assert site.bot.name in fact(found, "sign-in").why
    assert "Cloud" in fact(found, "server").why
    assert found.clock_ahead is not None
    assert abs(found.clock_ahead) < 30


async def test_a_fine_grained_github_token_that_reads_all_lacks_nothing_that_is_shown() -> None:
    host = github_host()
    host.expires[BOT] = f"{datetime.now(UTC) + timedelta(days=60):%Y-%m-%d %H:%M:%S} UTC"
    found = await inspect_github(host)
    assert of_level(found, "missing") == of_level(found, "not_needed") == of_level(found, "warning") == []
    assert of_level(found, "unknown") == [("Issues: Read and write", ("acme/core", "acme/shop"))]
    assert of_level(found, "ok") == [
        ("sign-in", ()),
        ("token expiry", ()),
        ("server", ()),
        ("projects", ("acme/core", "acme/shop")),
        ("Issues: Read-only", ("acme/core", "acme/shop")),
        ("label epic", ()),
        ("requests left", ()),
    ]
    assert "fine-grained" in fact(found, "sign-in").why
    assert "2022-11-28" in fact(found, "server").why
    assert " of 5000 until " in fact(found, "requests left").why
    assert found.clock_ahead is not None
    assert abs(found.clock_ahead) < 30


# --- one thing is otherwise: what is then said --------------------------------------------------


def deny(site: JiraSite, *rights: str, project: str = "SHOP") -> None:
    site.denied |= {(right, project) for right in rights}


def allow(site: JiraSite, *rights: str, project: str = "SHOP") -> None:
    site.denied -= {(right, project) for right in rights}
    site.granted |= {(right, project) for right in rights}


SHOP = ("SHOP",)
JIRA = [
    ("no comments", lambda s: deny(s, "ADD_COMMENTS"), "missing", "Add Comments", SHOP),
    ("no edits", lambda s: deny(s, "EDIT_OWN_COMMENTS"), "missing", "Edit Own Comments", SHOP),
    ("not to be seen", lambda s: deny(s, "BROWSE_PROJECTS", project="CORE"), "missing", "project", ("CORE",)),
    ("edits issues", lambda s: allow(s, "EDIT_ISSUES"), "not_needed", "Edit Issues", SHOP),
    ("deletes", lambda s: allow(s, "DELETE_ISSUES"), "not_needed", "Delete Issues", SHOP),
    ("creates", lambda s: allow(s, "CREATE_ISSUES"), "not_needed", "Create Issues", SHOP),
    ("others'", lambda s: allow(s, "EDIT_ALL_COMMENTS"), "not_needed", "Edit All Comments", SHOP),
    ("deletes any", lambda s: allow(s, "DELETE_ALL_COMMENTS"), "not_needed", "Delete All Comments", SHOP),
    ("owns it", lambda s: allow(s, "ADMINISTER_PROJECTS"), "not_needed", "Administer Projects", SHOP),
    ("owns all", lambda s: s.administrators.add(s.bot.account_id), "not_needed", "Administer Jira", ()),
    ("no epic yet", lambda s: s.delete("SHOP-1"), "warning", "epics", ()),
]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "level", "what", "projects"), [row[1:] for row in JIRA], ids=[r[0] for r in JIRA]
)
async def test_in_jira_one_thing_is_otherwise(
    change: Callable[[JiraSite], object], level: str, what: str, projects: tuple[str, ...]
) -> None:
    site = jira_site()
    change(site)
    found = await inspect_jira(site)
    assert of_level(found, level) == [(what, projects)]
    assert each_bad_one_says_what_to_do(found)
    assert of_level(found, "warning" if level != "warning" else "missing") == []


def classic(host: GitHubHost, scopes: str) -> None:
    host.scopes[BOT] = scopes


def role(host: GitHubHost, name: str) -> None:
    classic(host, "repo")
    host.repository("acme/shop").role = name


def archive(host: GitHubHost) -> None:
    host.repository("acme/core").archived = True


def ending(host: GitHubHost, days: float) -> None:
    host.expires[BOT] = f"{datetime.now(UTC) + timedelta(days=days):%Y-%m-%d %H:%M:%S} +0000"


GITHUB = [
    ("no issues", lambda h: h.no_issues.add("acme/core"), "missing", "Issues: Read-only", ("acme/core",)),
    ("not to be seen", lambda h: h.hidden.add("acme/core"), "missing", "project", ("acme/core",)),
    ("archived", archive, "warning", "writing", ("acme/core",)),
    ("ends soon", lambda h: ending(h, 3), "warning", "token expiry", ()),
    ("the organisation", lambda h: classic(h, "repo, admin:org"), "not_needed", "scope admin:org", ()),
    ("workflows", lambda h: classic(h, "repo, workflow"), "not_needed", "scope workflow", ()),
    ("may delete", lambda h: classic(h, "repo,delete_repo"), "not_needed", "scope delete_repo", ()),
    ("administers", lambda h: role(h, "admin"), "not_needed", "role admin", ("acme/shop",)),
    ("pushes", lambda h: role(h, "push"), "not_needed", "role push", ("acme/shop",)),
    ("few left", lambda h: setattr(h, "rate_limit", 8), "warning", "requests left", ()),
]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "level", "what", "projects"), [row[1:] for row in GITHUB], ids=[r[0] for r in GITHUB]
)
async def test_in_github_one_thing_is_otherwise(
    change: Callable[[GitHubHost], object], level: str, what: str, projects: tuple[str, ...]
) -> None:
    host = github_host()
    change(host)
    found = await inspect_github(host)
    assert of_level(found, level) == [(what, projects)]
    assert each_bad_one_says_what_to_do(found)


async def test_what_github_asks_for_is_told_where_it_refuses() -> None:
    host = github_host()
    host.no_issues |= {"acme/core", "acme/shop"}
    found = await inspect_github(host)
    assert "It asks for issues=read." in fact(found, "Issues: Read-only").why
    assert fact(found, "Issues: Read-only").projects == ("acme/core", "acme/shop")
    assert fact(found, "label epic").level == "unknown"


@pytest.mark.parametrize(
    ("scopes", "private", "missing", "not_needed"),
    [
        ("repo", True, [], []),
        ("repo", False, [], ["scope repo"]),
        ("public_repo", False, [], []),
        ("public_repo, gist", False, [], ["scope gist"]),
        ("read:org", False, ["scope repo"], ["scope read:org"]),
        ("", False, ["scope repo"], []),
        ("public_repo", True, ["project", "project"], []),
    ],
)
async def test_a_classic_token_is_evaluated_by_its_scopes(
    scopes: str, private: bool, missing: list[str], not_needed: list[str]
) -> None:
    host = github_host()
    classic(host, scopes)
    for repository in host.repositories.values():
        repository.private = private
    found = await inspect_github(host)
    assert "classic" in fact(found, "sign-in").why
    assert [what for what, _ in of_level(found, "missing")] == missing
    assert [what for what, _ in of_level(found, "not_needed")] == not_needed
    assert of_level(found, "unknown") == []


async def test_an_enterprise_server_tells_its_release() -> None:
    found = await inspect_github(github_host(features=()), epics={"with_sub_issues": True})
    assert fact(found, "sub-issues").level == "missing"
    host = github_host()
    host.release = "3.19.2"
    found = await inspect_github(host, epics={"with_sub_issues": True})
    assert "GitHub Enterprise Server 3.19.2" in fact(found, "server").why
    assert fact(found, "sub-issues").level == "ok"


SELECTORS = [
    ({"labels": ["EPIC"]}, {"label EPIC": "ok"}),
    ({"labels": ["initiative"]}, {"label initiative": "missing"}),
    ({"labels": ["initiative"], "issue_types": ["Saga"]},
     {"label initiative": "missing", "issue type Saga": "missing"}),
    ({"labels": ["epic", "initiative"]}, {"label epic": "ok", "label initiative": "missing"}),
    ({"labels": ["a b/ä"], "issue_types": ["epic"]}, {"label a b/ä": "missing", "issue type epic": "ok"}),
    ({"issue_types": ["Saga"]}, {"issue type Saga": "missing"}),
]  # fmt: skip


@pytest.mark.parametrize(("epics", "levels"), SELECTORS)
async def test_a_selector_is_looked_for_in_github(epics: dict[str, Any], levels: dict[str, str]) -> None:
    found = await inspect_github(github_host(), epics=epics)
    assert {one.what: one.level for one in found.facts if one.what in levels} == levels


async def test_a_host_without_meta_and_labels_lacks_nothing() -> None:
    """An issue with the label tells that it is there; a release that is not told is no right."""

    def bare(tracker: Tracker) -> None:
        for route in ("GET /meta", "GET *labels/*"):
            tracker.faults.add(route, faults.answer(404, {"message": "Not Found"}), times=None)

    found = await inspect_github(github_host(), break_it=bare)
    assert of_level(found, "missing") == of_level(found, "warning") == []
    assert (fact(found, "server").level, fact(found, "label epic").level) == ("unknown", "ok")
    assert "acme/shop" in fact(found, "label epic").why


async def test_issue_types_that_are_not_shown_are_unknown() -> None:
    found = await inspect_github(github_host(features=()), epics={"issue_types": ["Epic"]})
    assert fact(found, "issue type Epic").level == "unknown"


@pytest.mark.parametrize(
    ("settings", "level", "words"),
    [
        ({"epics": {"issue_types": ["Saga"]}}, "missing", "no issue type named Saga"),
        ({"epics": {"issue_types": ["initiative"]}}, "warning", "Initiative"),
        ({"scope": {"projects": ["SHOP"], "jql": "labels = growth"}}, "warning", "None is found"),
        ({"scope": {"projects": ["SHOP"], "jql": "colour = red"}}, "unknown", "scope.jql is wrong"),
        ({"scope": {"projects": None}}, "ok", "There are some, about 1, of the types Epic."),
    ],
)
async def test_a_selector_is_looked_for_in_jira(settings: dict[str, Any], level: str, words: str) -> None:
    found = await inspect_jira(jira_site(), **settings)
    assert fact(found, "epics").level == level
    assert words in fact(found, "epics").why
    assert fact(found, "epics").what_to_do or level in ("ok", "unknown")


async def test_fields_that_jira_does_not_have_are_named() -> None:
    found = await inspect_jira(jira_site(), epics={"fields": ["customfield_10035", "customfield_1"]})
    assert fact(found, "epics.fields").level == "missing"
    assert "customfield_1," in fact(found, "epics.fields").why
    found = await inspect_jira(jira_site(), epics={"fields": ["customfield_10035"]})
    assert fact(found, "epics.fields").level == "ok"


def data_center(tracker: Tracker) -> None:
    change = faults.rewrite(lambda body: {**body, "deploymentType": "Server", "version": "10.3.1"})
    tracker.faults.add("GET */serverInfo", change)


async def test_a_data_center_is_told_from_the_cloud() -> None:
    found = await inspect_jira(jira_site(), break_it=data_center)
    assert fact(found, "server").level == "missing"
    assert "10.3.1" in fact(found, "server").why


# --- the tracker does not answer as it should ---------------------------------------------------

INSPECT: dict[str, tuple[Callable[[], JiraSite | GitHubHost], Callable[..., Awaitable[Inspection]]]] = {
    "jira": (jira_site, inspect_jira),
    "github": (github_host, inspect_github),
}


@pytest.mark.parametrize("kind", INSPECT)
async def test_a_token_that_opens_nothing_is_all_that_is_said(kind: str) -> None:
    make, inspect = INSPECT[kind]
    found = await inspect(make(), token="wrong-token")
    assert [(one.level, one.what) for one in found.facts][:1] == [("failed", "sign-in")]
    assert "new" in fact(found, "sign-in").what_to_do
    assert [one.why for one in found.facts[1:]] == ["Not looked at."]
    assert "wrong-token" not in str(found)


async def test_an_anonymous_answer_is_no_sign_in() -> None:
    def anonymous(tracker: Tracker) -> None:
        headers = {"X-AUSERNAME": "anonymous"}
        tracker.faults.add("GET */myself", faults.answer(200, {"accountId": "1"}, headers))

    found = await inspect_jira(jira_site(), break_it=anonymous)
    assert fact(found, "sign-in").level == "failed"


@pytest.mark.parametrize("kind", INSPECT)
async def test_a_tracker_that_is_not_there(kind: str) -> None:
    make, inspect = INSPECT[kind]
    found = await inspect(make(), break_it=lambda tracker: tracker.faults.add("*", faults.drop(), times=None))
    assert [one.level for one in found.facts] == ["failed", "unknown"]
    assert fact(found, "sign-in").what_to_do
    assert found.clock_ahead is None


@pytest.mark.parametrize("kind", INSPECT)
async def test_a_tracker_that_stops_answering_ends_the_look(kind: str) -> None:
    def limited(tracker: Tracker) -> None:
        place = "GET */mypermissions" if kind == "jira" else "GET */issues"
        body = {"errorMessages": ["Too many."]} if kind == "jira" else {"message": "Too many."}
        tracker.faults.add(place, faults.answer(429, body, {"Retry-After": "90"}), times=None)

    make, inspect = INSPECT[kind]
    found = await inspect(make(), break_it=limited)
    [stopped] = [one for one in found.facts if one.level == "failed"]
    assert "limits our requests" in stopped.why
    assert "90 s" in stopped.what_to_do
    assert found.facts[-1].why == "Not looked at."


ROUTES = {
    "jira": (
        "myself",
        "serverInfo",
        "project/search",
        "mypermissions",
        "issuetype",
        "search/jql",
        "search/approximate-count",
        "jql/parse",
        "field",
    ),
    "github": ("/user", "/meta", "/acme/shop", "/issues", "/labels/epic", "/issue-types"),
}
NONSENSE: list[Any] = [None, {}, "words", [[7]], {"permissions": [], "values": [7], "issues": {}}]


@pytest.mark.parametrize(("kind", "route"), [(kind, route) for kind in ROUTES for route in ROUTES[kind]])
async def test_nonsense_is_a_fact_and_no_traceback(kind: str, route: str) -> None:
    make, _ = INSPECT[kind]
    state = make()
    tracker: Tracker = JiraTracker(state) if isinstance(state, JiraSite) else GitHubTracker(state)
    async with serve(tracker) as url:
        for nonsense in NONSENSE:
            tracker.faults.clear()
            struck = tracker.faults.add(f"* *{route}", faults.answer(200, nonsense), times=None)
            if isinstance(state, JiraSite):
                credentials = JiraCredentials(type="api_token", email=state.bot.email, token=state.bot.token)
                epics = JiraEpics(fields=["customfield_10035"])
                connector: Any = JiraConnector(
                    url, credentials, JiraScope(projects=["SHOP"], jql="project = SHOP"), epics
                )
            else:
                github = GitHubCredentials(type="token", token=state.bot.token)
                selector = GitHubEpics(labels=["epic"], issue_types=["Epic"], with_sub_issues=True)
                connector = GitHubConnector(url, github, GitHubScope(repositories=["acme/shop"]), selector)
            try:
                assert (await connector.inspect()).facts
                assert struck.struck
            finally:
                await connector.aclose()


async def test_of_very_many_projects_the_first_hundred_are_asked() -> None:
    host = GitHubHost()
    for number in range(103):
        host.add_repository(f"acme/repo-{number:03}")
    tracker = GitHubTracker(host)
    async with serve(tracker) as url:
        credentials, scope = (
            GitHubCredentials(type="token", token=host.bot.token),
            GitHubScope(organizations=["acme"]),
        )
        connector = GitHubConnector(url, credentials, scope, GitHubEpics(with_sub_issues=True))
        try:
            found = await connector.inspect()
        finally:
            await connector.aclose()
    assert "3 more are in scope" in fact(found, "further projects").why
    assert len(fact(found, "Issues: Read-only").projects) == 100
    assert len(fact(found, "projects").projects) == 103
    assert tracker.log.count() < 110


# --- what headers say ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "scopes"),
    [
        ({"x-oauth-scopes": "repo, read:org"}, {"repo", "read:org"}),
        ({"x-oauth-scopes": "repo", "x-accepted-github-permissions": "issues=read"}, {"repo"}),
        ({"x-oauth-scopes": ""}, set()),
        ({"x-oauth-scopes": "", "x-accepted-github-permissions": "issues=read"}, None),
        ({}, None),
    ],
)
def test_scopes_as_github_tells_them(headers: dict[str, str], scopes: set[str] | None) -> None:
    assert scopes_of(headers) == scopes


@pytest.mark.parametrize(
    ("reported", "ends"),
    [
        ("2027-01-31 23:00:00 UTC", datetime(2027, 1, 31, 23, tzinfo=UTC)),
        ("2027-04-26 23:23:18 +0200", datetime(2027, 4, 26, 21, 23, 18, tzinfo=UTC)),
        ("soon", None),
        ("", None),
        ("0001-01-01 00:00:00 +2300", None),
    ],
)
def test_an_expiry_as_github_tells_it(reported: str, ends: datetime | None) -> None:
    assert expiry_of(reported) == ends


async def test_what_forbids_reading_is_told_by_its_cause_and_not_as_a_missing_right() -> None:
    host = github_host()
    message = "`acme` forbids access via a fine-grained personal access token."
    refused = faults.answer(403, {"message": message}, {"X-Accepted-GitHub-Permissions": "issues=read"})
    found = await inspect_github(
        host, break_it=lambda tracker: tracker.faults.add("GET */issues*", refused, times=None)
    )
    lacking = fact(found, "Issues: Read-only")
    assert (lacking.level, message in lacking.why, "issues=read" in lacking.why) == ("missing", True, False)
    assert "kind that the organisation allows" in lacking.what_to_do
