"""The commands of docs/admin.md work, from top to bottom, and those of the README are among them."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import httpx
import psycopg
import pytest
from cryptography.fernet import Fernet
from fastapi import FastAPI
from psycopg import sql
from pydantic import SecretStr

from app import pipeline
from app.cli.connect import connect_tracker
from app.cli.terminal import NoTerminal
from app.database import applied_revision, newest_revision
from app.embedded import binaries
from app.runtime import Runtime
from app.secrets import Binding, CannotDecrypt, SecretCipher, cipher_for, unopened_secrets
from app.server.bootstrap import open_secrets, prepare_installation
from app.settings import Settings, WrongSetting
from app.source_answers import Answers, names_in
from tests.support.clock import Clock
from tests.support.documents import ROOT, calls, code, read, section
from tests.support.queries import all_of
from tests.support.tracker_drivers import TrackerDriver, on_either
from tests.support.webhook_posts import signature
from tests.support.world import World

ADMIN = read("docs/admin.md")
FIRST = section("The way by API", ADMIN)
WEBHOOK_SECRET = "a secret made for this test"
SHOP_1 = "SHOP-1"

Json = dict[str, Any]


@dataclass
class Reader:
    """Runs the commands as a person pastes them. It replaces only the webhooks' secret, and words in
    capitals: these by what `numbers` gives for the path of the call."""

    world: World
    numbers: dict[str, Callable[[str], Awaitable[int]]] = field(default_factory=dict)
    answers: list[tuple[str, Any]] = field(default_factory=list)
    headers: dict[str, httpx.Headers] = field(default_factory=dict)

    async def run(self, commands: list[tuple[str, str, str | None]]) -> None:
        for method, path, body in commands:
            await self._call(method, path, body)

    async def _call(self, method: str, path: str, body: str | None) -> None:
        shown = f"{method} {path}"
        for word, number in self.numbers.items():
            if re.search(rf"\b{word}\b", f"{path} {body}"):
                meant = str(await number(path))
                path = re.sub(rf"\b{word}\b", meant, path)
                body = re.sub(rf"\b{word}\b", meant, body) if body else body
        body = body.replace("$WEBHOOK_SECRET", WEBHOOK_SECRET) if body else body
        answer = await self.world.api.request(
            method, f"/api/v1/{path}", content=body, headers={"Content-Type": "application/json"}
        )
        assert answer.is_success, (shown, answer.text)
        self.answers.append((shown, answer.json() if answer.content else None))
        self.headers[f"{shown} {body}"] = answer.headers
        await self.world.drain()

    def last(self, call: str) -> Any:
        return [answer for shown, answer in self.answers if shown == call][-1]


async def newest_run(world: World) -> int:
    """A run that comments may belong to."""
    runs = await world.send("GET", "/runs?source=acme-jira&mode=evaluate")
    number: int = runs["items"][0]["id"]
    return number


async def test_the_commands_of_the_administrator_work_from_top_to_bottom(
    world: World, runtime: Runtime, clock: Clock
) -> None:
    """The further ones begin where the way by API ends; both in one test, for their world is one."""
    clock.now = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
    world.site.create("SHOP", "Checkout in two steps", labels=["checkout"])
    world.host.create("acme/shop", "Faster search", labels=["epic"])
    await _run_those_of_the_way_by_api(world, runtime)
    await _run_the_others(world, clock)


async def _run_those_of_the_way_by_api(world: World, runtime: Runtime) -> None:
    """In their order; `northing connect` gets the login of the tracker where it would ask for it."""
    parts = re.split(
        r"^(\.venv/bin/northing connect .+)$",
        code(FIRST),
        flags=re.MULTILINE,
    )
    commands = [calls(f"```sh\n{part}```") for part in parts[::2]]
    assert (len(parts), sum(map(len, commands)) > 15) == (5, True)
    reader = Reader(world, {"RUN": lambda path: newest_run(world)})
    await reader.run(commands[0])
    for connecting, following in zip(parts[1::2], commands[1:], strict=True):
        await _connect(world, runtime, connecting)
        await reader.run(following)
    assert [run["state"] for run in reader.last("GET runs?source=acme-jira")["items"]] == ["succeeded"]
    unaligned = reader.last("GET epics?source=acme-jira&alignment=unaligned")["items"]
    assert [epic["key"] for epic in unaligned] == [SHOP_1]
    assert len(reader.last("GET notices?state=shadow")["items"]) == 2
    assert reader.last(f"GET epics/acme-jira/{SHOP_1}")["alignment"] == "aligned"
    assert world.site.issue(SHOP_1).comments == []
    live = reader.last("PATCH sources/acme-jira")["notices"]
    assert (live["mode"], live["projects"]) == ("live", ["SHOP"])
    assert reader.last("POST runs/RUN/withdraw")["mode"] == "withdraw"


def test_the_commands_of_the_readme_are_among_those_that_run() -> None:
    commands = [line for line in code(section("First set-up", read("README.md"))).splitlines() if line]
    assert commands[0] == "make serve"
    assert len(commands) == 3
    assert set(commands[1:]) <= set(code(FIRST).splitlines())


async def _connect(world: World, runtime: Runtime, command: str) -> None:
    words = shlex.split(command)[2:]
    options = dict(zip(words[::2], words[1::2], strict=True))
    for message, meant in {
        "https://acme.atlassian.net": world.jira_url,
        "https://github.com/acme/shop": world.github_url,
    }.items():
        options["--base-url"] = options["--base-url"].replace(message, meant)
    jira = options["--base-url"] == world.jira_url
    answers = Answers(
        base_url=options["--base-url"],
        name=options["--name"],
        projects=names_in(options["--projects" if jira else "--repositories"]),
        email=world.site.bot.email if jira else None,
        token=SecretStr(world.site.bot.token if jira else world.host.bot.token),
    )
    assert await connect_tracker(runtime, answers, NoTerminal()) == 0


async def _run_the_others(world: World, clock: Clock) -> None:
    async def delivered(path: str) -> int:
        body = json.dumps({"webhookEvent": "jira:issue_updated", "issue": _issue(world)}).encode()
        headers = {"Content-Type": "application/json", "X-Hub-Signature": signature(body, WEBHOOK_SECRET)}
        answer = await world.api.post("/webhooks/acme-jira", content=body, headers=headers)
        assert answer.status_code == 202, answer.text
        await world.drain()
        delivery: int = answer.json()["delivery"]
        return delivery

    async def run_for(path: str) -> int:
        if not path.endswith("/accept-removals"):
            return await newest_run(world)
        made = [world.site.create("SHOP", f"Epic {number}").key for number in range(20)]
        await world.sync("acme-jira", "full")
        for key in made[:15]:
            world.site.delete(key)
        clock.advance(hours=1)
        run = await world.sync("acme-jira", "full")
        assert run["error"]["code"] == "drop_guard"
        number: int = run["id"]
        return number

    commands = calls(ADMIN.replace(FIRST, ""))
    assert len(commands) > 25
    assert [path for _, path, body in commands if "RUN" in f"{path} {body}"] == [
        "notices/approve", "runs/RUN/withdraw", "runs/RUN/accept-removals",
    ]  # fmt: skip
    reader = Reader(world, {"RUN": run_for, "DELIVERY": delivered})
    await reader.run(commands)
    schedule = reader.last("PATCH sources/acme-github")["schedule"]
    assert (schedule["every"], schedule["full"]) == ("PT15M", "30 3 * * *")
    assert reader.last("GET deliveries?state=failed")["items"] == []
    assert reader.last("POST deliveries/DELIVERY/replay")["source"] == "acme-jira"
    assert [rule["name"] for rule in reader.last("GET rules")["items"]] == [
        "Checkout work in SHOP", "Search work",
    ]  # fmt: skip
    assert reader.last("GET policy")["scopes"][0]["grace"] == "P10D"
    assert re.fullmatch(r"\d+(,\d+)*", reader.headers['PATCH policy {"grace": "P10D"}']["Northing-Runs"])
    assert {token["name"] for token in reader.last("GET tokens")["items"]} == {"mapping owner"}
    assert [source["name"] for source in (await world.send("GET", "/sources"))["items"]] == ["acme-jira"]
    accepted = await world.send("GET", f"/runs/{reader.last('POST runs/RUN/accept-removals')['id']}")
    assert (accepted["state"], accepted["deleted"]) == ("succeeded", 15)


def _issue(world: World) -> Json:
    issue = world.site.issue(SHOP_1)
    return {"id": issue.id, "key": issue.key}


def test_the_secrets_made_for_docker_are_good_ones() -> None:
    [script] = re.findall(r"<<'END'\n(.*?)^END$", code(section("Docker", ADMIN)), re.MULTILINE | re.DOTALL)
    values = dict(line.split("=", 1) for line in _python(script).splitlines())
    asked = set(re.findall(r"\$\{(\w+):\?", (ROOT / "compose.yaml").read_text()))
    assert values.keys() == asked
    Fernet(values["NORTHING_SECRET_KEY"])
    assert len(values["NORTHING_ADMIN_TOKEN"]) >= 16


def _python(script: str, **environment: str) -> str:
    command = [sys.executable, "-"]
    made = subprocess.run(
        command, input=script, capture_output=True, text=True, check=True, env=environment or None
    )
    return made.stdout


def test_the_line_that_makes_a_key_makes_one() -> None:
    [line] = code(section("Replacing the key", ADMIN)).splitlines()
    assert line.startswith("python3 -c '")
    Fernet(_python(line.removeprefix("python3 -c '").removesuffix("'")).strip())


def test_the_three_steps_leave_no_process_with_a_secret_that_it_cannot_open() -> None:
    """Two processes, restarted one after the other in each step; each start encrypts with its first key."""
    text = section("Replacing the key", ADMIN)
    steps = re.findall(r"^\d\. Set `([A-Z,]+)` everywhere", text, re.MULTILINE)
    assert steps == ["OLD,NEW", "NEW,OLD", "NEW"]
    keys = {"OLD": Fernet.generate_key().decode(), "NEW": Fernet.generate_key().decode()}
    ciphers = {step: SecretCipher([keys[name] for name in step.split(",")]) for step in ("OLD", *steps)}
    running = [ciphers["OLD"], ciphers["OLD"]]
    binding = Binding("credentials")
    stored = running[0].encrypt("secret", binding)
    for step in steps:
        for number in range(len(running)):
            running[number] = ciphers[step]
            stored = running[number].reencrypted(stored, binding) or stored
            assert [cipher.decrypt(stored, binding) for cipher in running] == ["secret", "secret"]
    stored = ciphers["OLD"].encrypt("secret", binding)
    with pytest.raises(CannotDecrypt):  # the steps of one process, with another one beside it
        ciphers["OLD"].decrypt(ciphers["NEW,OLD"].reencrypted(stored, binding) or b"", binding)


# --- backup, restore, and what is lost without --------------------------------------------------


@pytest.mark.skipif(
    bool(os.environ.get("NORTHING_TEST_DATABASE_URL")),
    reason="the commands are those for the embedded database: run it without NORTHING_TEST_DATABASE_URL",
)
async def test_a_dump_goes_into_an_empty_database(
    world: World,
    runtime: Runtime,
    server: psycopg.Connection,
    postgresql: Callable[[str], str],
    database_url: str,
    tmp_path: Path,
) -> None:
    """Only places and names are replaced in the two commands."""
    await world.connect_jira()
    dump, load = (
        command.replace("\\\n", " ")
        for command in re.findall(
            r"^\.venv.*?[^\\]$", code(section("Backup and restore", ADMIN)), re.MULTILINE | re.DOTALL
        )
        if "/pg_" in command
    )
    name, empty = database_url.rpartition("/")[2].partition("?")[0], f"empty_{uuid4().hex}"
    folder = parse_qs(urlsplit(database_url).query)["host"][0]
    programs = binaries.shipped()[18]
    server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(empty)))
    try:
        for command, target in ((dump, name), (load, empty)):
            replaced = re.sub(r"\.venv\S*pginstall18", str(programs), command)
            replaced = replaced.replace("~/.local/share/northing/postgresql/run", folder)
            replaced = replaced.replace(
                "postgresql://northing:PASSWORD@HOST/northing", f"'{postgresql(empty)}'"
            )
            replaced = re.sub(r" northing$", f" {target}", replaced)
            subprocess.run(replaced, shell=True, cwd=tmp_path, check=True)
        assert applied_revision(postgresql(empty)) == newest_revision()
        with psycopg.connect(postgresql(empty)) as connection:
            found = connection.execute("SELECT uuid, (SELECT name FROM sources) FROM installation").fetchone()
        ((uuid,),) = await all_of(runtime, "SELECT uuid FROM installation")
        assert found == (uuid, "jira")
    finally:
        server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(empty)))


async def test_credentials_can_be_sent_again_after_the_key_is_lost(
    world: World, application: FastAPI, runtime: Runtime, settings: Settings
) -> None:
    await world.connect_jira(webhook_secret=WEBHOOK_SECRET)
    new = Fernet.generate_key().decode()
    present = Settings(**{**settings.model_dump(), "secret_key": new, "_env_file": None})
    started = replace(runtime, settings=present, cipher=cipher_for(present))
    with pytest.raises(WrongSetting, match="opens none of the stored secrets"):
        await prepare_installation(started)
    async with runtime.sessions.begin() as session:
        assert len(await unopened_secrets(session, started.cipher, drop=True)) == 3
    await prepare_installation(started)
    application.state.runtime = started
    assert (await _synced(world, started))["state"] == "failed"
    credentials = {"type": "api_token", "email": world.site.bot.email, "token": world.site.bot.token}
    body = {"credentials": credentials, "webhook_secret": WEBHOOK_SECRET}
    assert (await world.send("PATCH", "/sources/jira", body))["webhook_secret_set"]
    assert (await _synced(world, started))["state"] == "succeeded"


async def _synced(world: World, runtime: Runtime) -> Any:
    """The run of a sync that this runtime does."""
    run = await world.send("POST", "/sources/jira/sync")
    await pipeline.execute_run(runtime, run["id"])
    return await world.send("GET", f"/runs/{run['id']}")


@on_either("github")
async def test_a_new_database_finds_the_old_comments_only_by_the_old_id(
    driver: TrackerDriver, world: World, runtime: Runtime
) -> None:
    key = driver.add()
    await driver.sync()
    query, statement = filter(None, code(section("A lost database", ADMIN), "sql").splitlines())
    ((old, key_of_old),) = await all_of(runtime, query.rstrip(";"))
    (comment,) = driver.comment_ids(key)
    await _lose_all(driver, runtime, str(uuid4()))
    assert driver.comment_ids(key)[0] == comment
    assert len(driver.comment_ids(key)) == 2  # as the text warns

    async with runtime.sessions.begin() as session:
        connection = await session.connection()
        await connection.exec_driver_sql(
            statement.replace("'ID'", f"'{old}'").replace("'KEY'", f"'{key_of_old}'")
        )
    await open_secrets(runtime)
    await _lose_all(driver, runtime, None)
    assert (await driver.notice(key))["url"].endswith(comment)
    driver.describe(key, "Key-Result: KR-1")
    await driver.sync()
    assert driver.comments(key)[0] == "Aligned with KR-1 (Checkout conversion). Thank you."


async def _lose_all(driver: TrackerDriver, runtime: Runtime, installation: str | None) -> None:
    """Connect a new source on the same tracker, in an installation with this id; None: with its own."""
    await driver.world.send("DELETE", f"/sources/{driver.kind}?comments=leave")
    if installation is not None:
        async with runtime.sessions.begin() as session:
            connection = await session.connection()
            await connection.exec_driver_sql(
                f"UPDATE installation SET uuid = '{installation}', signing_key = NULL"
            )
        await open_secrets(runtime)
    await driver.connect()
    await driver.sync()
