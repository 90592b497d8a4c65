"""The threat model names the test that holds each threat; and what no other test holds."""

from __future__ import annotations

import ast
import base64
import hmac
import logging
import os
import re
import stat
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Literal

import httpx
import psycopg
import pytest
import structlog
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from psycopg import sql

from app import logs
from app.auth.authenticator import Authenticator
from app.runtime import Runtime
from app.secrets import cipher_for
from app.settings import Settings
from app.web.site import router as site
from connectors.sandbox.jira.site import JiraSite
from connectors.sandbox.jira.tracker import JiraTracker
from connectors.sandbox.server import serve
from mappings.access.operations import token_hash
from tests.support.clock import Clock
from tests.support.fuzzer import a_company
from tests.support.pages import visiting
from tests.support.tracker_drivers import driver_of
from tests.support.webhook_posts import SECRET, post, signature
from tests.support.world import ADMIN_TOKEN, OFF, World

ROOT = Path(__file__).parents[1]
THREATS = (ROOT / "docs" / "threats.md").read_text(encoding="utf-8")

# --- the text ---------------------------------------------------------------------------------


def sections() -> dict[str, str]:
    """The attackers by their headings, each with what stands below it."""
    parts = re.split(r"^## (\d+\. .*)$", THREATS, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def defined_in(file: str) -> set[str]:
    tree = ast.parse((ROOT / "tests" / file).read_text(encoding="utf-8"))
    return {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    }


def test_every_threat_names_a_test_and_what_remains() -> None:
    assert [heading.split(".")[0] for heading in sections()] == [str(n) for n in range(1, 11)]
    for heading, text in sections().items():
        rows = [line for line in text.splitlines() if line.startswith("| ")][1:]
        assert len(rows) >= 2, heading
        for row in rows:
            what, stands, tests = row.strip("| ").split(" | ")
            assert what, heading
            assert stands, row
            assert re.search(r"`test_\w+\.py::test_\w+`", tests), row
        assert len(re.findall(r"^What remains: \S", text, re.MULTILINE)) == 1, heading


def test_every_test_that_is_named_is_there_and_named_once() -> None:
    named = re.findall(r"`(test_\w+\.py)::(\w+)`", THREATS)
    assert len(named) > 60
    assert [test for test, times in Counter(named).items() if times > 1] == []
    assert THREATS.count("test_") == 2 * len(named)  # none is named in another form
    there = {file: defined_in(file) for file in {file for file, _ in named}}
    assert [(file, test) for file, test in named if test not in there[file]] == []


def test_everything_here_holds_a_threat() -> None:
    named = set(re.findall(r"`test_threats\.py::(\w+)`", THREATS))
    about_the_text = {name for name in defined_in("test_threats.py") if "threat" in name or "named" in name}
    assert defined_in("test_threats.py") - about_the_text == named


# --- secrets ------------------------------------------------------------------------------------

_SECRET = re.compile(r"(hash|hashed|digest|signature|secret|token|password|hmac)s?$", re.IGNORECASE)
_NO_SECRETS = {
    "TokenRow.hash == hashed",  # in an index: SHA-256 of 256 random bits, of which a part opens nothing
    "WebSessionRow.hash == bindparam('hash')",  # the same
    "WebSessionRow.hash == session_hash(instead_of)",
    "WebSessionRow.token_hash == row.hash",
    "TokenRow.hash == WebSessionRow.token_hash",
    "known.digest == digest",  # of lines in a comment
    "facts_hash == current.posted_hash",  # of what stands on tickets
    "current.posted_hash == shown.facts_hash",
    "current.posted_hash == alone.facts_hash",
    "before.facts_hash != desired.facts_hash",
    "error.what_to_do == NEW_TOKEN",  # words that say to make one
    "self.content_hash == bytes.fromhex(row['content_hash'][2:])",
    "self.texts_hash != _hash_of(row)",
}


def comparisons() -> list[tuple[str, str]]:
    """Every `==` and `!=` of the code with an operand that is named like a secret."""
    found: list[tuple[str, str]] = []
    for path in sorted(p for top in ("app", "connectors", "mappings") for p in (ROOT / top).rglob("*.py")):
        if "sandbox" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Compare) or not isinstance(node.ops[0], ast.Eq | ast.NotEq):
                continue
            names = [
                one.attr if isinstance(one, ast.Attribute) else one.id
                for one in (node.left, *node.comparators)
                if isinstance(one, ast.Attribute | ast.Name)
            ]
            if any(_SECRET.search(name) for name in names):
                found.append((str(path.relative_to(ROOT)), ast.unparse(node)))
    return found


def test_no_secret_is_compared_by_an_operator() -> None:
    assert [one for one in comparisons() if one[1] not in _NO_SECRETS] == []


class Watched(bytes):
    """A secret that breaks down wherever it is compared as ordinary bytes are: byte by byte, to the
    first that differs. `hmac.compare_digest` reads its buffer and asks for none of these."""

    def _refuse(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("the time of this comparison tells how much of a guess is right")

    __eq__ = __ne__ = __lt__ = __gt__ = __contains__ = __getitem__ = __iter__ = __hash__ = _refuse
    startswith = endswith = find = index = count = hex = decode = _refuse


async def test_secrets_are_compared_in_constant_time(
    world: World, application: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody guesses the admin's token, and the signature of a webhook from its start on."""
    application.state.authenticator = Authenticator(Watched(token_hash(ADMIN_TOKEN)))
    for token, status in ((ADMIN_TOKEN[:-1], 401), (ADMIN_TOKEN, 200)):
        answer = await world.api.get("/api/v1/sources", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == status

    scope = {"repositories": ["acme/shop"]}
    await world.connect_github(scope=scope, webhook_secret=SECRET, notices=OFF)
    right, digest, made = signature(b"{}", SECRET), hmac.digest, []

    def watched(key: bytes, message: bytes, algorithm: str) -> bytes:
        made.append(message)
        return Watched(digest(key, message, algorithm))

    monkeypatch.setattr(hmac, "digest", watched)
    wrong = [right[:length].ljust(len(right), "0") for length in range(len("sha256="), len(right) - 1, 9)]
    for given, status in (*((one, 401) for one in wrong), (right, 202)):
        answer = await post(world, body=b"{}", x_hub_signature_256=given)
        assert answer.status_code == status, given
    # So each was compared with a watched one, and a wrong one again with the source read afresh.
    assert made == [b"{}"] * (2 * len(wrong) + 1)


def copied(database_url: str) -> dict[str, bytes]:
    """Every table as a dump holds it, columns of bytes as they are."""
    with psycopg.connect(database_url) as connection:
        tables = connection.execute(
            "SELECT table_name FROM information_schema.tables"
            " WHERE table_schema = 'public' AND table_type = 'BASE TABLE'"
        ).fetchall()
        found = {}
        for (name,) in tables:
            copy = sql.SQL("COPY {} TO STDOUT (FORMAT binary)").format(sql.Identifier(name))
            with connection.cursor().copy(copy) as rows:
                found[name] = b"".join(bytes(row) for row in rows)
        return found


def test_the_key_on_disk_is_its_owners_alone(settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    before = os.umask(0)
    try:
        cipher_for(settings.model_copy(update={"data_dir": folder, "secret_key": ()}))
    finally:
        os.umask(before)
    assert [path.name for path in folder.iterdir()] == ["secret.key"]
    assert stat.S_IMODE((folder / "secret.key").stat().st_mode) == 0o600


async def test_a_busy_installation_shows_and_stores_no_secret(
    world: World, application: FastAPI, runtime: Runtime, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """All that is answered, listed, measured, logged, or in a copy of the database: comments are written,
    webhooks taken and refused, runs fail, tokens are made."""
    caplog.set_level("DEBUG")
    seen: list[str] = []

    async def keep(answer: httpx.Response) -> None:
        await answer.aread()
        seen.append(f"{answer.status_code} {answer.headers} {answer.text}")

    made = await world.send("POST", "/tokens", {"name": "reader", "role": "viewer"})
    world.api.event_hooks["response"] = [keep]
    await a_company(world)
    # What `a_company` made were tokens of its own, each shown at that moment.
    shown_once = [re.search(r'"token":"(nt_[^"]+)"', text) for text in seen]
    tokens = [made["token"], *(found[1] for found in shown_once if found)]
    assert len(tokens) == 4
    seen[:] = [text for text, found in zip(seen, shown_once, strict=True) if not found]
    for kind in ("jira", "github"):
        await world.send("PATCH", f"/sources/{kind}", {"notices": {"mode": "live", "max_share": 1}})
    await world.drain()
    assert (await world.send("GET", "/notices?state=posted"))["items"]
    await visit_all(world.api, made["token"])
    cookies = [await visit_pages(application, token, keep) for token in (ADMIN_TOKEN, made["token"])]
    for wrong in (SECRET, ADMIN_TOKEN, f"{ADMIN_TOKEN} {SECRET}"):
        for scheme in ("Bearer", "Basic", "Token"):
            await world.api.get("/api/v1/sources", headers={"Authorization": f"{scheme} {wrong}"})
        await world.api.post("/webhooks/jira", content=b"{}", headers={"X-Hub-Signature": f"sha256={wrong}"})
    [key] = [key.get_secret_value() for key in runtime.settings.secret_key]
    secrets = [world.site.bot.token, world.host.bot.token, SECRET, ADMIN_TOKEN, key, *tokens, *cookies]
    stored = copied(database_url)
    assert b"Epic 1" in stored["epics"]
    assert len(seen) > 80
    places = {**stored, "answers": "".join(seen).encode(), "logs": caplog.text.encode()}
    for secret in secrets:
        for form in (secret.encode(), base64.b64encode(secret.encode()).rstrip(b"=")):
            assert [name for name, content in places.items() if form in content] == []


async def visit_all(api: httpx.AsyncClient, token: str) -> None:
    """Every GET of the document, as an admin and with a viewer's token."""
    document = (await api.get("/openapi.json")).json()
    paths = [path for path, item in document["paths"].items() if "get" in item]
    for path in paths:
        path = path.replace("{source}/{key}", "jira/SHOP-1").replace("{name}", "jira").replace("{id}", "1")
        for nouns, key in (("cycles", "Q1"), ("objectives", "O-1"), ("key-results", "KR-1")):
            path = path.replace(f"{nouns}/{{key}}", f"{nouns}/{key}")
        assert (await api.get(path)).status_code == 200, path
        answer = await api.get(path, headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code in (200, 403), path


async def visit_pages(app: FastAPI, token: str, keep: Callable[[httpx.Response], Awaitable[None]]) -> str:
    """Every page, by somebody who signed in with this token; the value of their cookie."""
    named = {"source": "jira", "key": "SHOP-1", "name": "jira", "id": "1", "kind": "links", "signature": "x"}
    named |= {"item_id": "1"}
    async with visiting(app) as visitor:
        await visitor.sign_in(token)
        visitor.http.event_hooks["response"] = [keep]  # of an answer before, the cookie is a part
        for context in iter_route_contexts(site.routes):
            if "GET" not in (context.methods or ()):
                continue
            path = re.sub(r"{(\w+)(:path)?}", lambda found: named[found[1]], str(context.path))
            answer = await visitor.http.get(path.replace("goals/SHOP-1", "goals/KR-1"))
            assert answer.status_code in (200, 303, 403) or path.startswith("/signed/"), path
        await visitor.get("/nowhere", expect=404)
        return visitor.http.cookies["northing_session"]


@pytest.mark.parametrize("form", ["console", "json"])
def test_no_stranger_forges_a_line_of_the_log(
    form: Literal["console", "json"], capsys: pytest.CaptureFixture[str]
) -> None:
    evil = "\x1b[2J\r\nFAKE login of admin\u202e"
    logs.configure(form)
    try:
        logging.getLogger("some.library").warning("Retrying %s", evil)
        structlog.get_logger().warning("webhook refused", name=evil)
        try:
            raise OSError(evil)
        except OSError:
            structlog.get_logger().exception("lost", address=evil)
    finally:
        reported = capsys.readouterr().err
        logs.configure("json")
    assert reported.count("FAKE") == 4
    assert not re.search("[\x1b\r\u202e]", reported)
    assert not re.search("^FAKE", reported, re.MULTILINE)


# --- browsers -------------------------------------------------------------------------------------


async def test_every_answer_tells_browsers_to_be_careful(world: World) -> None:
    asked: list[tuple[str, str, int]] = [
        ("GET", "/healthz", 200),
        ("GET", "/metrics", 200),
        ("GET", "/openapi.json", 200),
        ("GET", "/docs", 200),
        ("GET", "/static/northing.css", 200),
        ("GET", "/api/v1/sources", 200),
        ("GET", "/api/v1/nothing", 404),
        ("POST", "/api/v1/sources", 422),
        ("POST", "/webhooks/nobody", 404),
        ("GET", "/epics/jira/SHOP-1", 303),
    ]
    for method, path, status in asked:
        answer = await world.api.request(method, path)
        assert answer.status_code == status, path
        assert answer.headers["x-content-type-options"] == "nosniff", path
        assert answer.headers["referrer-policy"] == "no-referrer", path
        policy = answer.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in policy, path
        assert ("unsafe-inline" in policy) == (path == "/docs")
        assert re.findall(r"https?://|\*", policy) == []
        assert "set-cookie" not in answer.headers
        assert "access-control-allow-origin" not in answer.headers


async def test_the_page_of_the_api_loads_from_here_alone(world: World) -> None:
    page = (await world.api.get("/docs")).text
    addresses = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert len(addresses) >= 3
    for address in addresses:
        assert re.match(r"/[^/]", address)
        assert (await world.api.get(address)).status_code == 200


async def test_a_token_is_taken_from_its_header_alone(world: World) -> None:
    """None that ends in a proxy's log, and none that a browser sends by itself from a page of somebody's."""
    del world.api.headers["Authorization"]
    ways: list[dict[str, Any]] = [
        {"params": {"token": ADMIN_TOKEN}},
        {"params": {"access_token": ADMIN_TOKEN}},
        {"cookies": {"token": ADMIN_TOKEN}},
        {"auth": ("anybody", ADMIN_TOKEN)},
        {"auth": (ADMIN_TOKEN, "")},
        {"headers": {"X-Api-Key": ADMIN_TOKEN}},
    ]
    for way in ways:
        auth = way.pop("auth", None)
        request = world.api.build_request("GET", "/api/v1/sources", **way)
        answer = await world.api.send(request, auth=auth)
        assert answer.status_code == 401, way
    page = await world.api.get("/epics/jira/SHOP-1", params={"token": ADMIN_TOKEN})
    assert page.status_code == 303
    header = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
    assert (await world.api.get("/api/v1/sources", headers=header)).status_code == 200


# --- trackers ---------------------------------------------------------------------------------------


async def test_no_source_is_where_a_cloud_tells_its_secrets(world: World) -> None:
    """Neither at its creation nor by a change; a company's private addresses are taken."""
    await world.connect_jira("jira", notices=OFF)
    await world.connect_github("github", notices=OFF, scope={"repositories": ["acme/shop"]})
    for host in (
        *("169.254.169.254", "169.254.1.2:8443", "[fe80::1]", "[fe80::1%25eth0]", "[::ffff:169.254.169.254]"),
        *("0.0.0.0", "[::]", "224.0.0.1", "[ff02::1]"),
    ):
        for scheme in ("http", "https"):
            url = f"{scheme}://{host}/api/v3"
            logins = {
                "jira": evil_login(world.jira),
                "github": {"type": "token", "token": world.host.bot.token},
            }
            for kind, login in logins.items():
                moved = {"base_url": url, "credentials": login}
                made = {**moved, "name": "new", "kind": kind, "scope": {}}
                for method, path, body in (
                    ("POST", "/sources", made),
                    ("PATCH", f"/sources/{kind}", moved),
                ):
                    fields = await world.refused(method, path, body)
                    assert "is an address that no tracker has" in fields["base_url"], (method, kind, url)
    await world.connect_github(
        "inside", base_url="https://10.1.2.3/api/v3", scope={"repositories": ["acme/shop"]}
    )


async def test_a_tracker_that_claims_anothers_tickets_reaches_none_of_them(
    world: World, clock: Clock
) -> None:
    """The same ids, keys and comments, and then it says that all are gone."""
    evil = JiraTracker(JiraSite(clock))
    evil.site.add_project("SHOP", "Shop")
    driver = driver_of(world, "jira")
    ours, theirs = world.site.create("SHOP", "Ours"), evil.site.create("SHOP", "Theirs")
    assert (ours.id, ours.key) == (theirs.id, theirs.key)
    await driver.connect()
    await driver.sync("full")
    async with serve(evil) as url:
        await world.connect_jira("evil", base_url=url, credentials=evil_login(evil), notices={"mode": "off"})
        assert (await world.sync("evil", "full"))["created"] == 1
        evil.site.delete(theirs.key)
        assert (await world.sync("evil", "full"))["deleted"] == 1
    epics = (await world.send("GET", "/epics"))["items"]
    assert [(epic["source"], epic["title"]) for epic in epics] == [("jira", "Ours")]
    assert len(driver.comments(ours.key)) == 1


def evil_login(tracker: JiraTracker) -> dict[str, str]:
    bot = tracker.site.bot
    return {"type": "api_token", "email": bot.email, "token": bot.token}
