"""Who may do what on the simulated trackers, and who may ask: what commands on tickets need to know."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from connectors.sandbox.github.host import GitHubHost
from connectors.sandbox.github.tracker import GitHubTracker
from connectors.sandbox.jira.records import Account
from connectors.sandbox.jira.site import JiraSite
from connectors.sandbox.jira.tracker import JiraTracker
from connectors.sandbox.server import serve

CHECK = "/rest/api/3/permissions/check"
NOBODY = "70121:nobody-at-all"


@pytest.fixture
def site() -> JiraSite:
    made = JiraSite()
    made.add_project("SHOP", "Online shop")
    made.add_project("PAY", "Payments")
    made.create("SHOP", "An epic")
    made.create("PAY", "Another")
    return made


@asynccontextmanager
async def jira(site: JiraSite, who: Account | None = None) -> AsyncIterator[httpx.AsyncClient]:
    asking = who or site.bot
    auth = (asking.email, asking.token)
    async with serve(JiraTracker(site)) as url, httpx.AsyncClient(base_url=url, auth=auth) as http:
        yield http


def question(site: JiraSite, *permissions: str, **more: Any) -> dict[str, Any]:
    entry = {
        "permissions": list(permissions),
        "projects": [int(one.id) for one in site.projects.values()],
        "issues": [int(site.issue("SHOP-1").id), int(site.issue("PAY-1").id)],
    }
    return {"projectPermissions": [entry], **more}


async def test_one_asks_for_oneself(site: JiraSite) -> None:
    site.denied.add(("EDIT_ISSUES", "PAY"))
    async with jira(site) as http:
        asked = question(site, "EDIT_ISSUES", "BROWSE_PROJECTS", "EDIT_ALL_COMMENTS")
        plain = (await http.post(CHECK, json=asked)).json()
        by_id = (await http.post(CHECK, json={**asked, "accountId": site.bot.account_id})).json()
    shop, pay = (int(site.projects[key].id) for key in ("SHOP", "PAY"))
    in_shop, in_pay = asked["projectPermissions"][0]["issues"]
    assert plain == by_id
    assert plain["projectPermissions"] == [
        {"permission": "EDIT_ISSUES", "projects": [shop], "issues": [in_shop]},
        {"permission": "BROWSE_PROJECTS", "projects": [shop, pay], "issues": [in_shop, in_pay]},
        {"permission": "EDIT_ALL_COMMENTS", "projects": [], "issues": []},
    ]


@pytest.mark.parametrize(
    ("name", "more", "may_edit"),
    [
        ("dev-lead", {}, True),
        ("passer-by", {"outsider": True}, False),
        ("somebody-who-left", {"active": False}, False),
        ("automation", {"kind": "app"}, True),
    ],
)
async def test_only_an_administrator_asks_for_others(
    site: JiraSite, name: str, more: dict[str, Any], may_edit: bool
) -> None:
    other = site.add_account(name, **more)
    asked = question(site, "EDIT_ISSUES", accountId=other.account_id)
    async with jira(site) as http:
        refused = await http.post(CHECK, json=asked)
        assert refused.status_code == 403
        assert refused.json()["errorMessages"] == ["Only Jira administrators can perform this operation."]
        site.administrators.add(site.bot.account_id)
        [granted] = (await http.post(CHECK, json=asked)).json()["projectPermissions"]
    assert len(granted["issues"]) == len(granted["projects"]) == (2 if may_edit else 0)


async def test_the_administrator_is_known_as_one(site: JiraSite) -> None:
    rights = {"permissions": "ADMINISTER,EDIT_ISSUES"}
    async with jira(site) as http:
        asked = {"globalPermissions": ["ADMINISTER"]}
        for held in (False, True):
            mine = (await http.get("/rest/api/3/mypermissions", params=rights)).json()["permissions"]
            assert mine["ADMINISTER"]["havePermission"] is held
            message = (await http.post(CHECK, json=asked)).json()
            assert message == {"globalPermissions": ["ADMINISTER"] if held else [], "projectPermissions": []}
            site.administrators.add(site.bot.account_id)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"projectPermissions": [{"permissions": []}]}, "At least one project permission"),
        ({"projectPermissions": [{"permissions": [""]}]}, "At least one project permission"),
        ({"projectPermissions": [{"issues": [1]}]}, "At least one project permission"),
        ({"projectPermissions": [{"permissions": ["FLY"]}]}, "Unrecognized permission"),
        ({"projectPermissions": [{"permissions": [["EDIT_ISSUES"]]}]}, "Unrecognized permission"),
        (
            {"projectPermissions": [{"permissions": ["EDIT_ISSUES"], "issues": "1"}]},
            "Invalid request payload",
        ),
        ({"projectPermissions": [{"permissions": ["EDIT_ISSUES"], "people": []}]}, "Invalid request payload"),
        ({"projectPermissions": ["EDIT_ISSUES"]}, "Invalid request payload"),
        ({"globalPermissions": ["EDIT_ISSUES"]}, "Unrecognized permission"),
        ({"accountId": 5}, "Invalid request payload"),
        ({"accountIds": []}, "Invalid request payload"),
        ({"accountId": NOBODY}, "account ID is not valid"),
        ([], "Invalid request payload"),
    ],
)
async def test_a_question_must_have_the_described_form(site: JiraSite, body: object, message: str) -> None:
    site.administrators.add(site.bot.account_id)
    async with jira(site) as http:
        answer = await http.post(CHECK, json=body)
    assert (answer.status_code, message in answer.text) == (400, True), answer.text


async def test_too_many_at_once_are_refused(site: JiraSite) -> None:
    ids = [int(site.create("SHOP", f"Epic {n}").id) for n in range(1001)]
    async with jira(site) as http:
        for issues, status in ((ids[:1000], 200), (ids, 400)):
            entry = {"permissions": ["EDIT_ISSUES"], "issues": issues}
            assert (await http.post(CHECK, json={"projectPermissions": [entry]})).status_code == status


async def test_an_outsider_of_the_site_may_comment_and_no_more(site: JiraSite) -> None:
    words = {"type": "doc", "version": 1, "content": [{"type": "paragraph", "content": []}]}
    async with jira(site, site.account("passer-by")) as http:
        issue = "/rest/api/3/issue/SHOP-1"
        made = await http.post(f"{issue}/comment", json={"body": words})
        assert made.status_code == 201
        assert made.json()["author"]["accountType"] == "atlassian"
        assert (await http.put(issue, json={"fields": {"labels": ["new"]}})).status_code == 400
        assert (await http.delete(issue)).status_code == 403
    assert (site.issue("SHOP-1").labels, len(site.issue("SHOP-1").comments)) == ([], 1)


@pytest.mark.parametrize(("kind", "active"), [("app", True), ("atlassian", False), ("customer", True)])
async def test_comments_say_what_kind_of_account_wrote_them(site: JiraSite, kind: str, active: bool) -> None:
    made = site.comment("SHOP-1", "x", site.add_account("writer", kind=kind, active=active))
    async with jira(site) as http:
        listed = await http.post("/rest/api/3/comment/list", json={"ids": [int(made.id)]})
    author = listed.json()["values"][0]["author"]
    assert (author["accountType"], author["active"]) == (kind, active)


@pytest.mark.parametrize(
    ("repository", "login", "association"),
    [
        ("acme/shop", "dev-lead", "MEMBER"),
        ("acme/shop", "passer-by", "NONE"),
        ("acme/shop", "contractor", "COLLABORATOR"),
        ("solo/shop", "solo", "OWNER"),
        ("solo/shop", "dev-lead", "COLLABORATOR"),
        ("solo/shop", "passer-by", "NONE"),
    ],
)
async def test_github_says_how_an_author_belongs(repository: str, login: str, association: str) -> None:
    host = GitHubHost()
    host.add_repository("acme/shop", private=False)
    host.add_repository("solo/shop", private=False, organization=False)
    host.associations["contractor"] = "COLLABORATOR"
    issue = host.create(repository, "An issue", author=login)
    comment = host.comment(issue.key, "Words", host.account(login))
    async with serve(GitHubTracker(host)) as url, httpx.AsyncClient(base_url=url) as http:
        home = f"/repos/{repository}/issues"
        shown = [
            (await http.get(f"{home}/comments/{comment.id}")).json(),
            (await http.get(f"{home}/1/comments")).json()[0],
            (await http.get(f"{home}/1")).json(),
        ]
    assert [one["author_association"] for one in shown] == [association] * 3
