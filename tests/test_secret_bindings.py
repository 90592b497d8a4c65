"""A secret opens in its binding alone; what no key here opens is left to a process that has the key."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from fastapi import FastAPI
from sqlalchemy import select, update

from app import pipeline
from app.cli.forget_secrets import forget_secrets
from app.runtime import Runtime
from app.secrets import Binding, CannotDecrypt, SecretCipher, SigningKeys, binding_of, cipher_for
from app.server.bootstrap import open_secrets, prepare_installation
from app.server.server import open_runtime
from app.settings import Settings, WrongSetting
from app.webhooks.door import Intake
from app.webhooks.processor import process_deliveries
from mappings.runs.queue import claim_run
from mappings.sources.health import UNOPENED_AFTER
from mappings.tables import DeliveryRow, InstallationRow, SourceRow
from tests.support.clock import Clock
from tests.support.processes import environment_of, northing
from tests.support.queries import all_of
from tests.support.tracker_drivers import TrackerDriver, on_either, on_github
from tests.support.webhook_posts import connect, post
from tests.support.world import World

BINDING = Binding("credentials", "one", "jira", "https://acme.atlassian.net")
KEY = Fernet.generate_key().decode()


@pytest.mark.parametrize(
    "elsewhere",
    [
        replace(BINDING, purpose="webhook_secret"),
        replace(BINDING, source="two"),
        replace(BINDING, kind="github"),
        replace(BINDING, base_url="https://evil.example"),
        replace(BINDING, base_url=""),
    ],
)
def test_a_secret_opens_in_its_place_alone(elsewhere: Binding) -> None:
    cipher = SecretCipher([KEY])
    sealed = cipher.encrypt({"token": "t"}, BINDING)
    assert cipher.decrypt(sealed, BINDING) == {"token": "t"}
    for call in (cipher.decrypt, cipher.reencrypted, cipher.bound):
        with pytest.raises(CannotDecrypt, match="made for another source, kind or base_url") as refused:
            call(sealed, elsewhere)
        assert not refused.value.another_process_may


@pytest.mark.parametrize(
    "content", [b'{"token": "t"}', b'"secret"', b"[]", b"{}", b'{"binding": null, "secret": 1}']
)
def test_a_secret_without_a_place_opens_nowhere(content: bytes) -> None:
    """An attacker may have one from an old backup, made by our key."""
    with pytest.raises(CannotDecrypt, match="made for another source"):
        SecretCipher([KEY]).decrypt(Fernet(KEY).encrypt(content), BINDING)


def test_each_purpose_is_signed_with_a_key_of_its_own() -> None:
    keys = SigningKeys()
    with pytest.raises(RuntimeError):
        keys.key("cursor")
    keys.open(bytes(32))
    assert len({keys.key("cursor"), keys.key("marker"), bytes(32)}) == 3


# --- a changed database -----------------------------------------------------------------------


CHANGES: dict[str, dict[str, Any]] = {
    "another host": {"base_url": "http://127.0.0.1:9"},
    "another kind": {"kind": "github"},
    "another row": {"uuid": "another"},
    "another column": {"credentials": SourceRow.webhook_secret},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
async def test_a_changed_row_opens_nothing_and_says_so(
    world: World, runtime: Runtime, settings: Settings, change: dict[str, Any]
) -> None:
    await world.connect_jira(webhook_secret="hook-secret")
    async with runtime.sessions.begin() as session:
        await session.execute(update(SourceRow).values(**change))
    run = await world.send("POST", "/sources/jira/sync")
    await pipeline.execute_run(runtime, run["id"])
    run = await world.send("GET", f"/runs/{run['id']}")
    assert (run["state"], run["error"]["code"], run["requests"]) == ("failed", "sealed", 0)
    assert "made for another source" in run["error"]["message"]
    with pytest.raises(WrongSetting, match=r"credentials of jira.*somebody changed the database"):
        await prepare_installation(runtime)


async def test_a_renamed_source_and_a_moved_one_keep_their_secrets(world: World, runtime: Runtime) -> None:
    """Moved with new credentials, by PATCH: the webhook secret, which is not sent, goes along."""
    await world.connect_jira(webhook_secret="hook-secret")
    await world.send("PATCH", "/sources/jira", {"name": "renamed"})
    credentials = {"type": "api_token", "email": "b@acme.example", "token": "tok-2"}
    moved = {"base_url": "https://acme.atlassian.net", "credentials": credentials}
    await world.send("PATCH", "/sources/renamed", moved)
    async with runtime.sessions() as session:
        row = (await session.scalars(select(SourceRow))).one()
    assert runtime.cipher.decrypt(row.credentials, binding_of(row, "credentials")) == credentials
    assert row.webhook_secret is not None
    assert runtime.cipher.decrypt(row.webhook_secret, binding_of(row, "webhook_secret")) == "hook-secret"


async def test_secrets_of_before_are_bound_once(world: World, runtime: Runtime) -> None:
    """By the start that makes the signing key; one planted later, made by our key too, opens nothing."""
    await world.connect_jira(webhook_secret="hook-secret")
    (key,) = runtime.settings.secret_key
    old = Fernet(key.get_secret_value())
    unbound = {"credentials": old.encrypt(b'{"token": "t"}'), "webhook_secret": old.encrypt(b'"hook-secret"')}
    async with runtime.sessions.begin() as session:
        await session.execute(update(SourceRow).values(**unbound))
        await session.execute(update(InstallationRow).values(signing_key=None))
    await open_secrets(runtime)
    async with runtime.sessions() as session:
        row = (await session.scalars(select(SourceRow))).one()
    assert runtime.cipher.decrypt(row.credentials, binding_of(row, "credentials")) == {"token": "t"}
    async with runtime.sessions.begin() as session:
        await session.execute(update(SourceRow).values(credentials=unbound["credentials"]))
    with pytest.raises(WrongSetting, match="credentials of jira"):
        await open_secrets(runtime)
    # Nor beside a bound one, where somebody has also removed the signing key.
    async with runtime.sessions.begin() as session:
        await session.execute(update(InstallationRow).values(signing_key=None))
    with pytest.raises(WrongSetting, match="credentials of jira"):
        await open_secrets(runtime)


# --- keys -------------------------------------------------------------------------------------


def _with(runtime: Runtime, *keys: str) -> Runtime:
    """The runtime of a process that was started before its keys opened nothing any more."""
    return replace(runtime, cipher=SecretCipher(list(keys)), worker="another-process")


def _keys(runtime: Runtime) -> list[str]:
    return [key.get_secret_value() for key in runtime.settings.secret_key]


async def test_what_signs_is_made_once_and_survives_a_rotation(runtime: Runtime) -> None:
    new = Fernet.generate_key().decode()
    (old,) = _keys(runtime)
    before = runtime.signing.key("marker")
    ((sealed,),) = await all_of(runtime, "SELECT signing_key FROM installation")
    for keys in ([new, old], [new], [new]):
        started = replace(_with(runtime, *keys), signing=SigningKeys())
        await open_secrets(started)
        assert started.signing.key("marker") == before
    ((rotated,),) = await all_of(runtime, "SELECT signing_key FROM installation")
    assert rotated != sealed
    assert before not in sealed
    with pytest.raises(WrongSetting, match="NORTHING_SECRET_KEY opens none of the stored secrets"):
        await open_secrets(_with(runtime, old))


async def test_a_lost_key_file_is_not_made_anew_beside_its_database(
    world: World, settings: Settings, database_url: str
) -> None:
    await world.connect_jira()
    without = settings.model_copy(update={"secret_key": ()})
    with pytest.raises(WrongSetting, match=r"secret\.key is missing.*northing db forget-secrets"):
        async with open_runtime(without, database_url):
            pass
    lines: list[str] = []
    assert await forget_secrets(without, lines.append, drop=False) == 1  # as that line says
    assert [line.partition(":")[0] for line in lines[:2]] == ["The signing key", "jira"]
    assert not (settings.data_dir / "secret.key").exists()
    cipher_for(without)  # as a person puts it back; it is another one
    with pytest.raises(WrongSetting, match=r"secret\.key opens none of the stored secrets"):
        async with open_runtime(without, database_url) as opened:
            await open_secrets(opened)


async def test_a_secret_that_no_key_opens_is_our_trouble_and_no_wrong_signature(
    world: World, application: FastAPI, runtime: Runtime, intake: Intake, clock: Clock
) -> None:
    await connect(world)
    application.state.runtime = _with(runtime, Fernet.generate_key().decode())
    for secret in (None, "wrong"):
        answer = await (post(world) if secret is None else post(world, secret=secret))
        assert (answer.status_code, int(answer.headers["Retry-After"]) > 0) == (503, True)
    await intake.write_counts_now()
    assert await all_of(runtime, "SELECT signature_refused_at FROM sources") == [(None,)]
    assert await all_of(runtime, "SELECT * FROM refused_signatures") == []
    application.state.runtime = runtime
    assert (await post(world)).status_code == 202


@on_github
async def test_work_is_left_to_a_process_that_has_the_key(
    driver: TrackerDriver, world: World, runtime: Runtime, clock: Clock
) -> None:
    """Runs, comments and deliveries; nothing of it is claimed, failed or attempted by the other one."""
    unable = _with(runtime, Fernet.generate_key().decode())
    key = driver.add()
    run = await world.send("POST", f"/sources/{driver.kind}/sync", {})
    for _ in range(3):
        await pipeline.execute_run(unable, run["id"])
    shown = await world.send("GET", f"/runs/{run['id']}")
    assert (shown["state"], shown["requests"], shown["error"]) == ("queued", 0, None)
    await pipeline.execute_run(runtime, run["id"])
    ((source_id, since),) = await all_of(runtime, "SELECT id, unopened_since FROM sources")
    assert since is None
    await pipeline.write_tickets(unable, source_id)
    assert (await driver.notice(key))["state"] == "due"
    await pipeline.write_tickets(runtime, source_id)
    assert (await driver.notice(key))["state"] == "posted"

    async with runtime.sessions.begin() as session:
        session.add(
            DeliveryRow(
                source_id=source_id, remote_id="d", event="issues", action="labeled", is_form=False,
                body=b'{"action": "labeled"}', state="received", due_at=clock.now,
            )
        )  # fmt: skip
    await process_deliveries(unable, source_id)
    assert await all_of(runtime, "SELECT state, attempts, error FROM deliveries") == [("received", 0, None)]
    await process_deliveries(runtime, source_id)
    assert await all_of(runtime, "SELECT state FROM deliveries") != [("received",)]


@on_either("github")
async def test_a_run_that_another_process_executes_is_none_that_no_process_can(
    driver: TrackerDriver, world: World, runtime: Runtime
) -> None:
    driver.add()
    run = await world.send("POST", f"/sources/{driver.kind}/sync", {})
    async with runtime.sessions.begin() as session:
        assert await claim_run(session, run["id"], "another", await runtime.now(session)) is not None
    await pipeline.execute_run(_with(runtime, Fernet.generate_key().decode()), run["id"])
    assert await all_of(runtime, "SELECT unopened_since FROM sources") == [(None,)]


@on_either("jira")
async def test_where_no_process_has_the_key_the_run_ends_in_words_after_a_while(
    driver: TrackerDriver, world: World, runtime: Runtime, clock: Clock
) -> None:
    unable = _with(runtime, Fernet.generate_key().decode())
    key = driver.add()
    await driver.sync()
    driver.describe(key, "Key-Result: KR-1")
    run = await world.send("POST", f"/sources/{driver.kind}/sync", {})
    await pipeline.execute_run(unable, run["id"])
    clock.now += UNOPENED_AFTER - timedelta(seconds=1)
    await pipeline.execute_run(unable, run["id"])
    assert (await world.send("GET", f"/runs/{run['id']}"))["state"] == "queued"
    assert "has a key that opens" not in (await world.health(driver.kind))["message"]
    clock.advance(seconds=1)
    health = await world.health(driver.kind)
    assert health["state"] == "failing"
    assert "No process that does jobs has a key that opens the stored credentials" in health["message"]
    assert "NORTHING_SECRET_KEY" in health["what_to_do"]
    await pipeline.execute_run(unable, run["id"])
    run = await world.send("GET", f"/runs/{run['id']}")
    assert (run["state"], run["error"]["code"]) == ("failed", "sealed")
    assert "NORTHING_SECRET_KEY" in run["error"]["what_to_do"]
    # A process with the key ends the trouble, and so would credentials sent again.
    await driver.sync()
    assert (await world.health(driver.kind))["state"] == "ok"


async def test_the_command_drops_what_no_key_opens_and_nothing_else(
    world: World, settings: Settings, tmp_path: Path, runtime: Runtime
) -> None:
    await world.connect_jira(webhook_secret="hook-secret")
    await connect(world)
    async with runtime.sessions.begin() as session:
        other = Fernet(Fernet.generate_key()).encrypt(b"{}")
        await session.execute(update(SourceRow).where(SourceRow.name == "jira").values(credentials=other))
    environment = environment_of(settings)
    for arguments, code, words in (
        ([], 1, "No key opens these. To drop them for good, run this again with --yes."),
        (["--yes"], 0, "These are dropped."),
        ([], 0, "NORTHING_SECRET_KEY opens every stored secret; nothing is dropped."),
    ):
        ended = await asyncio.to_thread(
            northing, "db", "forget-secrets", *arguments, env=environment, cwd=tmp_path
        )
        assert (ended.returncode, words in ended.stdout) == (code, True), ended
        assert ("jira: credentials" in ended.stdout) == ("every" not in words)
    stored = await all_of(runtime, "SELECT name, credentials = '', webhook_secret IS NOT NULL FROM sources")
    assert sorted(stored) == [("github", False, True), ("jira", True, True)]
    entries = (await world.send("GET", "/audit-log?what=source"))["items"]
    assert (entries[0]["who"], entries[0]["key"]) == ("the command line", "jira")
    await open_secrets(runtime)
