"""Tokens and secrets: sealed in the database, in no answer, no log and no error; keys may be rotated."""

from __future__ import annotations

import base64
import json
import logging
from dataclasses import replace
from typing import Any

import pytest
from cryptography.fernet import Fernet

from app.runtime import Runtime
from app.secrets import Binding, CannotDecrypt, SecretCipher, cipher_for, unopened_secrets
from app.server.bootstrap import prepare_installation
from app.settings import Settings, WrongSetting
from mappings.audit import COMMAND_LINE
from mappings.tables import SourceRow
from tests.support.queries import every_row
from tests.support.world import World

TOKEN, SECRET = "tok-3f1b6d0c9a", "hook-8e2a4c7d5b-secret"


async def _connect(world: World, **members: Any) -> Any:
    credentials = {"type": "api_token", "email": world.site.bot.email, "token": TOKEN}
    return await world.connect_jira(credentials=credentials, webhook_secret=SECRET, **members)


async def test_no_secret_is_ever_shown_stored_or_logged(
    world: World, runtime: Runtime, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    seen: list[str] = []
    world.api.event_hooks["response"] = [lambda answer: _keep(answer, seen)]
    await _connect(world, schedule={"every": "PT1H"})
    await world.drain()  # a run that fails, for Jira does not know the token
    for path in ("/sources", "/sources/jira", "/runs"):
        await world.send("GET", path)
    await world.send("PATCH", "/sources/jira", {"notices": {"per_run": 1}})
    for wrong in (
        {"credentials": {"type": "api_token", "email": TOKEN, "token": TOKEN}},
        {"credentials": {"type": "api_token", "email": "a@b", "token": f"{TOKEN} {TOKEN}"}},
        {"credentials": {"type": TOKEN}},
        {"webhook_secret": SECRET * 500},
        {"credentials": TOKEN},
    ):
        await world.refused("PATCH", "/sources/jira", wrong)
    assert (await world.send("GET", "/sources/jira"))["health"]["state"] == "failing"
    stored = str(await every_row(runtime))
    assert world.site.bot.email not in stored
    assert "api_token" in stored
    assert "run ended" in caplog.text
    for place in ("".join(seen), stored, caplog.text):
        for secret in (TOKEN, SECRET):
            assert secret not in place
            assert secret.encode().hex() not in place  # as a row shows a column of bytes


async def _keep(answer: Any, seen: list[str]) -> None:
    await answer.aread()
    seen.append(answer.text + str(answer.headers))


async def test_a_source_says_whether_it_has_a_webhook_secret(world: World) -> None:
    assert (await _connect(world))["webhook_secret_set"] is True
    changed = await world.send("PATCH", "/sources/jira", {"schedule": {"every": "PT1H"}})
    assert changed["webhook_secret_set"] is True
    changed = await world.send("PATCH", "/sources/jira", {"webhook_secret": None})
    assert changed["webhook_secret_set"] is False
    assert "webhook_secret" in await world.refused("PATCH", "/sources/jira", {"webhook_secret": ""})
    changed = await world.send("PATCH", "/sources/jira", {"webhook_secret": "s"})
    assert changed["webhook_secret_set"] is True


# --- keys -------------------------------------------------------------------------------------


def _restarted(runtime: Runtime, settings: Settings, *keys: str) -> Runtime:
    """The runtime of a next start, with other keys."""
    values = settings.model_dump() | {"secret_key": ",".join(keys), "_env_file": None}
    present = Settings(**values)
    return replace(runtime, settings=present, cipher=cipher_for(present))


async def _encrypted(runtime: Runtime) -> tuple[bytes, bytes | None]:
    async with runtime.sessions() as session:
        row = await session.get_one(SourceRow, 1)
        return row.credentials, row.webhook_secret


def _opened(key: str, sealed: bytes | None) -> Any:
    assert sealed is not None
    return json.loads(Fernet(key).decrypt(sealed))["secret"]


async def test_keys_are_rotated_at_the_start(world: World, runtime: Runtime, settings: Settings) -> None:
    await _connect(world)
    (old,) = (key.get_secret_value() for key in settings.secret_key)
    new = Fernet.generate_key().decode()
    assert _opened(old, (await _encrypted(runtime))[0])["token"] == TOKEN

    await prepare_installation(_restarted(runtime, settings, new, old))
    credentials, secret = await _encrypted(runtime)
    assert (_opened(new, credentials)["token"], _opened(new, secret)) == (TOKEN, SECRET)

    alone = _restarted(runtime, settings, new)
    await prepare_installation(alone)
    assert await _encrypted(runtime) == (credentials, secret)


async def test_a_key_that_opens_nothing_stops_the_start(
    world: World, runtime: Runtime, settings: Settings
) -> None:
    await _connect(world)
    before = await _encrypted(runtime)
    with pytest.raises(WrongSetting, match="NORTHING_SECRET_KEY opens none of the stored secrets"):
        await prepare_installation(_restarted(runtime, settings, Fernet.generate_key().decode()))
    assert await _encrypted(runtime) == before


async def test_one_source_that_no_key_opens_is_named_and_can_be_mended(
    world: World, runtime: Runtime, settings: Settings
) -> None:
    await _connect(world)
    await world.connect_github(scope={"repositories": ["acme/shop"]})
    async with runtime.sessions.begin() as session:
        row = await session.get_one(SourceRow, 1)
        row.credentials = Fernet(Fernet.generate_key()).encrypt(b"{}")
    present = _restarted(runtime, settings, *(key.get_secret_value() for key in settings.secret_key))
    refusal = (
        r"^NORTHING_SECRET_KEY opens not all of the stored secrets \(credentials of jira\); add the key that "
        r"was used before\. If it is lost, `northing db forget-secrets` drops what cannot be opened$"
    )
    with pytest.raises(WrongSetting, match=refusal):
        await prepare_installation(present)
    async with runtime.transaction(COMMAND_LINE) as session:
        assert await unopened_secrets(session, runtime.cipher, drop=True) == [("jira", "credentials")]
    await prepare_installation(present)
    health = (await world.send("GET", "/sources/jira"))["health"]
    assert (health["state"], "Send them again by PATCH" in health["what_to_do"]) == ("failing", True)
    run = await world.sync("jira")
    assert (run["state"], run["error"]["code"]) == ("failed", "sealed")
    assert "credentials" in await world.refused("PATCH", "/sources/jira", {"notices": {"per_run": 1}})
    credentials = {"type": "api_token", "email": world.site.bot.email, "token": world.site.bot.token}
    await world.send("PATCH", "/sources/jira", {"credentials": credentials})
    assert (await world.sync("jira"))["state"] == "succeeded"


def test_a_secret_with_a_changed_byte_does_not_open() -> None:
    cipher, place = SecretCipher([Fernet.generate_key().decode()]), Binding("credentials", "u", "jira")
    sealed = base64.urlsafe_b64decode(cipher.encrypt({"token": TOKEN}, place))
    for number in range(len(sealed)):
        changed = sealed[:number] + bytes([sealed[number] ^ 1]) + sealed[number + 1 :]
        with pytest.raises(CannotDecrypt):
            cipher.decrypt(base64.urlsafe_b64encode(changed), place)
