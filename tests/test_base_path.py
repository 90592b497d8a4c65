"""Every address of ours lies below the path of NORTHING_PUBLIC_URL, which the proxy may pass on or not."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from urllib.parse import urljoin, urlsplit

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from pydantic import ValidationError

from app.base_path import without_base
from app.runtime import Runtime
from app.server.application import DOCS_FILES
from app.settings import Settings
from tests.support.pages import forms_of
from tests.support.webhook_posts import SECRET, post
from tests.support.world import ADMIN_TOKEN, World

PUBLIC = "https://tools.example.com/northing"
BASE = "/northing"
ADDRESS = re.compile(r"""(?:href|src|action|url)\s*[=:]\s*["']([^"']+)["']|url\(["']?([^"')]+)""")
EPIC = "/epics/github/acme%2Fshop%231"
START = (EPIC, "/", "/tokens", "/audit-log?who=x", "/docs", "/openapi.json", "/healthz")


@pytest.mark.parametrize(
    ("path", "base", "inside"),
    [
        ("/northing/docs", "/northing", "/docs"),
        ("/docs", "/northing", "/docs"),
        ("/northing", "/northing", "/"),
        ("/northing/", "/northing", "/"),
        ("/northingdocs", "/northing", "/northingdocs"),
        ("/a/b/epics/jira/SHOP-1", "/a/b", "/epics/jira/SHOP-1"),
        # A proxy that takes it away leaves a path of ours that begins with it by chance.
        ("/api/v1/runs", "/api", "/api/v1/runs"),
        ("/api/api/v1/runs", "/api", "/api/v1/runs"),
        ("/epics/jira/SHOP-1", "/epics", "/epics/jira/SHOP-1"),
        ("/epics/epics/jira/SHOP-1", "/epics", "/epics/jira/SHOP-1"),
    ],
)
def test_the_part_that_is_the_proxys(path: str, base: str, inside: str) -> None:
    assert without_base(path, base) == inside


@pytest.mark.parametrize("ending", ["?a=b", "#a", "/a b", "/%20", "/a//b"])
def test_an_address_with_more_than_a_path_stops_the_start(ending: str) -> None:
    with pytest.raises(ValidationError, match=r"may end with a path|without a login or a blank"):
        Settings(_env_file=None, public_url=f"https://tools.example.com{ending}")


def test_every_first_part_of_a_path_of_ours_is_known(application: FastAPI) -> None:
    paths = [route.path or "/" for route in iter_route_contexts(application.routes)]
    assert {"/docs", "/healthz", "/webhooks/{source}", DOCS_FILES} <= set(paths)
    assert [without_base(f"{BASE}{path}", BASE) for path in paths] == paths


@pytest.fixture
def below(application: FastAPI, runtime: Runtime) -> Iterator[Runtime]:
    """The application at a proxy's path; comments too have the address."""
    settings = runtime.settings.model_copy(update={"public_url": PUBLIC})
    application.state.runtime = replace(runtime, settings=settings)
    yield application.state.runtime
    application.state.runtime = runtime


async def _session_cookie(browser: httpx.AsyncClient, base: str) -> str:
    """Of a person who signed in before the proxy. The cookies are for HTTPS and the proxy's path alone, so no
    client here would send them by itself."""
    page = await browser.get(f"{base}/login")
    (form,) = forms_of(page.text)
    assert form.action == f"{BASE}/login"
    cookie = page.headers["set-cookie"].partition(";")[0]
    answer = await browser.post(
        f"{base}/login", data={**form.fields, "token": ADMIN_TOKEN}, headers={"Cookie": cookie}
    )
    assert (answer.status_code, answer.headers["location"]) == (303, f"{BASE}/")
    (session,) = [one for one in answer.headers.get_list("set-cookie") if one.startswith("northing_session")]
    assert f"Path={BASE};" in session
    assert {"HttpOnly", "Secure", "SameSite=lax"} <= set(session.split("; "))
    browser.cookies.clear()
    return session.partition(";")[0]


@pytest.mark.database
@pytest.mark.parametrize("kept", [True, False])
async def test_every_page_and_what_it_links_to_is_there(world: World, below: Runtime, kept: bool) -> None:
    """`kept`: whether the proxy passes the path on with its own part."""
    world.host.create("acme/shop", "An epic", labels=["epic"])
    await world.connect_github(scope={"repositories": ["acme/shop"]})
    await world.sync("github")
    world.api.headers.pop("Authorization")
    cookie = await _session_cookie(world.api, BASE if kept else "")

    async def ask(address: str) -> tuple[int, str, str]:
        """What somebody before the proxy gets."""
        assert urlsplit(address).path.startswith(f"{BASE}/"), address
        path = address.removeprefix(PUBLIC)
        answer = await world.api.get(f"{BASE if kept else ''}{path}", headers={"Cookie": cookie})
        return answer.status_code, answer.headers.get("content-type", ""), answer.text

    met, waiting = set[str](), [f"{PUBLIC}{path}" for path in START]
    while waiting:
        address = waiting.pop()
        if address in met:
            continue
        met.add(address)
        status, kind, text = await ask(address)
        assert status == (303 if address.endswith("/logout") else 200), address
        if kind.startswith(("text/html", "text/css")):
            found = [urljoin(address, unescape(one or other)) for one, other in ADDRESS.findall(text)]
            waiting += [one for one in found if one.startswith("https://tools.example.com/")]
    assert {f"{PUBLIC}/static/northing.css", f"{PUBLIC}{DOCS_FILES}/swagger-ui-bundle.js"} <= met
    document = json.loads((await ask(f"{PUBLIC}/openapi.json"))[2])
    assert document["servers"] == [{"url": BASE}]
    answers = [(await ask(f"{PUBLIC}{path}"))[0] for path in ("/api/v1/sources", "/readyz", "/metrics")]
    assert 404 not in answers


@pytest.mark.database
@pytest.mark.parametrize("kept", [True, False])
async def test_errors_and_ways_to_the_login_lie_below_the_path(
    world: World, below: Runtime, kept: bool
) -> None:
    prefix = BASE if kept else ""
    world.api.headers["Accept"] = "text/html"
    cookie = {"Cookie": await _session_cookie(world.api, prefix)}
    for method, path, headers, status in (
        ("GET", "/nowhere", {}, 404),
        ("GET", "/nowhere", cookie, 404),
        ("GET", "/epics/nobody/X-1", cookie, 404),
        ("GET", "/login/oidc", {}, 404),
        ("GET", "/why/x", {}, 404),
        ("DELETE", "/tokens", cookie, 405),
        ("POST", "/tokens?a=1", cookie, 403),
        ("POST", "/logout", cookie, 403),
    ):
        answer = await world.api.request(method, f"{prefix}{path}", headers=headers, follow_redirects=False)
        assert answer.status_code == status, path
        found = [unescape(one or other) for one, other in ADDRESS.findall(answer.text)]
        assert len(found) >= 1, path
        wrong = [one for one in found if not one.startswith((f"{BASE}/", "#"))]
        assert wrong == [], (method, path)
        if method == "POST" and path.startswith("/tokens"):
            assert f"{BASE}{path}" in found
    for path, to in (("/tokens?a=1", "/login?next=%2Ftokens%3Fa%3D1"), ("/", "/login?next=%2F")):
        answer = await world.api.get(f"{prefix}{path}", follow_redirects=False)
        assert answer.headers["location"] == f"{BASE}{to}"
    out = await world.api.get(f"{prefix}/login?next=/tokens?a=1", headers=cookie, follow_redirects=False)
    assert out.headers["location"] == f"{BASE}/tokens?a=1"


@pytest.mark.database
@pytest.mark.parametrize("kept", [True, False])
async def test_other_methods_redirects_refusals_and_the_metrics_know_the_path(
    world: World, below: Runtime, kept: bool
) -> None:
    prefix = BASE if kept else ""
    slash = await world.api.get(f"{prefix}/docs/", follow_redirects=False)
    assert (slash.status_code, slash.headers["location"]) == (307, f"{BASE}/docs")
    slash = await world.api.get(f"{prefix}/epics/?q=a%2Fb", follow_redirects=False)
    assert (slash.status_code, slash.headers["location"]) == (307, f"{BASE}/epics?q=a%2Fb")
    assert "unsafe-inline" in (await world.api.get(f"{prefix}/docs")).headers["content-security-policy"]
    await world.api.get(f"{prefix}/static/northing.css")
    assert 'route="/static"' in (await world.api.get(f"{prefix}/metrics")).text
    wrong = await world.api.delete(f"{prefix}/api/v1/policy")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "GET, PATCH, PUT")
    made = await world.api.post(
        f"{prefix}/api/v1/sources",
        json={
            "name": "github",
            "kind": "github",
            "base_url": world.github_url,
            "credentials": {"type": "token", "token": world.host.bot.token},
            "scope": {"repositories": ["acme/shop"]},
            "webhook_secret": SECRET,
        },
    )
    assert made.json()["webhook_url"] == f"{PUBLIC}/webhooks/github"
    world.api.base_url = world.api.base_url.join(prefix or "/")
    assert (await post(world)).status_code == 202
