"""`northing check`: what it says of logins and webhooks, what it leaves behind (nothing), and how it ends."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from fastapi import FastAPI
from sqlalchemy import select, update
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp
from typer.testing import CliRunner

from app.cli.check import check
from app.cli.main import _expected, cli
from app.cli.ready import check_ready
from app.database import DatabaseNotReady
from app.diagnostics.render import Checked, show
from app.diagnostics.webhook_probe import WebhookHistory, _address_facts, _delivery_facts, webhook_facts
from app.runtime import Runtime
from app.secrets import Binding, SecretCipher, binding_of
from app.server.server import WebServer, open_listener
from app.settings import Settings
from app.webhooks.door import Intake
from connectors.diagnostics import Fact
from connectors.sandbox import faults
from mappings.errors import NotFound
from mappings.tables import InstallationRow, SourceProjectRow, SourceRow
from tests.support.clock import Clock
from tests.support.processes import environment_of, northing
from tests.support.queries import every_row
from tests.support.world import World

SECRET = "the-secret-of-the-webhook"


@asynccontextmanager
async def answering(app: ASGIApp) -> AsyncIterator[str]:
    """`app` behind a real port; its address."""
    listener = open_listener("127.0.0.1", 0)
    async with WebServer(app).serving(listener):  # type: ignore[arg-type]
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@dataclass
class Checking:
    """Northing behind a real port, and `northing check` as that machine's admin types it."""

    settings: Settings
    capsys: pytest.CaptureFixture[str]

    async def __call__(self, name: str | None = None, **settings: Any) -> tuple[int, list[str]]:
        """How it ends, and its lines."""
        code = await check(self.settings.model_copy(update=settings), name, as_json=False)
        return code, self.capsys.readouterr().out.splitlines()


@pytest.fixture
async def checking(
    world: World, application: FastAPI, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> AsyncIterator[Checking]:
    async with answering(application) as url:
        yield Checking(settings.model_copy(update={"public_url": url}), capsys)


def lines_about(lines: list[str], start: str) -> list[str]:
    return [line for line in lines if line.startswith(start)]


# --- the whole of it ----------------------------------------------------------------------------


async def test_all_is_well_and_nothing_is_written_anywhere(
    world: World, checking: Checking, runtime: Runtime, intake: Intake
) -> None:
    world.site.create("SHOP", "One-page checkout")
    world.host.create("acme/shop", "Coupons", labels=["epic"])
    await world.connect_jira(scope={"projects": ["SHOP"]}, webhook_secret=SECRET)
    await world.connect_github(scope={"repositories": ["acme/shop"]}, webhook_secret=SECRET)
    await intake.write_counts_now()
    world.jira.log.clear()
    world.github.log.clear()
    before = await every_row(runtime)
    code, lines = await checking()
    await intake.write_counts_now()
    assert await every_row(runtime) == before
    assert {seen.method for seen in world.github.log.entries} == {"GET"}
    assert {seen.line for seen in world.jira.log.entries if seen.method != "GET"} == {
        "POST /rest/api/3/search/jql",
        "POST /rest/api/3/search/approximate-count",
    }
    assert code == 0
    assert lines_about(lines, "northing: ok: database: PostgreSQL ")
    for name, account in (("jira", world.site.bot.name), ("github", world.host.bot.login)):
        [signed_in] = lines_about(lines, f"{name}: ok: sign-in: ")
        assert account in signed_in
        assert lines_about(lines, f"{name}: ok: clock: The tracker and the database agree")
        [door] = lines_about(lines, f"{name}: ok: webhook address: ")
        assert f"/webhooks/{name} refuses a wrong signature, and takes the right one." in door
        assert lines_about(lines, f"{name}: look: deliveries: ")
    assert lines[-1].startswith("Nothing is missing. Besides: ")
    assert "\x1b" not in "".join(lines)


async def test_the_last_webhook_and_the_last_refusal_are_told(
    world: World, checking: Checking, intake: Intake, clock: Clock
) -> None:
    await world.connect_jira(scope={"projects": ["SHOP"]}, webhook_secret=SECRET)
    for secret in (SECRET, "another"):
        world.jira.webhook_sender.set(f"{checking.settings.public_url}/webhooks/jira", secret)
        world.site.create("SHOP", "One-page checkout")
        await world.jira.webhook_sender.idle()
    await intake.write_counts_now()
    code, lines = await checking("jira")
    assert code == 0
    moment = f"{clock():%Y-%m-%d %H:%M} UTC"
    assert lines_about(lines, "jira: ok: deliveries: ") == [
        f"jira: ok: deliveries: The last webhook came at {moment}."
    ]
    [line] = lines_about(lines, "jira: look: signature: ")
    assert f"At {moment} one with a wrong signature was refused" in line
    assert f"1 in the past hour, 1 in the past day, since {moment}" in line


# --- where comments are written, and where not ---------------------------------------------------


@pytest.mark.parametrize(
    ("notices", "levels"),
    [
        ({"mode": "shadow"}, {"look": "SHOP, CORE"}),
        ({"mode": "live"}, {"missing": "SHOP, CORE"}),
        ({"mode": "live", "projects": ["core"]}, {"missing": "CORE", "look": "SHOP"}),
    ],
    ids=["shadow", "live", "live in one project"],
)
async def test_a_right_to_write_is_missing_where_comments_are_written(
    world: World, checking: Checking, notices: dict[str, Any], levels: dict[str, str]
) -> None:
    world.site.add_project("CORE", "Core")
    world.site.denied |= {("ADD_COMMENTS", "SHOP"), ("ADD_COMMENTS", "CORE")}
    await world.connect_jira(scope={"projects": ["SHOP", "CORE"]}, notices=notices)
    code, lines = await checking("jira")
    assert code == int("missing" in levels)
    reported = [line.split(": ")[1:3] for line in lines if ": Add Comments" in line]
    assert reported == [[level, f"Add Comments ({places})"] for level, places in levels.items()]
    assert all("permission scheme" in line for line in lines if ": Add Comments" in line)


async def test_the_last_write_is_told_and_where_writing_was_stopped(
    world: World, checking: Checking, runtime: Runtime, clock: Clock
) -> None:
    world.host.create("acme/shop", "Coupons", labels=["epic"])
    await world.no_grace()
    await world.connect_github(scope={"repositories": ["acme/shop"]}, notices={"mode": "live"})
    await world.sync("github")
    code, lines = await checking("github")
    assert code == 0
    moment = f"{clock():%Y-%m-%d %H:%M} UTC"
    assert lines_about(lines, "github: ok: last write: ") == [
        f"github: ok: last write: A ticket was last written to at {moment}."
    ]
    async with runtime.sessions.begin() as session:
        stop = {"writes_paused_at": clock(), "writes_paused_reason": "The repository is archived."}
        await session.execute(update(SourceProjectRow).values(stop))
    code, lines = await checking("github")
    assert code == 1
    [line] = lines_about(lines, "github: missing: ")
    assert line.startswith("github: missing: writing (acme/shop): ")
    assert "The repository is archived." in line


# --- what may be wrong ---------------------------------------------------------------------------


async def test_what_is_stored_and_cannot_be_used(world: World, checking: Checking, runtime: Runtime) -> None:
    await world.connect_jira(webhook_secret=SECRET)
    sealed = SecretCipher([Fernet.generate_key().decode()]).encrypt(
        {"type": "api_token"}, Binding("credentials")
    )
    async with runtime.sessions.begin() as session:
        await session.execute(update(SourceRow).values(credentials=sealed, webhook_secret=sealed))
        await session.execute(update(InstallationRow).values(signing_key=sealed))
    code, lines = await checking("jira")
    assert code == 1
    assert len(lines_about(lines, "northing: missing: signing key: No key of this process")) == 1
    assert [line.split(": ")[2] for line in lines_about(lines, "jira: missing: ")] == [
        "credentials",
        "webhook_secret",
    ]
    assert "NORTHING_SECRET_KEY" in lines_about(lines, "jira: missing: credentials")[0]
    good = {"type": "api_token", "email": "a@acme.example", "token": "t"}
    async with runtime.sessions.begin() as session:
        row = (await session.scalars(select(SourceRow))).one()
        row.credentials = runtime.cipher.encrypt(good, binding_of(row, "credentials"))
        row.scope = {"board": 7}
    code, lines = await checking("jira")
    assert code == 1
    assert "do not fit this version" in lines_about(lines, "jira: missing: credentials")[0]


async def test_clocks_that_are_apart(world: World, checking: Checking, clock: Clock) -> None:
    world.host.create("acme/shop", "Coupons", labels=["epic"])
    await world.connect_github(scope={"repositories": ["acme/shop"]})
    clock.advance(minutes=-5)
    code, lines = await checking("github")
    assert code == 0
    [line] = lines_about(lines, "github: look: clock: ")
    assert "The tracker's clock is 5 min " in line
    assert "behind that of the database." in line


async def test_a_tracker_that_repeats_the_token_or_paints_the_terminal(
    world: World, checking: Checking
) -> None:
    await world.connect_jira(scope={"projects": ["SHOP"]})
    token = world.site.bot.token
    painted = faults.rewrite(lambda body: {**body, "displayName": "\x1b[2Jnobody\njira: ok: all"})
    world.jira.faults.add("GET */myself", painted, times=None)
    reported = faults.answer(403, {"errorMessages": [f"Not with {token}"], "errors": {}})
    world.jira.faults.add("GET */mypermissions", reported, times=None)
    code, lines = await checking("jira")
    assert code == 1
    [refused] = lines_about(lines, "jira: missing: rights in projects: ")
    assert "Not with …" in refused
    assert token not in "".join(lines)
    assert "\x1b" not in "".join(lines)
    assert lines_about(lines, "jira: ok: all") == []


async def test_a_database_that_is_not_ready_is_not_migrated(postgresql: Callable[[str], str]) -> None:
    with pytest.raises(DatabaseNotReady, match="northing serve"):
        await check_ready(postgresql("postgres"))


async def test_a_source_that_is_not_there(world: World, checking: Checking) -> None:
    code, lines = await checking()
    assert code == 0
    assert "No source is connected; `northing connect` connects one." in lines
    await world.connect_jira()
    for name in ("jirra", "a\x00b"):
        with pytest.raises(NotFound, match=r"there are jira$") as refused:
            await checking(name)
        assert _expected(refused.value) == 1  # as `northing sync` does


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("socks5://bot:s3cret-word@proxy:1080", "ALL_PROXY names a SOCKS proxy"),
        ("http://bot:s3cret-word/@proxy", "ALL_PROXY is not the address of a proxy."),
    ],
)
async def test_a_wrong_proxy_is_named_by_its_variable(
    world: World, checking: Checking, monkeypatch: pytest.MonkeyPatch, value: str, why: str
) -> None:
    monkeypatch.setenv("ALL_PROXY", value)
    for name in ("HTTPS_PROXY", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "fd07:b51a:cc66:f0::/64")
    await world.connect_jira("elsewhere", base_url="https://jira.acme.example")
    await world.connect_github("here", scope={"repositories": ["acme/shop"]})
    code, lines = await checking()
    assert code == 1
    assert lines_about(lines, f"northing: missing: proxy: {why}")
    assert lines_about(lines, f"elsewhere: failed: sign-in: {why}")
    assert lines_about(lines, "here: ok: sign-in: ")
    assert "s3cret-word" not in "".join(lines)


# --- the door ------------------------------------------------------------------------------------


def says(status: int, body: str = "", kind: str = "text/html") -> Response:
    return PlainTextResponse(body, status, media_type=kind)


PROBLEM = "application/problem+json"
DOORS = [
    ("somebody's page", says(200), "answered by something else (HTTP 200)"),
    ("a login of a proxy", says(401), "answered by something else (HTTP 401)"),
    ("a proxy without a server", says(502), "answered by something else (HTTP 502)"),
    ("elsewhere", RedirectResponse("https://northing.acme.example/"), "redirects to https://northing.acme"),
    ("another Northing", says(404, "{}", PROBLEM), "a Northing that does not know this source"),
    ("without its database", says(503, "{}", PROBLEM), "cannot store webhooks now"),
    ("with another key", says(401, "{}", PROBLEM), "refuses what is signed with the stored webhook_secret"),
]


async def the_source(world: World, runtime: Runtime, secret: str | None = SECRET) -> SourceRow:
    await world.connect_jira(webhook_secret=secret)
    async with runtime.sessions() as session:
        return (await session.scalars(select(SourceRow))).one()


def at(runtime: Runtime, url: str) -> Runtime:
    return replace(runtime, settings=runtime.settings.model_copy(update={"public_url": url}))


NOTHING_HEARD, NOW = WebhookHistory(None, None), datetime(2026, 11, 2, tzinfo=UTC)


async def test_who_else_may_stand_behind_the_address(world: World, runtime: Runtime) -> None:
    source = await the_source(world, runtime)
    for who, response, words in DOORS:
        async with answering(response) as url:
            first, *_ = await webhook_facts(at(runtime, url), source, NOTHING_HEARD, NOW)
        assert (first.level, first.what) == ("failed", "webhook address"), who
        assert words in first.why, who
        assert first.what_to_do, who
    first, *_ = await webhook_facts(at(runtime, url), source, NOTHING_HEARD, NOW)
    assert "does not answer this machine (ConnectError)" in first.why
    assert "northing serve" in first.what_to_do


@asynccontextmanager
async def with_a_certificate_of_its_own(folder: Path) -> AsyncIterator[str]:
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now = datetime.now(UTC)
    host = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(1).not_valid_before(now).not_valid_after(now + timedelta(days=1))
    certificate = made.add_extension(host, critical=True).sign(key, hashes.SHA256())
    both = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "both.pem").write_bytes(both + certificate.public_bytes(Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "both.pem")
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    async with server:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_a_certificate_that_nobody_accepts_is_named(
    world: World, runtime: Runtime, tmp_path: Path
) -> None:
    source = await the_source(world, runtime)
    async with with_a_certificate_of_its_own(tmp_path) as url:
        first, *_ = await webhook_facts(at(runtime, url), source, NOTHING_HEARD, NOW)
    assert first.level == "failed"
    assert "certificate that is not accepted" in first.why


ADDRESSES = [
    ("http://127.0.0.1:1", "jira", [("failed", "is this machine's own; the tracker is elsewhere")]),
    ("http://[::1]:1", "jira", [("failed", "is this machine's own; the tracker is elsewhere")]),
    ("http://localhost:1", "github", [("failed", "is this machine's own; the tracker is elsewhere")]),
    ("http://northing.acme.example", "jira", [("warning", "Jira sends to https only, and others can read")]),
    ("http://northing.acme.example", "github", [("warning", "is not encrypted; others can read it.")]),
    ("https://northing.acme.example", "jira", []),
]


async def test_what_an_address_tells_by_itself(runtime: Runtime) -> None:
    """Seen from a tracker that is not on this machine; nobody answers there."""
    for url, kind, expected in ADDRESSES:
        source = SourceRow(name=kind, kind=kind, uuid="u", base_url="https://acme.example")
        source.webhook_secret = runtime.cipher.encrypt(SECRET, binding_of(source, "webhook_secret"))
        found = list(_address_facts(at(runtime, url), source, f"{url}/webhooks/{kind}"))
        assert [fact.level for fact in found] == [level for level, _ in expected], (url, kind)
        assert all(words in fact.why for fact, (_, words) in zip(found, expected, strict=True)), (url, kind)
        if url.endswith(":1"):
            assert (await webhook_facts(at(runtime, url), source, NOTHING_HEARD, NOW))[: len(found)] == found
        source.base_url = "http://127.0.0.1:2"
        assert list(_address_facts(at(runtime, url), source, f"{url}/webhooks/{kind}")) == []


@pytest.mark.parametrize(
    ("last", "refused", "told_of"),
    [
        (None, None, False),
        (1, None, False),
        (None, 50, True),
        (1, 2, True),
        (1, 23.9, True),
        (1, 24, False),
        (1, 50, False),
        (100, 50, True),
    ],
)
def test_a_wrong_signature_is_told_for_a_day_or_until_a_right_one(
    last: float | None, refused: float | None, told_of: bool
) -> None:
    """`last`, `refused`: how many hours ago a webhook came, and one was refused."""
    now = datetime(2026, 11, 16, 12, tzinfo=UTC)
    came, wrong = (None if hours is None else now - timedelta(hours=hours) for hours in (last, refused))
    facts = list(_delivery_facts(WebhookHistory(came, wrong), "https://northing.acme.example", now))
    assert [fact.what for fact in facts] == ["deliveries", *(["signature"] if told_of else [])]


async def test_a_source_without_a_secret_takes_no_webhooks(world: World, runtime: Runtime) -> None:
    [fact] = await webhook_facts(runtime, await the_source(world, runtime, None), NOTHING_HEARD, NOW)
    assert (fact.level, fact.what) == ("warning", "webhook_secret")
    assert "PATCH /api/v1/sources/jira" in fact.what_to_do


# --- as a command --------------------------------------------------------------------------------


async def test_the_command_answers_in_json_and_ends_with_one(
    world: World, settings: Settings, tmp_path: Path
) -> None:
    await world.connect_jira(scope={"projects": ["SHOP"]})
    world.site.revoke_credentials()
    command = ("check", "JIRA", "--format", "json")
    ended = await asyncio.to_thread(northing, *command, env=environment_of(settings), cwd=tmp_path)
    assert (ended.returncode, ended.stderr) == (1, "")
    reported = json.loads(ended.stdout)
    assert (reported["missing"], reported["failed"]) == (0, 1)
    assert [one["name"] for one in reported["checked"]] == ["northing", "jira"]
    facts = {fact["what"]: fact for fact in reported["checked"][1]["facts"]}
    assert facts["sign-in"]["level"] == "failed"
    assert facts["sign-in"]["what_to_do"]
    assert world.site.bot.token not in ended.stdout


def test_the_help_says_what_it_writes_and_gives_an_example() -> None:
    shown = CliRunner().invoke(cli, ["check", "--help"], env={"COLUMNS": "120"}).stdout
    assert "Writes nothing" in shown
    assert "Example: northing check acme-jira" in shown


def test_on_a_terminal_it_is_a_table(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "300")
    places = tuple(f"P{number}" for number in range(7))
    facts = (
        Fact("missing", "Add Comments", "Not [bold]there[/].", "Give it.", places),
        Fact("ok", "sign-in", "As \x1b[2Jnobody."),
    )
    show([Checked("northing", None, ()), Checked("jira", "http://x", facts)], as_json=False)
    shown = capsys.readouterr().out
    assert "\x1b[2J" not in shown
    assert "jira (http://x)" in shown
    assert "Not [bold]there[/]." in shown
    assert "P0, P1, P2, P3, P4 and 2 more" in shown
    assert "1 missing." in shown
