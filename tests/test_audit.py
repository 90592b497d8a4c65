"""The audit log: one row and more for every change by somebody, none for any other, and no secret in it."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import httpx
import psycopg
import pytest
from psycopg import sql
from sqlalchemy import select

from app.api.audit_log import What
from app.runtime import Runtime
from mappings.audit import TABLES, set_actor
from mappings.tables import (
    AuditEntryRow,
    DeliveryRow,
    FindingRow,
    HeldRemovalRow,
    NoticeRow,
    ObjectiveRow,
    RunRow,
    SourceRow,
    TokenRow,
)
from tests.support.clock import Clock
from tests.support.goals_api import Q4
from tests.support.queries import every_row
from tests.support.world import ADMIN_TOKEN, World

pytestmark = pytest.mark.database

SECRETS = ["tok-3f1b6d0c9a", "tok-5a7c2e4f1b", "hook-8e2a4c7d5b-secret", "hook-1b3d5f7a9c-secret"]
SHOP_1 = {"source": "jira", "key": "SHOP-1"}
RULE = {"name": "Checkout", "when": {"label": ["checkout"]}, "key_result": "KR-1", "priority": 10}
ANN = {"name": "Ann", "side": "business"}
SIGNED_IN = {"type": "api_token", "email": "bot@acme.example"}

# Every operation that changes something, in an order in which each finds what it needs: how it is called,
# the path below /api/v1, the body, and what the log then says first (a run's id depends on those before).
Change = tuple[str, str, str, Any, tuple[str, str, str | None]]
CHANGES: list[Change] = [
    ("POST", "/cycles", "/cycles", Q4, ("created", "cycle", "2026-Q4")),
    ("PATCH", "/cycles/{key}", "/cycles/2026-q4", {"title": "Q4"}, ("changed", "cycle", "2026-Q4")),
    ("POST", "/objectives", "/objectives", {"title": "Grow"}, ("created", "objective", "O-1")),
    ("PATCH", "/objectives/{key}", "/objectives/o-1", {"cycle": "2026-Q4"}, ("changed", "objective", "O-1")),
    (
        *("POST", "/objectives/{key}/key-results", "/objectives/O-1/key-results"),
        *({"title": "Conversion"}, ("created", "key_result", "KR-1")),
    ),
    (
        *("PATCH", "/key-results/{key}", "/key-results/KR-1"),
        *({"metric": {"baseline": 1, "target": 9}}, ("changed", "key_result", "KR-1")),
    ),
    (
        *("POST", "/key-results/{key}/check-ins", "/key-results/KR-1/check-ins"),
        *({"value": 3, "confidence": 0.5}, ("created", "check_in", "KR-1")),
    ),
    (
        *("POST", "/key-results/{key}/agreements", "/key-results/kr-1/agreements"),
        *({"side": "it", "name": "Ann"}, ("created", "agreement", "KR-1")),
    ),
    (
        *("POST", "/import/objectives", "/import/objectives", "key,title\nO-1,Grow more\n"),
        ("changed", "objective", "O-1"),
    ),
    (
        *("POST", "/import/key-results", "/import/key-results", "key,title\nKR-1,Conversions\n"),
        ("changed", "key_result", "KR-1"),
    ),
    ("POST", "/rules", "/rules", RULE, ("created", "rule", "Checkout")),
    ("POST", "/rules", "/rules", RULE | {"name": "Second"}, ("created", "rule", "Second")),
    ("PUT", "/rules/order", "/rules/order", {"order": [2, 1]}, ("changed", "rule", "Second")),
    ("DELETE", "/rules/{id}", "/rules/2", None, ("deleted", "rule", "Second")),
    ("POST", "/notices/approve", "/notices/approve", {"ids": [1]}, ("approved", "notices", "by id")),
    ("POST", "/notices/withdraw", "/notices/withdraw", {"ids": [1]}, ("withdrawn", "notices", "by id")),
    ("PATCH", "/rules/{id}", "/rules/1", {"enabled": False}, ("changed", "rule", "Checkout")),
    ("DELETE", "/rules/{id}", "/rules/1", None, ("deleted", "rule", "Checkout")),
    (
        *("POST", "/links", "/links", {"epic": SHOP_1, "key_result": "KR-1", "primary": True}),
        ("created", "link", "jira/SHOP-1 -> KR-1"),
    ),
    (
        *("POST", "/import/links", "/import/links", "source,epic,key_result,weight\njira,SHOP-1,KR-1,2\n"),
        ("changed", "link", "jira/SHOP-1 -> KR-1"),
    ),
    ("DELETE", "/links/{id}", "/links/1", None, ("deleted", "link", "jira/SHOP-1 -> KR-1")),
    (
        *("POST", "/links/bulk", "/links/bulk", {"links": [{"epic": SHOP_1, "key_result": "KR-1"}]}),
        ("created", "link", "jira/SHOP-1 -> KR-1"),
    ),
    ("DELETE", "/links/{id}", "/links/2", None, ("deleted", "link", "jira/SHOP-1 -> KR-1")),
    (
        *("POST", "/findings/{id}/waive", "/findings/1/waive", {"until": "2026-12-31", "reason": "Law"}),
        ("changed", "finding", "jira/SHOP-1 no-key-result"),
    ),
    (
        *("POST", "/findings/{id}/snooze", "/findings/1/snooze", {"until": "2026-12-31"}),
        ("changed", "finding", "jira/SHOP-1 no-key-result"),
    ),
    (
        *("POST", "/findings/{id}/reopen", "/findings/1/reopen", None),
        ("changed", "finding", "jira/SHOP-1 no-key-result"),
    ),
    (
        *("POST", "/findings/{id}/uphold", "/findings/2/uphold", None),
        ("changed", "finding", "jira no-projects"),
    ),
    (
        *("POST", "/findings/{id}/dismiss", "/findings/3/dismiss", {"reason": "Law"}),
        ("changed", "finding", "jira no-webhooks"),
    ),
    *(
        (
            *(method, "/epics/{source}/{key}/suggestions/{key_result}/reject"),
            *("/epics/jira/SHOP-1/suggestions/kr-1/reject", None),
            (action, "rejection", "jira/SHOP-1 -> KR-1"),
        )
        for method, action in (("POST", "created"), ("DELETE", "deleted"))
    ),
    (
        *("PUT", "/criteria", "/criteria", [{"key": "VALUE", "title": "Worth", "weight": 1}]),
        ("created", "criterion", "VALUE"),
    ),
    *(
        (
            *("PUT", "/epics/{source}/{key}/scores", "/epics/jira/SHOP-1/scores", {"VALUE": score}),
            (action, "score", "jira/SHOP-1 VALUE"),
        )
        for score, action in ((3, "created"), (4, "changed"), (None, "deleted"))
    ),
    (
        *("POST", "/conflicts", "/conflicts"),
        {"epic": {"source": "jira", "key": "SHOP-1"}, "technical": "Not before March", "business": "Now"},
        ("created", "conflict", "jira/SHOP-1"),
    ),
    (
        "PATCH",
        "/conflicts/{id}",
        "/conflicts/1",
        {"business": "Soon"},
        ("changed", "conflict", "jira/SHOP-1"),
    ),
    ("DELETE", "/conflicts/{id}", "/conflicts/1", None, ("deleted", "conflict", "jira/SHOP-1")),
    (
        *("PUT", "/epics/{source}/{key}/value", "/epics/jira/SHOP-1/value"),
        {"answer": "Fewer baskets are left."},
        ("created", "value", "jira/SHOP-1"),
    ),
    (
        *("PUT", "/epics/{source}/{key}/stage", "/epics/jira/SHOP-1/stage", {"stage": "idea"}),
        ("created", "stage", "jira/SHOP-1"),
    ),
    *(
        (
            *("POST", f"{template}/estimates", f"{path}/estimates"),
            {"kind": "planned", "amount": 10, "currency": "EUR", "estimated_by": "cfo"},
            ("created", "estimate", thing),
        )
        for template, path, thing in (
            ("/epics/{source}/{key}", "/epics/jira/SHOP-1", "jira/SHOP-1"),
            ("/key-results/{key}", "/key-results/KR-1", "KR-1"),
        )
    ),
    ("DELETE", "/estimates/{id}", "/estimates/2", None, ("deleted", "estimate", "KR-1")),
    (
        *("POST", "/cycles", "/cycles"),
        Q4 | {"key": "2026-H2", "starts": "2026-07-01"},
        ("created", "cycle", "2026-H2"),
    ),
    (
        *("POST", "/reviews", "/reviews"),
        {"cycle": "2026-H2", "held_on": "2026-11-20", "attendees": [ANN]},
        ("created", "review", "2026-H2 2026-11-20"),
    ),
    (
        *("PATCH", "/reviews/{id}", "/reviews/1", {"attendees": [ANN, {"name": "Bob", "side": "it"}]}),
        ("changed", "review", "2026-H2 2026-11-20"),
    ),
    (
        *("POST", "/reviews/{id}/items", "/reviews/1/items", {"title": "The fair"}),
        ("created", "review_item", "1 The fair"),
    ),
    (
        *("PATCH", "/reviews/{id}/items/{item_id}", "/reviews/1/items/1", {"state": "done"}),
        ("changed", "review_item", None),
    ),
    (
        *("POST", "/reviews/{id}/decisions", "/reviews/1/decisions"),
        {"epic": SHOP_1, "decision": "keep", "reason": "It goes on", "decided_by": [ANN]},
        ("created", "decision", "1"),
    ),
    ("POST", "/decisions/{id}/undo", "/decisions/1/undo", None, ("changed", "decision", "1")),
    (
        *("POST", "/conflicts", "/conflicts"),
        {"epic": SHOP_1, "technical": "Not before March", "business": "Now"},
        ("created", "conflict", "jira/SHOP-1"),
    ),
    (
        *("POST", "/conflicts/{id}/decisions", "/conflicts/2/decisions"),
        {"decision": "keep", "reason": "It goes on", "decided_by": [ANN]},
        ("created", "decision", "2"),
    ),
    (
        *("POST", "/reviews/{id}/close", "/reviews/1/close", None),
        ("changed", "review", "2026-H2 2026-11-20"),
    ),
    ("PUT", "/policy", "/policy", {"grace": "P9D"}, ("changed", "policy", "policy")),
    ("PATCH", "/policy", "/policy", {"grace": "P10D"}, ("changed", "policy", "policy")),
    (
        *("POST", "/tokens", "/tokens", {"name": "reader", "role": "viewer"}),
        ("created", "token", "2 (reader)"),
    ),
    ("DELETE", "/tokens/{id}", "/tokens/2", None, ("deleted", "token", "2 (reader)")),
    (
        *("POST", "/deliveries/{id}/replay", "/deliveries/1/replay", None),
        ("changed", "delivery", "jira 72d3162e"),
    ),
    ("POST", "/runs/{id}/withdraw", "/runs/1/withdraw", None, ("created", "run", None)),
    ("POST", "/sources/{name}/sync", "/sources/jira/sync", {"mode": "full"}, ("created", "run", None)),
    (
        *("POST", "/runs/{id}/accept-removals", "/runs/2/accept-removals", None),
        ("changed", "run", None),
    ),
    (
        *("POST", "/sources", "/sources"),
        {
            "name": "other",
            "kind": "jira",
            "base_url": "http://127.0.0.1:9",
            "credentials": {**SIGNED_IN, "token": SECRETS[0]},
            "webhook_secret": SECRETS[2],
        },
        ("created", "source", "other"),
    ),
    (
        *("PATCH", "/sources/{name}", "/sources/other"),
        {"credentials": {**SIGNED_IN, "token": SECRETS[1]}, "webhook_secret": SECRETS[3]},
        ("changed", "source", "other"),
    ),
    ("DELETE", "/sources/{name}", "/sources/other", None, ("deleted", "source", "other")),
    ("DELETE", "/key-results/{key}", "/key-results/KR-1", None, ("deleted", "key_result", "KR-1")),
    ("DELETE", "/objectives/{key}", "/objectives/O-1", None, ("deleted", "objective", "O-1")),
    ("DELETE", "/cycles/{key}", "/cycles/2026-Q4", None, ("deleted", "cycle", "2026-Q4")),
]


def _sent(body: Any) -> dict[str, Any]:
    """A text is a file."""
    if isinstance(body, str):
        return {"content": body.encode(), "headers": {"Content-Type": "text/csv"}}
    return {"json": body}


async def entries(api: httpx.AsyncClient, **query: Any) -> list[Any]:
    answer = await api.get("/api/v1/audit-log", params={"limit": 500, **query})
    assert answer.status_code == 200, answer.text
    return list(answer.json()["items"])


async def newest(api: httpx.AsyncClient) -> int:
    return max((entry["id"] for entry in await entries(api)), default=0)


async def as_token(api: httpx.AsyncClient, name: str = "ci", role: str = "admin") -> str:
    """From now on the client is this new token; how the log names it."""
    made = (await api.post("/api/v1/tokens", json={"name": name, "role": role})).json()
    api.headers["Authorization"] = f"Bearer {made['token']}"
    return f"token {made['id']} ({name})"


async def an_epic_with_a_gap(world: World) -> None:
    world.site.create("SHOP", "Checkout in two steps")
    await world.connect_jira()
    await world.sync("jira")


async def a_held_notice(runtime: Runtime) -> None:
    async with runtime.sessions.begin() as session:
        source = (await session.scalars(select(SourceRow))).one()
        source.notices = {**source.notices, "mode": "live"}
        notice = (await session.scalars(select(NoticeRow))).one()
        notice.state, notice.reason, notice.guard = "held", "guard", "held"


async def two_disputes(runtime: Runtime) -> None:
    """Of findings that are the second and the third there are."""
    async with runtime.sessions.begin() as session:
        source = (await session.scalars(select(SourceRow))).one()
        members = {"severity": "info", "detail": "", "opened_at": source.created_at}
        for check in ("no-projects", "no-webhooks"):
            session.add(FindingRow(source_id=source.id, check=check, state="disputed", **members))
            await session.flush()


async def a_held_removal(runtime: Runtime) -> None:
    """By a run that is the second there is."""
    async with runtime.sessions.begin() as session:
        source = (await session.scalars(select(SourceRow))).one()
        run = RunRow(source_id=source.id, mode="full", state="partial", tracker=source.tracker)
        run.error = {"code": "drop_guard", "message": "", "what_to_do": ""}
        session.add(run)
        await session.flush()
        session.add(HeldRemovalRow(run_id=run.id, remote_id="1"))


async def a_delivery(runtime: Runtime) -> None:
    async with runtime.sessions.begin() as session:
        source = (await session.scalars(select(SourceRow))).one()
        session.add(
            DeliveryRow(
                source_id=source.id, remote_id="72d3162e", event="issue_updated", body=b"{}", state="failed"
            )
        )


@pytest.fixture
async def prepared(world: World, runtime: Runtime, clock: Clock) -> World:
    clock.now = datetime(2026, 11, 20, 9, tzinfo=UTC)
    await an_epic_with_a_gap(world)
    await a_held_notice(runtime)
    await two_disputes(runtime)
    await a_held_removal(runtime)
    await a_delivery(runtime)
    return world


async def _log(runtime: Runtime) -> str:
    """Every row of the log as text."""
    return str((await every_row(runtime))["audit_log"])


CHANGES_NOTHING = {("POST", "/rules/preview"), ("POST", "/sources/{name}/check")}


async def test_every_operation_that_changes_something_is_in_the_table(api: httpx.AsyncClient) -> None:
    document = (await api.get("/openapi.json")).json()
    changing = {
        (method.upper(), path.removeprefix("/api/v1"))
        for path, item in document["paths"].items()
        if path.startswith("/api/v1")
        for method in item
        if method != "get"
    } - CHANGES_NOTHING
    assert {(method, template) for method, template, *_ in CHANGES} == changing


async def test_every_change_is_written_down_with_who_and_what(prepared: World, runtime: Runtime) -> None:
    api = prepared.api
    who = await as_token(api)
    async with runtime.sessions() as session:
        (token_hash,) = await session.scalars(select(TokenRow.hash))
    for method, template, path, body, reported in CHANGES:
        assert re.fullmatch(re.sub(r"\{[^}]+\}", "[^/]+", template), path)
        before = await newest(api)
        answer = await api.request(method, f"/api/v1{path}", **_sent(body))
        assert answer.is_success, (method, path, answer.text)
        fresh = [entry for entry in await entries(api) if entry["id"] > before]
        assert {entry["who"] for entry in fresh} == {who}, (method, path)
        message = [(entry["action"], entry["what"], entry["key"]) for entry in reversed(fresh)]
        assert message[0][:2] == reported[:2], (method, path, message)
        assert reported[2] in (None, message[0][2]), (method, path, message)
        # Runs that only evaluate what was changed are nobody's.
        kinds = {what for _, what, _ in message}
        assert path.startswith(("/sources", "/runs")) or "run" not in kinds, (method, path)
        for entry in fresh:
            assert (entry["before"] is None) == (entry["action"] in ("created", "approved", "withdrawn"))
            assert (entry["after"] is None) == (entry["action"] == "deleted")
    log = await _log(runtime)
    for secret in (*SECRETS, token_hash.hex(), prepared.site.bot.token, "gAAAA", ADMIN_TOKEN):
        assert secret not in log


async def test_what_fails_leaves_nothing(prepared: World) -> None:
    """Called as above, with one thing wrong: a parameter nobody knows, a body, a version, a key."""
    api = prepared.api
    await as_token(api)
    await prepared.goal()
    await prepared.send("POST", "/cycles", Q4)
    before = await newest(api)
    for method, _, path, body, _ in CHANGES:
        answer = await api.request(method, f"/api/v1{path}?colour=red", json=body)
        assert answer.status_code == 422, (method, path)
    for method, path, body, headers, status in (
        ("POST", "/cycles", Q4, {}, 409),
        ("PATCH", "/objectives/O-1", {"title": "Other"}, {"If-Match": '"99"'}, 412),
        ("PATCH", "/objectives/O-1", {"parent": "O-1"}, {}, 422),
        ("DELETE", "/objectives/O-1", None, {}, 409),
        ("PATCH", "/policy", {"grace": "soon"}, {}, 422),
        ("POST", "/findings/1/waive", {"until": "2020-01-01", "reason": "Law"}, {}, 422),
        ("POST", "/links", {"epic": SHOP_1, "key_result": "KR-404"}, {}, 422),
        ("POST", "/tokens", {"name": "ci", "role": "owner"}, {}, 422),
        ("DELETE", "/tokens/404", None, {}, 404),
        ("POST", "/sources/none/sync", {}, {}, 404),
    ):
        answer = await api.request(method, f"/api/v1{path}", json=body, headers=headers)
        assert answer.status_code == status, (method, path, answer.text)
    assert await newest(api) == before


async def test_what_nobody_may_do_leaves_nothing(prepared: World) -> None:
    api, admin = prepared.api, prepared.api.headers["Authorization"]
    await as_token(api, role="viewer")
    reader = api.headers.pop("Authorization")
    api.headers["Authorization"] = admin
    before = await newest(api)
    for method, _, path, body, _ in CHANGES:
        answer = await api.request(method, f"/api/v1{path}", json=body, headers={"Authorization": reader})
        assert answer.status_code == 403, (method, path)
    assert await newest(api) == before


async def test_a_change_whose_commit_fails_leaves_nothing(api: httpx.AsyncClient, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN IF new.title = 'never' THEN RAISE EXCEPTION 'never'; END IF; RETURN new; END $$"
        )
        connection.execute(
            "CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON cycles"
            " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()"
        )
    assert (await api.post("/api/v1/cycles", json={**Q4, "title": "never"})).status_code == 500
    assert await entries(api) == []
    assert (await api.post("/api/v1/cycles", json=Q4)).status_code == 201
    assert len(await entries(api)) == 1


# --- what an entry says -----------------------------------------------------------------------


async def test_an_entry_says_what_was_and_what_is_by_public_names(prepared: World) -> None:
    api = prepared.api
    for method, _, path, body, _ in CHANGES[:6]:
        assert (await api.request(method, f"/api/v1{path}", json=body)).is_success
    reported = {(entry["action"], entry["key"]): entry for entry in await entries(api)}
    made = reported["created", "2026-Q4"]
    assert (made["who"], made["before"], made["after"]) == ("admin token", None, Q4)
    assert reported["changed", "2026-Q4"]["before"] == {"title": "Fourth quarter"}
    assert reported["changed", "2026-Q4"]["after"] == {"title": "Q4"}
    assert reported["changed", "O-1"]["before"] == {"cycle": None}
    assert reported["changed", "O-1"]["after"] == {"cycle": "2026-Q4"}
    assert reported["created", "KR-1"]["after"]["objective"] == "O-1"
    assert reported["changed", "KR-1"]["before"] == {"baseline": None, "target": None}
    assert reported["changed", "KR-1"]["after"] == {"baseline": 1.0, "target": 9.0}
    assert (await api.delete("/api/v1/key-results/KR-1")).is_success
    gone = (await entries(api, what="key_result"))[0]
    assert gone["before"]["title"] == "Conversion"
    assert gone["after"] is None


async def test_of_a_secret_it_says_only_that_it_changed(prepared: World) -> None:
    api = prepared.api
    for change in ({"webhook_secret": SECRETS[2]}, {"webhook_secret": SECRETS[3]}, {"webhook_secret": None}):
        assert (await api.patch("/api/v1/sources/jira", json=change)).is_success
    third, second, first, made = [
        (entry["before"], entry["after"]) for entry in await entries(api, what="source")
    ]
    assert (made[1]["credentials"], made[1]["webhook_secret"]) == ("set", None)
    assert first == ({"webhook_secret": None}, {"webhook_secret": "set"})
    assert second == ({"webhook_secret": "set"}, {"webhook_secret": "changed"})
    assert third == ({"webhook_secret": "set"}, {"webhook_secret": None})
    # New credentials alone are no new secret.
    body = {"credentials": {**SIGNED_IN, "token": SECRETS[0]}}
    assert (await api.patch("/api/v1/sources/jira", json={"webhook_secret": SECRETS[2]})).is_success
    assert (await api.patch("/api/v1/sources/jira", json=body)).is_success
    (newest_first, *_) = await entries(api, what="source")
    assert newest_first["after"] == {"credentials": "changed"}


async def test_a_primary_link_says_which_one_it_replaced(prepared: World) -> None:
    await prepared.goal("KR-1")
    await prepared.goal("KR-2")
    for key in ("KR-1", "KR-2"):
        await prepared.send("POST", "/links", {"epic": SHOP_1, "key_result": key, "primary": True})
    log = await entries(prepared.api, what="link")
    reported = [(entry["action"], entry["key"], entry["after"]["is_primary"]) for entry in log]
    assert reported == [
        ("created", "jira/SHOP-1 -> KR-2", True),
        ("changed", "jira/SHOP-1 -> KR-1", False),
        ("created", "jira/SHOP-1 -> KR-1", True),
    ]
    primary = {
        link["key_result"]: link["primary"] for link in (await prepared.epic("jira", "SHOP-1"))["links"]
    }
    assert primary == {"KR-1": False, "KR-2": True}


async def test_what_northing_does_by_itself_is_nobodys_change(prepared: World) -> None:
    """A full run over a gap, a closing of it by the ticket, and the evaluation of both."""
    before = await newest(prepared.api)
    prepared.site.edit("SHOP-1", description="Key-Result: KR-1")
    prepared.site.create("SHOP", "Another")
    await prepared.sync("jira", "full")
    assert (await prepared.epic("jira", "SHOP-2"))["findings"]
    fresh = [entry for entry in await entries(prepared.api) if entry["id"] > before]
    assert [(entry["what"], entry["after"]) for entry in fresh] == [
        ("run", {"id": fresh[0]["after"]["id"], "source": "jira", "mode": "full", **NEITHER})
    ]


async def test_a_request_that_changes_nothing_is_no_change(prepared: World) -> None:
    await prepared.goal()
    await prepared.send("POST", "/links", {"epic": SHOP_1, "key_result": "KR-1"})
    await prepared.send("POST", "/sources/jira/sync", {"mode": "full"})
    await prepared.send("PUT", "/policy", {})
    before = await newest(prepared.api)
    await prepared.send("POST", "/links", {"epic": SHOP_1, "key_result": "KR-1"})
    await prepared.send("POST", "/sources/jira/sync", {})
    await prepared.send("PATCH", "/objectives/O-1", {"title": "Objective of KR-1"})
    await prepared.send("PUT", "/policy", await prepared.send("GET", "/policy"))
    assert [entry for entry in await entries(prepared.api) if entry["id"] > before] == []


async def test_a_session_acts_for_whom_it_is_told(runtime: Runtime) -> None:
    who = "jira: Ann (5b10a2) on acme-jira/SHOP-1"
    async with runtime.sessions.begin() as session:
        session.add(ObjectiveRow(key="O-1", title="Nobody's"))
        await session.flush()
        set_actor(session, who)
        session.add(ObjectiveRow(key="O-2", title="Ann's"))
    async with runtime.sessions() as session:
        found = list(await session.scalars(select(AuditEntryRow)))
    assert [(entry.who, entry.key) for entry in found] == [(who, "O-2")]
    assert found[0].after == {
        **dict.fromkeys(("description", "driver", "cycle", "parent", "owner", "sponsor", "public_label")),
        "key": "O-2",
        "title": "Ann's",
        "weight": 1.0,
        "visibility": "internal",
        "state": "active",
    }


NEITHER = {"accepts_run_id": None, "withdraws": None}


# By table, what the log leaves out: what Northing counts, stores or finds out by itself.
LEFT_OUT = {
    "cycle": "id version created_at",
    "objective": "id version created_at",
    "key_result": "id version created_at",
    "check_in": "id created_at",
    "agreement": "id created_at",
    "rule": "id version created_at changed_at last_matched_at",
    "link": "id rule_id why inherited_from created_at",
    "rejection": "rejected_at",
    "finding": "id severity detail opened_at resolved_at by changed_at",
    "source": "id tracker health_state health_message health_what_to_do health_checked_at"
    " children_cursor comments_cursor signature_refused_at named_projects unknown_names unopened_since uuid"
    " unreadable_fields projects_listed_at"
    " version created_at updated_at",
    "policy": "id uuid admin_token_hash signing_key goals_version policy_version created_at",
    "token": "last_used_at created_at",
    "delivery": "id digest action is_form body is_repeat received_at reason attempts error run_id claimed_by"
    " claimed_until ended_at",
    "run": "state due_at seen created updated deleted skipped requests uncounted_requests held evaluates"
    " evaluated_up_to attempts new_comments guard_checked_at notices_mode tracker waiting_until started_at"
    " finished_at error created_at claimed_by claimed_until",
    "value": "answered_by answered_at asked_by question_at version",
    "stage": "changed_by entered_at pilot_began_at version",
    "estimate": "id created_at",
    "criterion": "id created_at",
    "score": "by at",
    "review": "previous_id frozen_at cycle_facts changes coverage objectives epics opened_by closed_at"
    " closed_by version",
    "review_item": "id position kind detail epic_id key_result_id about facts changed_by changed_at",
    "conflict": "raised_by raised_at version",
    "decision": "item_id epic_source epic_key epic_title recorded_by decided_at effects undone_by",
}


def test_every_column_is_recorded_or_left_out_on_purpose() -> None:
    for mapped, table in TABLES.items():
        columns = sorted([*table.columns, *LEFT_OUT[table.what].split()])
        assert columns == sorted(mapped.__mapper__.columns.keys()), table.what


def test_the_api_knows_every_kind_of_thing() -> None:
    assert set(get_args(What)) == {table.what for table in TABLES.values()} | {"notices"}


# --- reading it -------------------------------------------------------------------------------


async def test_it_is_read_newest_first_page_by_page(api: httpx.AsyncClient) -> None:
    for number in range(5):
        assert (await api.post("/api/v1/objectives", json={"title": f"{number}"})).is_success
    pages, query = [], {"limit": "2", "what": "objective"}
    while True:
        page = (await api.get("/api/v1/audit-log", params=query)).json()
        pages.append([entry["key"] for entry in page["items"]])
        if page["next"] is None:
            break
        # One that is added meanwhile is newer than where the walk began, and the filter holds.
        assert (await api.post("/api/v1/objectives", json={"title": "new"})).is_success
        assert (await api.post("/api/v1/cycles", json={**Q4, "key": f"C{len(pages)}"})).is_success
        query = {"limit": "2", "cursor": page["next"]}
    assert pages == [["O-5", "O-4"], ["O-3", "O-2"], ["O-1"]]


async def test_filters(api: httpx.AsyncClient) -> None:
    admin = dict(api.headers)
    who = await as_token(api)
    assert (await api.post("/api/v1/objectives", json={"title": "Mine"})).is_success
    api.headers.update(admin)
    assert (await api.patch("/api/v1/objectives/O-1", json={"title": "Ours"})).is_success
    changed, made, token = await entries(api)
    for query, expected in (
        ({"who": who}, [made]),
        ({"who": "admin token"}, [changed, token]),
        ({"what": "objective"}, [changed, made]),
        ({"what": "cycle"}, []),
        ({"key": "o-1"}, [changed, made]),
        ({"key": "O-1", "who": who}, [made]),
        ({"since": made["at"]}, [changed, made]),
        ({"until": made["at"]}, [token]),
        ({"since": made["at"], "until": changed["at"]}, [made]),
        ({"since": _later(changed["at"])}, []),
    ):
        assert await entries(api, **query) == expected, query
    assert made["at"] < changed["at"]


def _later(at: str) -> str:
    return (datetime.fromisoformat(at) + timedelta(hours=1)).isoformat()


# --- append-only ------------------------------------------------------------------------------

STATEMENTS = [
    "UPDATE audit_log SET who = 'nobody'",
    "UPDATE audit_log SET who = 'nobody' WHERE false",
    "DELETE FROM audit_log",
    "TRUNCATE audit_log",
    "TRUNCATE audit_log RESTART IDENTITY CASCADE",
    "INSERT INTO audit_log (id, who, action, what, key) OVERRIDING SYSTEM VALUE"
    " VALUES (1, 'nobody', 'created', 'cycle', 'Q') ON CONFLICT (id) DO UPDATE SET who = 'nobody'",
]


async def test_the_database_refuses_to_rewrite_it(
    api: httpx.AsyncClient, runtime: Runtime, database_url: str
) -> None:
    assert (await api.post("/api/v1/cycles", json=Q4)).is_success
    before = await _log(runtime)
    for statement in STATEMENTS:
        refused = pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only")
        with refused, psycopg.connect(database_url) as connection:
            connection.execute(sql.SQL(statement))
        assert await _log(runtime) == before, statement
