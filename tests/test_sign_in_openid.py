"""Sign-in by OpenID Connect: against a provider that can be made to lie, and against a real one."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from cryptography.fernet import Fernet
from fastapi import FastAPI
from joserfc.jwk import ECKey, OctKey
from sqlalchemy import select

from app.auth import pending
from app.auth.authenticator import Authenticator
from app.auth.pending import NotThisBrowser
from app.auth.roles import Role, highest_role
from app.runtime import Runtime
from app.secrets import SecretCipher
from app.server.application import provider_sessions
from app.server.bootstrap import prepare_installation
from app.settings import Settings, WrongSetting, load
from mappings.access.operations import token_hash
from mappings.tables import AuditEntryRow, WebSessionRow
from tests.support.clock import Clock
from tests.support.oidc_provider import CLIENT, ROLES, SECRET, OpenIdProvider, an_openid_provider, at_hash
from tests.support.pages import Visitor, forms_of, visiting, words_of
from tests.support.world import ADMIN_TOKEN

NOW = datetime(2026, 11, 29, 9, tzinfo=UTC)

# --- what is decided without a call ---------------------------------------------------------------


def test_what_comes_back_is_of_this_browser_and_of_the_last_minutes() -> None:
    begun = pending.begin("/epics?a=ä", NOW)
    again = pending.continued(begun.state, begun.cookie, NOW + timedelta(minutes=15))
    assert (again, again.to) == (begun, "/epics?a=ä")
    assert len({begun.state, begun.nonce, begun.verifier, begun.secret}) == 4
    assert begun.secret not in begun.state + begun.nonce + begun.verifier
    secret, at, to = begun.cookie.split(".")
    other = pending.begin("/", NOW)
    wrong = [
        (begun.state, begun.cookie, timedelta(minutes=16)),
        (begun.state, begun.cookie, timedelta(minutes=-2)),
        (begun.state, other.cookie, timedelta()),
        (other.state, begun.cookie, timedelta()),
        (begun.state, "", timedelta()),
        (begun.state, f"{secret}.{int(at) + 1}.{to}", timedelta()),
        (begun.state, f"{secret}.{at}.Ly9ldmls", timedelta()),
        (begun.state, f"{secret}.{at}._", timedelta()),
        (f"{begun.id}.{'0' * 64}", begun.cookie, timedelta()),
        ("", begun.cookie, timedelta()),
        ("ä" * 20, begun.cookie, timedelta()),
    ]
    for state, cookie, later in wrong:
        with pytest.raises(NotThisBrowser):
            pending.continued(state, cookie, NOW + later)


def test_the_role_is_the_highest_that_a_group_gives() -> None:
    roles: dict[str, Role] = {"a": "viewer", "b": "admin", "c": "editor"}
    assert [highest_role(roles, groups) for groups in ("", "x", "a", "ac", "cba")] == [
        *(None, None, "viewer", "editor", "admin")
    ]


@pytest.mark.parametrize(
    ("text", "roles"),
    [
        ("staff:viewer", {"staff": "viewer"}),
        (" staff:viewer , acme:leads:admin ", {"staff": "viewer", "acme:leads": "admin"}),
        ("cn=a,ou=b:editor,/c d:viewer", {"cn=a,ou=b": "editor", "/c d": "viewer"}),
    ],
)
def test_groups_are_named_with_their_roles(text: str, roles: dict[str, str]) -> None:
    assert openid_settings(oidc_roles=text).oidc_roles == roles


def openid_settings(**changes: Any) -> Settings:
    values = {
        "oidc_issuer": "https://login.example.com/realms/acme",
        "oidc_client_id": CLIENT,
        "oidc_client_secret": SECRET,
        "oidc_roles": "staff:viewer",
        **changes,
    }
    return load(_env_file=None, **{name: value for name, value in values.items() if value is not None})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        *(({f"oidc_{name}": None}, f"NORTHING_OIDC_{name.upper()} is missing") for name in
          ("issuer", "client_id", "client_secret", "roles")),
        ({"oidc_issuer": "http://login.example.com"}, "NORTHING_OIDC_ISSUER must start with https://"),
        ({"oidc_issuer": "login.example.com"}, "NORTHING_OIDC_ISSUER must be the provider's address"),
        ({"oidc_issuer": "https://a:b@login.example.com"}, "NORTHING_OIDC_ISSUER must be"),
        ({"oidc_roles": "staff"}, "NORTHING_OIDC_ROLES must be group:role pairs"),
        ({"oidc_roles": "staff:owner"}, "NORTHING_OIDC_ROLES must be group:role pairs"),
        ({"oidc_roles": "staff:vewer,b:admin"}, "NORTHING_OIDC_ROLES must be group:role pairs"),
        ({"oidc_roles": "a:viewer,a:admin"}, "NORTHING_OIDC_ROLES names the group 'a' twice"),
        ({"oidc_roles": "cn=a,ou=b"}, "NORTHING_OIDC_ROLES ends with a group that has no role"),
        ({"oidc_client_secret": "x\n"}, "NORTHING_OIDC_CLIENT_SECRET"),
    ],
)  # fmt: skip
def test_a_half_or_wrong_setting_stops_the_start_with_one_line(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(WrongSetting) as wrong:
        openid_settings(**changes)
    assert str(wrong.value).startswith(words)
    assert "\n" not in str(wrong.value)
    assert SECRET not in str(wrong.value)


def test_a_start_prints_no_warning_of_the_library() -> None:
    """Of Authlib only what makes no calls is used, so it does not matter which httpx it would take."""
    program = (
        "import sys, app.server.application; "
        "sys.exit(any(name.startswith('authlib.integrations') for name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# --- the way in -------------------------------------------------------------------------------------


@pytest.fixture
async def provider(clock: Clock) -> AsyncIterator[OpenIdProvider]:
    async with an_openid_provider(clock) as made:
        yield made


@pytest.fixture
def openid(application: FastAPI, runtime: Runtime, provider: OpenIdProvider) -> Runtime:
    return use(application, runtime, issuer=provider.issuer)


def use(application: FastAPI, runtime: Runtime, *, issuer: str, **changes: Any) -> Runtime:
    """The application as started with these settings."""
    settings = openid_settings(oidc_issuer=issuer).model_copy(
        update={
            **runtime.settings.model_dump(include={"database_url", "secret_key", "public_url", "data_dir"}),
            "oidc_roles": ROLES,
            **changes,
        }
    )
    made = replace(runtime, settings=settings)
    application.state.runtime = made
    application.state.authenticator = Authenticator(token_hash(ADMIN_TOKEN))
    application.state.provider_sessions = provider_sessions(made)
    return made


@pytest.fixture
async def visitor(application: FastAPI) -> AsyncIterator[Visitor]:
    async with visiting(application) as somebody:
        yield somebody


async def begin(visitor: Visitor, next: str = "/") -> str:
    """Where the browser is led to."""
    answer = await visitor.http.get("/login/oidc", params={"next": next})
    assert answer.status_code == 303, words_of(answer.text)
    return answer.headers["location"]


async def come_back(visitor: Visitor, query: str) -> httpx.Response:
    return await visitor.http.get(f"/login/oidc/callback?{query}")


async def sign_in(visitor: Visitor, provider: OpenIdProvider, next: str = "/") -> httpx.Response:
    return await come_back(visitor, provider.approve(await begin(visitor, next)))


async def rows(runtime: Runtime, table: type[Any]) -> list[Any]:
    async with runtime.sessions() as session:
        return list(await session.scalars(select(table)))


def is_signed_in(visitor: Visitor) -> bool:
    return "northing_session" in visitor.http.cookies


async def test_a_person_signs_in_and_the_audit_log_tells_them_apart(
    openid: Runtime, visitor: Visitor, provider: OpenIdProvider
) -> None:
    page = await visitor.get("/login?next=/rules")
    assert f"Go on with {urlsplit(provider.issuer).netloc}" in words_of(page)
    assert 'href="/login/oidc?next=/rules"' in page
    location = await begin(visitor, "/tokens?delete=1")
    assert parse_qs(urlsplit(location).query)["redirect_uri"] == ["http://127.0.0.1:8000/login/oidc/callback"]
    answer = await come_back(visitor, provider.approve(location))
    assert (answer.status_code, answer.headers["location"]) == (303, "/tokens?delete=1")
    (session,) = [one for one in answer.headers.get_list("set-cookie") if one.startswith("northing_session=")]
    assert {"HttpOnly", "SameSite=lax", "Path=/"} <= set(session.split("; "))
    assert "Ada Lovelace" in words_of(await visitor.get("/"))
    await visitor.get("/tokens", expect=403)
    (row,) = await rows(openid, WebSessionRow)
    assert (row.person, row.name, row.role) == ("p-1", "Ada Lovelace", "editor")
    assert not [part for part in (b"refresh", SECRET.encode()) if part in (row.grant or b"")]
    assert visitor.http.cookies["northing_session"].encode() not in row.hash

    provider.person = {"sub": "p-2", "name": "Ada Lovelace", "groups": ["northing:admins"]}
    await visitor.send("/", to="/logout")
    await sign_in(visitor, provider)
    await visitor.send("/tokens", {"do": "make", "name": "ci", "role": "viewer"}, expect=201)
    (entry,) = await rows(openid, AuditEntryRow)
    assert entry.who == "Ada Lovelace (person p-2)"


HOSTILE: dict[str, dict[str, Any]] = {
    "another nonce": {"claims": {"nonce": "x"}},
    "no nonce": {"claims": {"nonce": None}},
    "another audience": {"claims": {"aud": "another"}},
    "another audience for us": {"claims": {"aud": "another", "azp": CLIENT}},
    "two audiences and no party": {"claims": {"aud": [CLIENT, "another"]}},
    "for another party": {"claims": {"aud": [CLIENT, "another"], "azp": "another"}},
    "over": {"claims": {"exp": 1}},
    "without an end": {"claims": {"exp": None}},
    "not yet": {"claims": {"nbf": 32503680000}},
    "another issuer": {"claims": {"iss": "https://evil.example"}},
    "no issuer": {"claims": {"iss": None}},
    "no person": {"claims": {"sub": None}},
    "an empty person": {"claims": {"sub": ""}, "userinfo": {"sub": ""}},
    "a person as a number": {"claims": {"sub": 1}, "userinfo": {"sub": 1}},
    "the hash of another token": {"claims": {"at_hash": at_hash("another")}},
    "no signature": {"algorithm": "none"},
    "signed with the client's secret": {
        "algorithm": "HS256",
        "key": OctKey.import_key(SECRET, {"kid": "1"}),
    },
    "another key": {"published": [ECKey.generate_key("P-256", {"kid": "1"})]},
    "an unknown key": {"published": [ECKey.generate_key("P-256", {"kid": "2"})]},
    "no ID token": {"tokens": {"id_token": None}},
    "no JWT": {"tokens": {"id_token": "a.b.c"}},
    "another person's details": {"userinfo": {"sub": "p-2"}},
}


async def test_no_answer_that_fails_a_check_signs_anybody_in(
    application: FastAPI, openid: Runtime, visitor: Visitor, provider: OpenIdProvider, clock: Clock
) -> None:
    right = {name: getattr(provider, name) for change in HOSTILE.values() for name in change}
    for words, change in HOSTILE.items():
        vars(provider).update({**right, **change})
        use(application, openid, issuer=provider.issuer)  # which knows no key yet
        answer = await sign_in(visitor, provider)
        assert answer.status_code == 400, words
        assert "Try again" in words_of(answer.text), words
        assert not is_signed_in(visitor), words
    vars(provider).update(right)
    use(application, openid, issuer=provider.issuer)
    assert (await sign_in(visitor, provider)).status_code == 303
    assert len(await rows(openid, WebSessionRow)) == 1


@pytest.mark.parametrize("id", ["2", "1"])
async def test_a_key_that_is_new_at_the_provider_is_fetched_and_an_unknown_one_not_each_time(
    openid: Runtime, visitor: Visitor, provider: OpenIdProvider, clock: Clock, id: str
) -> None:
    """The new key may have the id of the one before, or none, as where a provider has but one."""
    assert (await sign_in(visitor, provider)).status_code == 303
    provider.key = ECKey.generate_key("P-256", {"kid": id})
    await visitor.send("/", to="/logout")
    assert (await sign_in(visitor, provider)).status_code == 303
    assert provider.calls.count("/keys") == 2
    provider.key = ECKey.generate_key("P-256", {"kid": "3"})
    await visitor.send("/", to="/logout")
    assert (await sign_in(visitor, provider)).status_code == 400
    assert provider.calls.count("/keys") == 2
    clock.advance(seconds=5)
    assert (await sign_in(visitor, provider)).status_code == 303


async def test_an_answer_is_taken_by_the_browser_that_asked_and_once(
    application: FastAPI, openid: Runtime, visitor: Visitor, provider: OpenIdProvider, clock: Clock
) -> None:
    query = provider.approve(await begin(visitor))
    async with visiting(application) as another:
        answer = await come_back(another, query)  # an attacker's link, in the browser of somebody else
        assert answer.status_code == 400
        assert "not begun in this browser" in words_of(answer.text)
        state = parse_qs(query)["state"][0]
        theirs = parse_qs(provider.approve(await begin(another)))
        mixed = await come_back(another, f"state={state}&code={theirs['code'][0]}")
        assert mixed.status_code == 400
        assert not is_signed_in(another)
    for broken in ("", "state=x", "code=x", f"state={state}", f"state={state}&state=x&code=y"):
        async with visiting(application) as another:
            assert (await come_back(another, broken)).status_code == 400
    assert (await come_back(visitor, query)).status_code == 303
    reloaded = await come_back(visitor, query)
    assert (reloaded.status_code, reloaded.headers["location"]) == (303, "/")
    visitor.http.cookies.delete("northing_session")
    assert (await come_back(visitor, query)).status_code == 400
    late = provider.approve(await begin(visitor))
    clock.advance(minutes=16)
    assert (await come_back(visitor, late)).status_code == 400
    assert not is_signed_in(visitor)


async def test_a_code_of_another_sign_in_does_not_fit(
    openid: Runtime, visitor: Visitor, provider: OpenIdProvider
) -> None:
    """The code that somebody took from another browser: its challenge has no verifier here."""
    mine, theirs = await begin(visitor), provider.approve(await begin(visitor))
    state = parse_qs(urlsplit(mine).query)["state"][0]
    answer = await come_back(visitor, f"state={state}&code={parse_qs(theirs)['code'][0]}")
    assert answer.status_code == 403
    assert "is over or was used" in words_of(answer.text)


async def test_two_tabs_and_a_restart_in_between(
    application: FastAPI, openid: Runtime, visitor: Visitor, provider: OpenIdProvider
) -> None:
    first, second = await begin(visitor, "/rules"), await begin(visitor, "/goals")
    use(application, openid, issuer=provider.issuer)
    for location, to in ((second, "/goals"), (first, "/rules")):
        answer = await come_back(visitor, provider.approve(location))
        assert (answer.status_code, answer.headers["location"]) == (303, to)
    assert len(await rows(openid, WebSessionRow)) == 1  # the second took the place of the first
    assert [name for name in visitor.http.cookies if name.startswith("northing_oidc")] == []


async def test_behind_a_proxy_below_a_path(
    application: FastAPI, runtime: Runtime, provider: OpenIdProvider
) -> None:
    use(application, runtime, issuer=provider.issuer, public_url="https://tools.example.com/northing")
    async with visiting(application, "http://10.0.0.1:8000") as visitor:
        begun = await visitor.http.get("/northing/login/oidc?next=/rules")
        cookie = begun.headers["set-cookie"]
        assert {"Secure", "HttpOnly", "SameSite=lax", "Path=/northing/login/oidc/callback"} <= set(
            cookie.split("; ")
        )
        (code,) = parse_qs(urlsplit(begun.headers["location"]).query)["redirect_uri"]
        assert code == "https://tools.example.com/northing/login/oidc/callback"
        query = provider.approve(begun.headers["location"])
        header = {"Cookie": cookie.partition(";")[0]}
        ended = await visitor.http.get(f"/northing/login/oidc/callback?{query}", headers=header)
        assert ended.headers["location"] == "/northing/rules"
        (session,) = [s for s in ended.headers.get_list("set-cookie") if s.startswith("northing_session=")]
        assert {"Secure", "Path=/northing"} <= set(session.split("; "))
        lost = await visitor.http.get(f"/login/oidc/callback?{query}")
        assert 'href="/northing/login/oidc?next=/"' in lost.text


async def test_the_provider_says_no_and_another_one_answers(
    openid: Runtime, visitor: Visitor, provider: OpenIdProvider
) -> None:
    state = parse_qs(urlsplit(await begin(visitor, "/rules")).query)["state"][0]
    evil = "%3Cscript%3E"
    refused = await come_back(visitor, f"state={state}&error=access_denied{evil}&error_description=x")
    assert refused.status_code == 403
    assert "did not let you in: access_denied" in words_of(refused.text)
    assert "<script>" not in refused.text
    assert 'href="/login/oidc?next=/rules"' in refused.text
    for iss in ("https%3A%2F%2Fevil.example", "x"):
        answer = await come_back(visitor, f"{provider.approve(await begin(visitor))}&iss={iss}")
        assert "does not come from" in words_of(answer.text)
    right = f"{provider.approve(await begin(visitor))}&iss={provider.issuer}"
    assert (await come_back(visitor, right)).status_code == 303


@pytest.mark.parametrize("next", ["https://evil.example", "//evil.example", "/\\evil.example", "%09//x"])
async def test_the_way_back_stays_on_this_host(
    openid: Runtime, visitor: Visitor, provider: OpenIdProvider, next: str
) -> None:
    assert (await sign_in(visitor, provider, next)).headers["location"] == "/"


async def test_without_a_group_there_is_no_right(
    openid: Runtime, visitor: Visitor, provider: OpenIdProvider
) -> None:
    for groups in (["others"], [], None, "others", [1, {}], {"staff": True}):
        provider.person["groups"] = groups
        answer = await sign_in(visitor, provider)
        assert answer.status_code == 403, groups
        assert "none of your groups has a right here. Ask an admin" in words_of(answer.text)
        assert not is_signed_in(visitor)
    provider.person |= {"groups": None, "name": " ", "preferred_username": "<b>ada</b>"}
    provider.userinfo = {"roles": ["staff"]}
    assert (await sign_in(visitor, provider)).status_code == 303
    assert "&lt;b&gt;ada&lt;/b&gt;" in await visitor.get("/")


AWAY: dict[str, dict[str, Any]] = {
    "the description is missing": {"statuses": {"/.well-known/openid-configuration": 404}},
    "the description is no JSON": {"bodies": {"/.well-known/openid-configuration": b"<html>"}},
    "the description is a list": {"bodies": {"/.well-known/openid-configuration": b"[]"}},
    "the description is endless": {
        "bodies": {"/.well-known/openid-configuration": b'"' + b"x" * 2_000_000 + b'"'}
    },
    "another issuer's description": {"metadata": {"issuer": "https://evil.example"}},
    "a token endpoint elsewhere": {"metadata": {"token_endpoint": "http://10.0.0.1/token"}},
    "no authorization endpoint": {"metadata": {"authorization_endpoint": None}},
    "the token endpoint is broken": {"statuses": {"/token": 500}},
    "the token endpoint is busy": {"statuses": {"/token": 429}},
    "the token endpoint says nothing": {"bodies": {"/token": b"[]"}},
    "the client is unknown": {"bodies": {"/token": b'{"error": "invalid_client"}'}},
    "the keys are missing": {"statuses": {"/keys": 500}},
    "the details are missing": {"statuses": {"/userinfo": 502}},
}


async def test_a_provider_that_is_away_or_wrong_is_said_and_can_be_tried_again(
    application: FastAPI, openid: Runtime, visitor: Visitor, provider: OpenIdProvider
) -> None:
    for words, change in AWAY.items():
        use(application, openid, issuer=provider.issuer)
        right = {name: getattr(provider, name) for name in change}
        vars(provider).update(change)
        answer = await visitor.http.get("/login/oidc?next=/rules")
        if answer.status_code == 303:
            answer = await come_back(visitor, provider.approve(answer.headers["location"]))
        vars(provider).update(right)
        assert answer.status_code == 503, words
        assert "does not answer as it should" in words_of(answer.text), words
        assert {'href="/login/oidc?next=/rules"', 'href="/login?next=/rules"'} <= set(
            re.findall(r'href="/login[^"]*"', answer.text)
        ), words
    use(application, openid, issuer="http://127.0.0.1:9")
    assert (await visitor.http.get("/login/oidc")).status_code == 503
    await visitor.sign_in()  # with a token, all the same


async def test_failed_sign_ins_are_counted_by_address_with_the_tokens_guessed(
    openid: Runtime, visitor: Visitor, provider: OpenIdProvider, clock: Clock
) -> None:
    for _ in range(10):
        state = parse_qs(urlsplit(await begin(visitor)).query)["state"][0]
        assert (await come_back(visitor, f"state={state}&code=guessed")).status_code == 403
    calls = len(provider.calls)
    answer = await sign_in(visitor, provider)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "60")
    assert "try again in 60 s" in words_of(answer.text)
    assert len(provider.calls) == calls
    (form,) = forms_of(await visitor.get("/login"))
    refused = await visitor.http.post("/login", data={**form.fields, "token": "x"})
    assert refused.status_code == 429
    assert "try again in 60 s" in words_of(refused.text)
    clock.advance(minutes=1)
    assert (await sign_in(visitor, provider)).status_code == 303


async def test_the_session_is_a_new_one_whatever_the_browser_brings(
    openid: Runtime, visitor: Visitor, provider: OpenIdProvider
) -> None:
    visitor.http.cookies.set("northing_session", "chosen-by-somebody", "127.0.0.1")
    await sign_in(visitor, provider)
    first = visitor.http.cookies["northing_session"]
    assert first != "chosen-by-somebody"
    visitor.http.cookies.clear()
    visitor.http.cookies.set("northing_session", first)
    await visitor.get("/")


# --- afterwards ---------------------------------------------------------------------------------------


async def test_a_role_follows_the_groups_and_a_session_ends_with_the_last(
    openid: Runtime, visitor: Visitor, provider: OpenIdProvider, clock: Clock
) -> None:
    await sign_in(visitor, provider)
    provider.person["groups"] = ["northing:admins", "staff"]
    clock.advance(minutes=4)
    calls = len(provider.calls)
    await visitor.get("/tokens", expect=403)
    assert len(provider.calls) == calls  # not yet asked again
    clock.advance(minutes=1)
    await asyncio.gather(*(visitor.get("/tokens") for _ in range(5)))
    assert provider.calls[calls:] == ["/token", "/userinfo"]  # once for all five
    provider.person["groups"] = ["staff"]
    clock.advance(minutes=5)
    await visitor.get("/tokens", expect=403)
    provider.person["groups"] = ["others"]
    await visitor.get("/")
    clock.advance(minutes=5)
    answer = await visitor.http.get("/audit-log")
    assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=%2Faudit-log")
    assert await rows(openid, WebSessionRow) == []


@pytest.mark.parametrize("refreshes", [True, False])
async def test_a_revoked_grant_ends_the_session(
    openid: Runtime, visitor: Visitor, provider: OpenIdProvider, clock: Clock, refreshes: bool
) -> None:
    if not refreshes:
        provider.tokens = {"refresh_token": None}
    await sign_in(visitor, provider)
    clock.advance(minutes=5)
    await visitor.get("/")
    provider.revoked = True
    clock.advance(minutes=5)
    await visitor.get("/", expect=303)


async def test_an_answer_for_another_person_ends_the_session(
    openid: Runtime, visitor: Visitor, provider: OpenIdProvider, clock: Clock
) -> None:
    await sign_in(visitor, provider)
    provider.person["sub"] = "p-2"
    clock.advance(minutes=5)
    await visitor.get("/", expect=303)


async def test_while_the_provider_is_away_a_session_goes_on_for_half_an_hour(
    openid: Runtime, visitor: Visitor, provider: OpenIdProvider, clock: Clock
) -> None:
    await sign_in(visitor, provider)
    provider.statuses = {"/token": 503}
    for _ in range(5):
        clock.advance(minutes=5)
        await visitor.get("/")
    provider.statuses = {}
    clock.advance(minutes=4)
    await visitor.get("/")  # asked a minute ago or less: not yet again
    clock.advance(minutes=1)
    await visitor.get("/")
    provider.statuses = {"/token": 503}
    clock.advance(minutes=29)
    await visitor.get("/")
    clock.advance(minutes=5)
    await visitor.get("/", expect=303)


async def test_without_the_settings_such_sessions_end_and_nothing_is_offered(
    application: FastAPI, runtime: Runtime, openid: Runtime, visitor: Visitor, provider: OpenIdProvider
) -> None:
    await sign_in(visitor, provider)
    application.state.runtime = runtime
    application.state.provider_sessions = provider_sessions(runtime)
    await visitor.get("/", expect=303)
    assert "oidc" not in await visitor.get("/login")
    for path in ("/login/oidc", "/login/oidc/callback?state=x&code=y"):
        assert "Sign in with a token" in words_of(await visitor.get(path, expect=404))


async def test_a_grant_is_sealed_for_its_session_and_with_the_first_key(
    application: FastAPI, openid: Runtime, visitor: Visitor, provider: OpenIdProvider, clock: Clock
) -> None:
    await sign_in(visitor, provider)
    (before,) = await rows(openid, WebSessionRow)
    old = openid.settings.secret_key[0].get_secret_value()
    new = Fernet.generate_key().decode()
    rotated = replace(openid, cipher=SecretCipher([new, old]))
    await prepare_installation(rotated)
    (after,) = await rows(openid, WebSessionRow)
    assert before.grant != after.grant
    Fernet(new).decrypt(after.grant or b"")
    application.state.runtime = rotated
    clock.advance(minutes=5)
    await visitor.get("/")

    async with openid.sessions.begin() as session:  # put into another session by whoever may write here
        row = await session.get_one(WebSessionRow, after.id)
        row.hash = token_hash("another")
    visitor.http.cookies.set("northing_session", "another")
    clock.advance(minutes=5)
    await visitor.get("/", expect=303)
    visitor.http.cookies.clear()
    await sign_in(visitor, provider)
    async with openid.sessions.begin() as session:
        row = (await rows(openid, WebSessionRow))[0]
        (await session.get_one(WebSessionRow, row.id)).grant = Fernet(Fernet.generate_key()).encrypt(b"{}")
    await prepare_installation(rotated)
    assert await rows(openid, WebSessionRow) == []


# --- a real provider ----------------------------------------------------------------------------------


async def test_the_whole_way_with_a_provider_of_another_making(
    application: FastAPI, runtime: Runtime, visitor: Visitor, clock: Clock
) -> None:
    clock.now = datetime.now(UTC)
    log_read, log_write = os.pipe()
    provider = subprocess.Popen(
        [
            sys.executable,
            "-W",
            "ignore",
            "-m",
            "oidc_provider_mock",
            "--port",
            "0",
            "--require-nonce",
            "true",
        ],
        stdout=log_write,
        stderr=subprocess.STDOUT,
    )
    os.close(log_write)
    try:
        with os.fdopen(log_read) as log:
            line = ""
            while "http://" not in line:
                line = await asyncio.to_thread(log.readline)
                assert line, "the provider did not start"
            issuer = re.search(r"http://[0-9.:]+", line)
            assert issuer is not None
            use(application, runtime, issuer=issuer[0])
            async with httpx.AsyncClient(base_url=issuer[0]) as browser:
                await browser.put("/users/ada", json={"name": "Ada", "groups": ["staff"]})
                agreed = await browser.post(await begin(visitor, "/rules"), data={"sub": "ada"})
                answer = await come_back(visitor, urlsplit(agreed.headers["location"]).query)
                assert answer.headers["location"] == "/rules", words_of(answer.text)
                assert "Ada" in await visitor.get("/")
                clock.now += timedelta(minutes=5)
                await visitor.get("/")
                await browser.post("/users/ada/revoke-tokens")
                clock.now += timedelta(minutes=5)
                await visitor.get("/", expect=303)
    finally:
        provider.terminate()
        await asyncio.to_thread(provider.wait)
