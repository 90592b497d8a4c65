"""Pages of sources: connecting a tracker step by step, and what one sees and may do with it afterwards."""

from __future__ import annotations

import asyncio
import html
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import text

from app.jobs.sweep import sweep
from app.runtime import Runtime
from app.source_answers import Answers, WrongAnswer
from app.web.forms import for_people
from app.web.templating import capitalize_first
from connectors.github.set_up import SET_UP as GITHUB, web_site
from connectors.jira.set_up import SET_UP as JIRA
from connectors.sandbox import faults
from connectors.timeouts import Timeouts
from mappings.locks import LOCK_GOALS
from mappings.policy.modes import mode_in, with_project
from tests.support.clock import Clock
from tests.support.documents import read, section
from tests.support.locks import holding
from tests.support.pages import FormOnPage, Visitor, forms_of, visiting, words_of
from tests.support.world import World

HOSTILE = '<script>alert("x")</script> & co'
LONG = "wide " * 100
RIGHT_TO_LEFT = "‏תשלום‎ <b>"

# --- pure ------------------------------------------------------------------------------------------

SHADOW: dict[str, Any] = {"mode": "shadow", "projects": None}
ALL_LIVE: dict[str, Any] = {"mode": "live", "projects": None}
SHOP_LIVE: dict[str, Any] = {"mode": "live", "projects": ["SHOP"]}


@pytest.mark.parametrize(
    ("before", "project", "live", "after"),
    [
        (SHADOW, "SHOP", True, SHOP_LIVE),
        ({"mode": "shadow", "projects": ["CORE"]}, "SHOP", True, SHOP_LIVE),
        (SHOP_LIVE, "CORE", True, {"mode": "live", "projects": ["SHOP", "CORE"]}),
        (SHOP_LIVE, "shop", True, SHOP_LIVE),
        (ALL_LIVE, "SHOP", True, ALL_LIVE),
        (ALL_LIVE, "SHOP", False, {"mode": "live", "projects": ["CORE", "PAY"]}),
        (SHOP_LIVE, "Shop", False, SHADOW),
        (SHADOW, "SHOP", False, SHADOW),
        ({"mode": "off", "projects": None}, "SHOP", False, {"mode": "off", "projects": None}),
        ({"mode": "off", "projects": None}, "SHOP", True, SHOP_LIVE),
    ],
)
def test_one_project_changes_its_mode_and_the_others_keep_theirs(
    before: dict[str, Any], project: str, live: bool, after: dict[str, Any]
) -> None:
    changed = with_project(before, project, live, ["CORE", "PAY", "SHOP"])
    assert changed == after
    others = {one: mode_in(before, one) for one in ("CORE", "PAY")} if before["mode"] != "off" else {}
    assert {one: mode_in(changed, one) for one in others} == {
        one: mode if one != project else mode_in(changed, one) for one, mode in others.items()
    }


def test_a_project_that_is_named_by_a_former_key_is_the_same() -> None:
    named = {"shop": {"name": "SHOP", "id": "1", "key": "STORE", "places": []}}
    assert with_project(SHOP_LIVE, "STORE", False, ["STORE"], named) == SHADOW
    assert with_project(SHOP_LIVE, "STORE", True, ["STORE"], named) == SHOP_LIVE


def test_the_rights_on_the_page_are_those_of_the_readme() -> None:
    for set_up, title in ((JIRA, "Connect Jira Cloud"), (GITHUB, "Connect GitHub")):
        table = re.findall(r"^\| (\w[^|]*) \|", section(title, read("README.md")), re.MULTILINE)
        assert [right.name for right in set_up.rights] == table[1:]


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("See that base_url is right.", "See that the address is right."),
        ("change epics.labels.", "change “Labels that mark an epic”."),
        ("Nothing; Northing tries again by itself.", "Northing tries again by itself."),
        ("Check again in 60 s; the other lines may be incomplete.", "Check again in 60 s."),
        ("5 new comments; max_share is 0.2.", "5 new comments; the limit is 20% of them."),
        ("5 new comments at once; per_run is 3", "5 new comments at once; the limit is 3"),
        (
            "an admin accepts that with POST /api/v1/runs/15/accept-removals.",
            "an admin accepts that on the page of run 15.",
        ),
        ("my.epics.labels and epics.labels.more", "my.epics.labels and epics.labels.more"),
        ("‘X’ is none; GET /api/v1/cycles lists them", "‘X’ is none"),
    ],
)
def test_what_the_api_calls_a_member_has_on_a_page_the_name_of_its_field(message: str, shown: str) -> None:
    assert for_people(message) == shown


def test_a_sentence_that_begins_with_a_host_keeps_it() -> None:
    assert capitalize_first("jira.example cannot be reached") == "jira.example cannot be reached"
    assert capitalize_first("[::1]:80 cannot be reached") == "[::1]:80 cannot be reached"
    assert capitalize_first("is needed. Paste it") == "Is needed. Paste it"


@pytest.mark.parametrize(
    ("base_url", "site"),
    [
        ("https://api.github.com", "https://github.com"),
        ("https://api.acme.ghe.com", "https://acme.ghe.com"),
        ("https://code.acme.example/api/v3", "https://code.acme.example"),
    ],
)
def test_the_site_of_an_api(base_url: str, site: str) -> None:
    assert web_site(base_url) == site


def test_a_webhook_is_made_where_the_scope_is() -> None:
    pages = GITHUB.webhook_pages("https://api.github.com", ["acme/shop", "acme/*"])
    assert [page.url for page in pages] == [
        "https://github.com/acme/shop/settings/hooks/new",
        "https://github.com/organizations/acme/settings/hooks/new",
    ]
    assert len(GITHUB.webhook_pages("https://api.github.com", ["a/b"] * 9)) == 6


def test_a_wrong_answer_never_holds_the_token() -> None:
    answers = Answers("jira", "https://acme.atlassian.net", "no address", None, ["SHOP"])
    with pytest.raises(WrongAnswer) as wrong:
        answers.draft()
    assert wrong.value.field.startswith("credentials")


# --- connecting ------------------------------------------------------------------------------------


@pytest.fixture
async def visitor(application: FastAPI) -> AsyncIterator[Visitor]:
    async with visiting(application) as somebody:
        yield somebody


@pytest.fixture
async def admin(visitor: Visitor) -> Visitor:
    await visitor.sign_in()
    return visitor


class Wizard:
    """Somebody on `/sources/new`: each answer is sent with what the page carries, and every page is looked
    through for the secrets."""

    def __init__(self, visitor: Visitor, *secrets: str) -> None:
        self.visitor, self.secrets, self.page = visitor, secrets, ""

    async def begin(self) -> None:
        self.page = await self.visitor.get("/sources/new")

    async def answer(self, do: str, expect: int = 200, **values: Any) -> str:
        """The words of the next page; where it leads for a redirect."""
        form = self.form
        sent = {**{name: form.fields[name] for name in ("_token", "carried")}, "do": do, **values}
        answer = await self.visitor.http.post("/sources/new", data=sent)
        assert answer.status_code == expect, words_of(answer.text)[:1000]
        self.look_for_secrets(answer.text)
        if answer.status_code == 303:
            return answer.headers["location"]
        self.page = answer.text
        return html.unescape(words_of(answer.text))

    @property
    def form(self) -> FormOnPage:
        """That of the present step; the one before it leads back to a step."""
        return [form for form in forms_of(self.page) if "carried" in form.fields][-1]

    @property
    def step(self) -> str:
        found = re.search(r'aria-current="step">\s*<h2>([^<]+)', self.page)
        assert found, words_of(self.page)
        return found[1]

    def look_for_secrets(self, page: str) -> None:
        for secret in self.secrets:
            assert secret not in page


def jira_login(world: World, **more: str) -> dict[str, Any]:
    return {"email": world.site.bot.email, "token": world.site.bot.token, **more}


@pytest.fixture
def prepared(world: World) -> World:
    world.site.add_project("CORE", "Core systems")
    world.site.create("SHOP", HOSTILE)
    world.site.create("SHOP", LONG)
    world.site.create("CORE", RIGHT_TO_LEFT)
    world.host.create("acme/shop", HOSTILE, labels=["epic"])
    world.host.create("acme/shop", LONG, labels=["epic"])
    return world


async def stored_text(runtime: Runtime) -> str:
    """Every row that a session or a page could leave something in, as text."""
    async with runtime.sessions() as session:
        found = []
        for table in ("web_sessions", "audit_log", "sources", "runs", "procrastinate_jobs", "installation"):
            found += [str(row) for row in await session.execute(text(f"SELECT t::text FROM {table} t"))]
        return "\n".join(found)


async def test_jira_from_its_address_to_the_report(
    prepared: World, admin: Visitor, runtime: Runtime, caplog: pytest.LogCaptureFixture, capfd: Any
) -> None:
    world, token = prepared, prepared.site.bot.token
    wizard = Wizard(admin, token)
    await wizard.begin()
    assert wizard.step == "Where"
    shown = await wizard.answer("where", address=f"{world.jira_url}/browse/SHOP-1")
    assert wizard.step == "Login"
    assert f"Jira at {world.jira_url}." in shown
    for right in JIRA.rights:
        assert right.name in shown
    assert "https://id.atlassian.com/manage-profile/security/api-tokens" in wizard.page
    shown = await wizard.answer("login", **jira_login(world))
    assert wizard.step == "What it reads"
    assert world.site.bot.name in shown
    assert "CORE" in shown
    assert wizard.form.fields["name"] == "jira"
    plan: Any = {"start_field": "Start date", "points_field": "customfield_10016"}
    shown = await wizard.answer("scope", project=["SHOP", "CORE"], name="acme-jira", **plan)
    assert wizard.step == "Rights"
    assert "Nothing is missing." in shown
    assert "OK Add Comments in SHOP, CORE" in shown
    assert token not in await stored_text(runtime)
    assert await world.send("GET", "/sources") == {"items": [], "next": None}
    where = await wizard.answer("make", expect=303)
    assert where == "/sources/new?source=acme-jira"
    page = await admin.get(where)
    assert "waiting its turn" in page
    assert 'data-follow="2"' in page
    await world.drain()
    page = await admin.get(where)
    words = html.unescape(words_of(page))
    assert "3 read" in words
    assert "3 epics: 3 unaligned." in words
    assert "Which key result does this epic serve?" in words
    assert "<script>" not in page.replace('<script type="module"', "")
    assert "data-follow" not in page
    made = await world.send("GET", "/sources/acme-jira")
    assert (made["notices"]["mode"], made["scope"]["projects"]) == ("shadow", ["SHOP", "CORE"])
    assert {name: made["epics"][name] for name in (*plan, "due_field")} == {**plan, "due_field": None}
    assert world.jira.log.count("POST */comment") == 0
    logged = caplog.text + "".join(capfd.readouterr())
    for place in (page, logged, await stored_text(runtime)):
        assert token not in place


@pytest.mark.parametrize("do", ["login", "scope", "check", "make", "without:SHOP", "change:scope"])
async def test_a_step_before_the_address_asks_for_the_address(
    prepared: World, admin: Visitor, do: str
) -> None:
    wizard = Wizard(admin, "unused-token")
    await wizard.begin()
    answer = await admin.send("/sources/new", {"do": do, "token": "a", "email": "a@b.c"}, expect=422)
    assert "Comes first: paste the tracker's address" in html.unescape(words_of(answer.text))
    assert re.search(r'aria-current="step">\s*<h2>Where', answer.text)


async def test_github_from_its_address_to_the_secret_of_its_webhook(
    prepared: World, admin: Visitor, runtime: Runtime
) -> None:
    world, token = prepared, prepared.host.bot.token
    wizard = Wizard(admin, token)
    await wizard.begin()
    await wizard.answer("where", address=f"{world.github_url}/acme/shop/issues/1")
    shown = await wizard.answer("login", token=token)
    assert 'value="acme/shop" checked' in wizard.page
    shown = await wizard.answer("scope", project="acme/shop", labels="epic", name="acme-github")
    assert "Nothing is missing." in shown
    where = await wizard.answer("make", expect=303)
    await world.drain()
    page = await admin.get(where)
    assert "http://127.0.0.1:8000/webhooks/acme-github" in page
    answer = await admin.send(where, {"do": "secret"}, expect=200)
    found = re.search(r'id="hook-secret"[^>]*value="([^"]{40,})"', answer.text)
    assert found
    for place in (
        await admin.get(where),
        await admin.get("/sources/acme-github"),
        await stored_text(runtime),
    ):
        assert found[1] not in place
    made = await world.send("GET", "/sources/acme-github")
    assert made["webhook_secret_set"]
    again = await admin.send("/sources/acme-github", {"do": "secret"}, expect=200)
    assert found[1] not in again.text
    await admin.send("/sources/acme-github", {"do": "forget-secret"})
    assert not (await world.send("GET", "/sources/acme-github"))["webhook_secret_set"]


async def test_each_wrong_answer_is_said_at_its_field_and_nothing_is_made(
    prepared: World, admin: Visitor, application: FastAPI, runtime: Runtime
) -> None:
    world = prepared
    wizard = Wizard(admin, world.site.bot.token, "a-wrong-token-of-somebody")
    await wizard.begin()
    for address, expected in (
        ("no address", "Is no address"),
        ("http://127.0.0.1:1", "127.0.0.1"),
        ("http://jira.acme.example", "must begin with https://"),
        ("https://u:p@acme.atlassian.net", "must not contain a user name"),
    ):
        shown = await wizard.answer("where", expect=422, address=address)
        assert expected.casefold() in shown.casefold()
        assert wizard.step == "Where"
        assert "1 fault · Connect" in shown
        assert 'id="f-address"' in wizard.page
    await wizard.answer("where", address=f"{world.jira_url}/secure/Dashboard.jspa")
    shown = await wizard.answer("login", expect=422, email="", token="x")
    assert "Is needed: that of the account" in shown
    shown = await wizard.answer("login", expect=422, **jira_login(world, token="a-wrong-token-of-somebody"))
    assert (wizard.step, wizard.form.fields["token"]) == ("Login", "")
    assert wizard.form.fields["email"] == world.site.bot.email
    await wizard.answer("login", **jira_login(world))
    shown = await wizard.answer("scope", expect=422)
    assert "Choose at least one of the projects" in shown
    shown = await wizard.answer("scope", expect=422, project="SHOP", name="new")
    assert "that is the page that connects a source" in shown
    shown = await wizard.answer("scope", expect=422, project="SHOP", name="no name")
    assert wizard.step == "What it reads"
    shown = await wizard.answer("scope", expect=422, project="SHOP", jql="a ORDER BY b")
    assert "ORDER BY" in shown
    shown = await wizard.answer("scope", project="SHOP", more="NOPE", jql="colour = red", name="jira")
    assert wizard.step == "Rights"
    assert "Jira says: Field 'colour'" in shown
    assert ("do", "make") not in [button for form in forms_of(wizard.page) for button in form.buttons]
    shown = await wizard.answer("make")  # by hand: it is checked again, and refused
    assert wizard.step == "Rights"
    assert await world.send("GET", "/sources") == {"items": [], "next": None}
    assert world.site.bot.token not in await stored_text(runtime)


async def test_a_missing_right_is_named_and_its_project_can_be_left_out(
    prepared: World, admin: Visitor
) -> None:
    world = prepared
    world.host.add_repository("acme/core")
    world.host.create("acme/core", "Ledger", labels=["epic"])
    world.host.no_issues.add("acme/core")
    wizard = Wizard(admin, world.host.bot.token)
    await wizard.begin()
    await wizard.answer("where", address=world.github_url)
    await wizard.answer("login", token=world.host.bot.token)
    shown = await wizard.answer("scope", project=["acme/shop", "acme/core"], name="github")
    assert "Missing" in shown
    assert "Issues: Read-only in acme/core" in shown
    assert ("do", "without:acme/core") in [
        button for form in forms_of(wizard.page) for button in form.buttons
    ]
    shown = await wizard.answer("without:acme/core")
    assert "Nothing is missing." in shown
    assert await wizard.answer("make", expect=303) == "/sources/new?source=github"
    assert (await world.send("GET", "/sources/github"))["scope"]["repositories"] == ["acme/shop"]


async def test_what_is_not_needed_is_said(prepared: World, admin: Visitor) -> None:
    prepared.site.administrators.add(prepared.site.bot.account_id)
    prepared.site.denied |= {("ADD_COMMENTS", "SHOP")}
    wizard = Wizard(admin, prepared.site.bot.token)
    await wizard.begin()
    await wizard.answer("where", address=prepared.jira_url)
    await wizard.answer("login", **jira_login(prepared))
    shown = await wizard.answer("scope", everything="on", name="jira")
    assert "All projects that the account can browse" in shown
    # What it has too many, and what it lacks and shadow does not need.
    assert "Not needed Administer Jira The account administers the whole site." in shown
    assert "Not needed Add Comments in SHOP" in shown
    assert ("do", "make") in [button for form in forms_of(wizard.page) for button in form.buttons]


@pytest.mark.parametrize("kind", ["jira", "github"])
async def test_a_slow_tracker_is_told_from_a_wrong_login(
    prepared: World, admin: Visitor, application: FastAPI, runtime: Runtime, kind: str
) -> None:
    world = prepared
    jira = kind == "jira"
    url, tracker = (world.jira_url, world.jira) if jira else (world.github_url, world.github)
    login = jira_login(world) if jira else {"token": world.host.bot.token}
    application.state.runtime = replace(runtime, timeouts=Timeouts(connect=5, read=0.5, total=5))
    wizard = Wizard(admin, login["token"], "a-wrong-token-of-somebody")
    await wizard.begin()
    assert 'data-waits="Waiting for the tracker: 0.5 seconds at most.' in wizard.page
    await wizard.answer("where", address=url)
    assert f"Waiting for {url}" in wizard.page
    await wizard.answer("login", expect=422, **{**login, "token": "a-wrong-token-of-somebody"})
    assert 'id="f-token-about"' in wizard.page
    tracker.faults.add("*", faults.hang(), times=None)
    shown = await wizard.answer("login", expect=422, **login)
    assert (wizard.step, "answer" in shown) == ("Login", True)
    tracker.faults.clear()
    # Each piece comes in time, and the whole does not.
    tracker.faults.add("*", faults.drip(0.1), times=None)
    shown = await wizard.answer("login", expect=422, **login)
    assert f"{url} did not answer within 0.5 seconds" in shown
    tracker.faults.clear()
    await wizard.answer("login", **login)
    tracker.faults.add("*", faults.hang(), times=None)
    shown = await wizard.answer("scope", project="SHOP" if jira else "acme/shop", name="one")
    assert wizard.step == "Rights"
    assert "Failed" in shown
    assert ("do", "make") not in [button for form in forms_of(wizard.page) for button in form.buttons]


async def test_another_address_needs_the_login_again(prepared: World, admin: Visitor) -> None:
    world = prepared
    wizard = Wizard(admin, world.site.bot.token)
    await wizard.begin()
    await wizard.answer("where", address=world.jira_url)
    await wizard.answer("login", **jira_login(world))
    await wizard.answer("change:where")
    assert wizard.step == "Where"
    await wizard.answer("where", address=world.github_url)
    assert wizard.step == "Login"
    shown = await wizard.answer("scope", expect=422, project="acme/shop")
    assert "comes first: sign in" in shown.casefold()
    assert wizard.step == "Login"
    assert world.github.log.count("GET /user*") == 0  # what a login would ask for


async def test_what_is_carried_opens_for_its_session_alone_and_for_an_hour(
    prepared: World, application: FastAPI, clock: Clock
) -> None:
    async with visiting(application) as one, visiting(application) as other:
        await one.sign_in()
        await other.sign_in()
        wizard, elsewhere = Wizard(one), Wizard(other)
        await wizard.begin()
        await elsewhere.begin()
        await wizard.answer("where", address=prepared.jira_url)
        await wizard.answer("login", **jira_login(prepared))
        carried = wizard.form.fields["carried"]
        shown = await elsewhere.answer("scope", expect=422, carried=carried, project="SHOP")
        assert "was for another session" in shown
        assert elsewhere.step == "Where"
        for wrong in ("x", carried[:-8] + "AAAAAA==", "ä"):
            await wizard.answer("scope", expect=422, carried=wrong, project="SHOP")
        clock.advance(minutes=30)
        await one.get("/sources")
        clock.advance(minutes=31)
        shown = await wizard.answer("scope", expect=422, carried=carried, project="SHOP")
        assert "over an hour old" in shown


async def test_no_source_is_named_as_the_page_that_connects_one(world: World) -> None:
    for name in ("new", "New"):
        assert "name" in await world.refused(
            "POST",
            "/sources",
            {
                "name": name,
                "kind": "github",
                "base_url": world.github_url,
                "credentials": {"type": "token", "token": "x"},
                "scope": {"repositories": ["acme/shop"]},
            },
        )
    await world.connect_github(scope={"repositories": ["acme/shop"]})
    assert "name" in await world.refused("PATCH", "/sources/github", {"name": "new"})


# --- a source that is there ------------------------------------------------------------------------


@pytest.fixture
async def connected(prepared: World) -> World:
    """A source in shadow, read once, with three comments prepared."""
    await prepared.no_grace()
    await prepared.connect_jira(scope={"projects": ["SHOP", "CORE"]})
    await prepared.sync("jira", "full")
    return prepared


FORMS: list[tuple[str, Mapping[str, str]]] = [
    ("/sources/jira", {"do": "sync"}),
    ("/sources/jira", {"do": "check"}),
    ("/sources/jira", {"do": "live:SHOP"}),
    ("/sources/jira", {"do": "secret"}),
    ("/sources/jira", {"do": "disconnect", "confirm": "0"}),
    ("/sources/new", {"do": "where", "address": "https://acme.atlassian.net"}),
]


async def test_viewers_and_editors_see_all_and_may_do_nothing(
    connected: World, visitor: Visitor, application: FastAPI
) -> None:
    for role in ("viewer", "editor"):
        made = await connected.send("POST", "/tokens", {"name": role, "role": role})
        async with visiting(application) as somebody:
            await somebody.sign_in(made["token"])
            for path in ("/sources", "/sources/jira", "/sources/jira?live=SHOP&disconnect=yes"):
                page = await somebody.get(path)
                assert "jira" in page
                # But to sign out.
                assert [form.action for form in forms_of(page) if form.method == "post"] == ["/logout"]
            await somebody.get("/sources/new", expect=403)
            for path, fields in FORMS:
                await somebody.send("/sources", fields, to=path, expect=403)
    assert (await connected.send("GET", "/sources/jira"))["notices"]["mode"] == "shadow"


async def test_a_form_without_its_token_does_nothing(connected: World, admin: Visitor) -> None:
    for path, fields in FORMS:
        for token in ({}, {"_token": "x"}):
            assert (await admin.http.post(path, data={**fields, **token})).status_code == 403
    source = await connected.send("GET", "/sources/jira")
    assert (source["webhook_secret_set"], source["notices"]["mode"]) == (False, "shadow")


async def test_the_list_and_the_page_of_a_source(connected: World, admin: Visitor) -> None:
    words = words_of(await admin.get("/sources"))
    assert "jira" in words
    assert "2 projects" in words
    assert "3 unaligned" in words
    page = await admin.get("/sources/jira")
    words = words_of(page)
    for expected in ("Shadow", "SHOP", "CORE", "read to its end", "10 a run, 25 a day, 20% of a project"):
        assert expected in words
    assert connected.site.bot.token not in page
    await admin.get("/sources/nothing", expect=404)
    assert "There is no such button" in (await admin.send("/sources/jira", {"do": "x"}, expect=422)).text


async def test_a_project_goes_live_and_back_alone(connected: World, admin: Visitor) -> None:
    page = await admin.get("/sources/jira?live=SHOP")
    words = words_of(page)
    assert "2 comments are prepared in SHOP" in words
    assert "10 a run and 25 a day at most" in words
    await admin.send(
        "/sources/jira",
        {"do": "limits", "notices.per_run": "1", "notices.per_day": "25", "notices.max_share": "12.5"},
    )
    source = await connected.send("GET", "/sources/jira")
    assert (source["notices"]["per_run"], source["notices"]["max_share"]) == (1, 0.125)
    words = words_of(await admin.get("/sources/jira?live=SHOP"))
    assert "2 new comments at once; the limit is 1" in words
    answer = await admin.send("/sources/jira?live=SHOP", {"do": "live:SHOP"})
    assert answer.headers["location"] == "/sources/jira"
    assert "SHOP is live." in await admin.get("/sources/jira")
    assert (await connected.send("GET", "/sources/jira"))["notices"]["projects"] == ["SHOP"]
    await admin.send("/sources/jira", {"do": "shadow:SHOP"})
    source = await connected.send("GET", "/sources/jira")
    assert (source["notices"]["mode"], source["notices"]["projects"]) == ("shadow", None)
    words = words_of((await admin.send("/sources/jira", {"do": "live:NOPE"}, expect=422)).text)
    assert "NOPE is not a project this source reads" in words


async def test_of_two_projects_set_live_at_once_none_is_lost_in_silence(
    connected: World, admin: Visitor, database_url: str
) -> None:
    forms = forms_of(await admin.get("/sources/jira"))
    token = next(form.fields["_token"] for form in forms if "_token" in form.fields)
    async with holding(database_url) as holder:
        await holder.hold("SELECT pg_advisory_xact_lock(%s)", LOCK_GOALS)
        posts = [
            asyncio.create_task(
                admin.http.post("/sources/jira", data={"_token": token, "do": f"live:{project}"})
            )
            for project in ("SHOP", "CORE")
        ]
        await holder.until_waiting(2)
        await holder.let_go()
        answers = [await post for post in posts]
    assert sorted(answer.status_code for answer in answers) == [303, 412]
    await admin.send("/sources/jira", {"do": "live:SHOP"})
    await admin.send("/sources/jira", {"do": "live:CORE"})
    notices = (await connected.send("GET", "/sources/jira"))["notices"]
    assert sorted(notices["projects"]) == ["CORE", "SHOP"]


async def test_a_tracker_elsewhere_goes_live_only_after_a_full_run_in_shadow(
    connected: World, admin: Visitor, runtime: Runtime
) -> None:
    async with runtime.sessions.begin() as session:
        await session.execute(text("UPDATE sources SET base_url = 'https://acme.atlassian.net'"))
        await session.execute(text("UPDATE runs SET notices_mode = 'live'"))
    page = await admin.get("/sources/jira?live=SHOP")
    assert "It cannot go live yet" in page
    assert 'do="live' not in page
    answer = await admin.send("/sources/jira", {"do": "live:SHOP"}, expect=409)
    assert "a full sync has to succeed in shadow first" in words_of(answer.text)


async def test_each_form_of_a_source_sends_the_version_that_it_shows(
    connected: World, admin: Visitor
) -> None:
    forms = {form.buttons[0][1]: form for form in forms_of(await admin.get("/sources/jira")) if form.buttons}
    for do in ("limits", "scope", "timetable", "login"):
        assert forms[do].fields["version"] == '"1"'
    await admin.send("/sources/jira", {**forms["timetable"].fields, "do": "timetable"}, expect=303)


async def test_settings_are_changed_and_wrong_ones_are_kept_in_their_form(
    connected: World, admin: Visitor
) -> None:
    fields = {"scope.projects": "SHOP, NOPE", "scope.jql": "", "epics.issue_types": ""}
    answer = await admin.send("/sources/jira", {"do": "scope", **fields}, expect=422)
    assert 'value="SHOP, NOPE"' in answer.text
    assert "1 fault · jira" in words_of(answer.text)
    await admin.send("/sources/jira", {"do": "scope", **fields, "scope.projects": "shop"})
    assert (await connected.send("GET", "/sources/jira"))["scope"]["projects"] == ["SHOP"]
    answer = await admin.send(
        "/sources/jira", {"do": "timetable", "schedule.every": "now", "schedule.full": ""}, expect=422
    )
    assert 'value="now"' in answer.text
    await admin.send("/sources/jira", {"do": "timetable", "schedule.every": "PT1H", "schedule.full": ""})
    assert (await connected.send("GET", "/sources/jira"))["schedule"] == {"every": "PT1H", "full": None}
    answer = await admin.send(
        "/sources/jira", {"do": "timetable", "version": '"1"', "schedule.every": "PT2H"}, expect=412
    )
    assert "Somebody changed this source meanwhile" in words_of(answer.text)
    for wrong in ("ten", "-1", ""):
        await admin.send(
            "/sources/jira",
            {"do": "limits", "notices.per_run": wrong, "notices.per_day": "1", "notices.max_share": "1"},
            expect=422,
        )


async def test_a_login_is_replaced_whole_and_never_shown(connected: World, admin: Visitor) -> None:
    login = {"do": "login", "base_url": connected.jira_url, "credentials.email": connected.site.bot.email}
    answer = await admin.send(
        "/sources/jira", {**login, "credentials.token": "another-wrong-token"}, expect=422
    )
    assert "another-wrong-token" not in answer.text
    await admin.send("/sources/jira", login, expect=422)  # no token
    moved = {**login, "base_url": "http://127.0.0.1:1", "unchecked": "on"}
    await admin.send("/sources/jira", moved, expect=422)
    assert (await connected.send("GET", "/sources/jira"))["base_url"] == connected.jira_url
    await admin.send("/sources/jira", {**login, "credentials.token": connected.site.bot.token})
    page = await admin.get("/sources/jira")
    assert connected.site.bot.token not in page
    assert "signs in with the new login" in page


async def test_check_and_sync_by_a_button(connected: World, admin: Visitor) -> None:
    answer = await admin.send("/sources/jira", {"do": "check"}, expect=200)
    words = words_of(answer.text)
    assert "What the check found" in words
    assert "Signed in as" in words
    await admin.send("/sources/jira", {"do": "sync-full"})
    page = await admin.get("/sources/jira")
    assert "<progress" in page
    assert "0 of 3 read" in words_of(page)
    await connected.drain()
    assert "<progress" not in await admin.get("/sources/jira")


async def test_disconnecting_names_the_comments_and_asks_what_becomes_of_them(
    connected: World, admin: Visitor, runtime: Runtime
) -> None:
    await connected.send("PATCH", "/sources/jira", {"notices": {"mode": "live"}})
    await connected.drain()
    page = words_of(await admin.get("/sources/jira?disconnect=yes"))
    assert "3 comments of ours are on its tickets" in page
    for fields in ({}, {"confirm": "3"}, {"confirm": "0", "comments": "leave"}, {"comments": "withdraw"}):
        await admin.send("/sources/jira", {"do": "disconnect", **fields}, expect=422)
    await admin.send("/sources/jira", {"do": "disconnect", "confirm": "3", "comments": "withdraw"})
    assert "Being disconnected since" in words_of(await admin.get("/sources/jira"))
    answer = await admin.send("/sources/jira", {"do": "sync"}, to=None, expect=409)
    assert "is being disconnected" in words_of(answer.text)
    await connected.drain()
    await sweep(runtime)
    assert "No tracker is connected yet" in words_of(await admin.get("/sources"))
