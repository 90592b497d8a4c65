"""What is written for people is true: README, CHANGELOG, docs/api.md and OpenAPI against the code."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
import typer
from cryptography.fernet import Fernet
from fastapi.routing import APIRoute
from packaging.utils import canonicalize_name

from app.cli.main import cli
from app.runtime import Runtime
from app.server.application import create_app
from app.settings import Settings, default_data_dir
from app.web import pages
from app.webhooks.door import Intake
from tests.support.world import World

if TYPE_CHECKING:
    from tests.support.clock import Clock

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
API = (ROOT / "docs/api.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

Json = dict[str, Any]


def section(title: str, text: str = README) -> str:
    found = re.search(rf"^(#+) {re.escape(title)}\n(.*?)(?=^#{{1,2}} |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"no section {title!r}"
    return found[2]


def rows(text: str) -> list[list[str]]:
    """The cells of a section's tables, without head and rule."""
    lines = [line for line in text.splitlines() if re.match(r"\| `", line)]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def code(text: str, language: str = "sh") -> str:
    return "\n".join(re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))


# --- files --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["README.md", "CHANGELOG.md", "docs/api.md", "docs/operations.md"])
def test_every_link_to_a_file_leads_somewhere(name: str) -> None:
    file = ROOT / name
    for target in re.findall(r"\]\(([^)\s]+)\)", file.read_text(encoding="utf-8")):
        if re.match(r"https?://", target):
            continue
        path, _, anchor = target.partition("#")
        there = (file.parent / path) if path else file
        assert there.is_file(), target
        headings = re.findall(r"^#+ (.+)$", there.read_text(encoding="utf-8"), re.MULTILINE)
        assert not anchor or anchor in {heading.lower().replace(" ", "-") for heading in headings}, target


def test_every_file_of_the_code_that_is_named_is_there() -> None:
    named = set(re.findall(r"`((?:app|connectors|mappings|migrations|tests|docs|\.ci)/[\w./-]*)`", README))
    assert len(named) > 20
    assert {name for name in named if "NAME" not in name and not (ROOT / name).exists()} == set()


def test_the_changelog_begins_with_this_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    found = re.search(r"^## (\S+)", changelog, re.MULTILINE)
    assert found
    assert found[1] == PROJECT["version"]


def test_the_licence_is_the_one_pyproject_names() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert PROJECT["license"] == "Apache-2.0"
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_every_version_named_is_the_locked_one() -> None:
    locked = dict(
        re.findall(
            r"^([\w.-]+)(?:\[[^\]]*\])?==([^\s;]+)",
            (ROOT / "requirements-dev.lock").read_text(),
            re.MULTILINE,
        )
    )
    locked = {canonicalize_name(name): version for name, version in locked.items()}
    named = re.findall(r"`([\w-]+)` \| (\d[^ |]*) ", section("Decisions"))
    assert len(named) > 10
    assert {name: version for name, version in named if locked[canonicalize_name(name)] != version} == {}


# --- settings -----------------------------------------------------------------------------------


def test_the_table_of_settings_is_complete_and_its_defaults_are_true(monkeypatch: pytest.MonkeyPatch) -> None:
    table = {cells[0].strip("`"): cells[1] for cells in rows(section("Settings"))}
    assert list(table) == [f"NORTHING_{name.upper()}" for name in Settings.model_fields]
    special = {"data_dir", "public_url", "log_format"}
    for name, field in Settings.model_fields.items():
        reported = table[f"NORTHING_{name.upper()}"]
        if name in special:
            continue
        if field.default in (None, ()):
            assert reported.startswith("unset: "), name
        else:
            assert reported == f"`{field.default}`"
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert f"as root `{default_data_dir()}`, else " in table["NORTHING_DATA_DIR"]
    plain = Settings(_env_file=None, database_url=None, listen_url=None)
    assert table["NORTHING_PUBLIC_URL"] == "unset: `http://HOST:PORT`"
    assert plain.links_base == f"http://{plain.host}:{plain.port}"
    assert table["NORTHING_LOG_FORMAT"] == "`console` on a terminal, else `json`"
    assert plain.log_format == ("console" if sys.stderr.isatty() else "json")


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"NORTHING_{name.upper()}", raising=False)


def test_no_other_setting_is_named() -> None:
    named = set(re.findall(r"\bNORTHING_[A-Z_]+[A-Z]\b", README))
    known = {f"NORTHING_{name.upper()}" for name in Settings.model_fields}
    assert named - known == {
        "NORTHING_TEST_ALL",
        "NORTHING_TEST_DATABASE_URL",
        "NORTHING_TEST_EXAMPLES",
    }  # the tests' own


def test_the_secrets_made_for_docker_are_good_ones() -> None:
    [script] = re.findall(r"<<'END'\n(.*?)^END$", code(section("Operation")), re.MULTILINE | re.DOTALL)
    made = subprocess.run(
        [sys.executable, "-"], input=script, capture_output=True, text=True, check=True
    ).stdout
    values = dict(line.split("=", 1) for line in made.splitlines())
    asked = set(re.findall(r"\$\{(\w+):\?", (ROOT / "compose.yaml").read_text()))
    assert values.keys() == asked
    Fernet(values["NORTHING_SECRET_KEY"])
    assert len(values["NORTHING_ADMIN_TOKEN"]) >= 16


# --- commands -----------------------------------------------------------------------------------


def commands() -> Iterator[tuple[str, set[str]]]:
    """Every command with the names of its options."""
    waiting: list[tuple[str, Any]] = [("northing", typer.main.get_command(cli))]
    while waiting:
        path, command = waiting.pop()
        if hasattr(command, "commands"):
            waiting += [(f"{path} {name}", below) for name, below in command.commands.items()]
        else:
            yield path, {option for parameter in command.params for option in parameter.opts}


def test_every_command_and_option_is_in_the_table_and_no_other() -> None:
    arguments = re.compile(r" \[?[A-Z]+\]?")
    table = {arguments.sub("", cells[0].strip("`")): cells[1] for cells in rows(section("Commands"))}
    reported = {name: text for name, text in table.items() if name.startswith("northing ")}
    known = dict(commands())
    assert reported.keys() == known.keys()
    for name, options in known.items():
        flags = {option for option in options if option.startswith("--")} - {"--help"}
        assert {flag for flag in flags if f"`{flag}`" not in reported[name]} == set(), name


def test_every_make_target_is_in_the_table_and_no_other() -> None:
    targets = set(re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    table = {cells[0].strip("`") for cells in rows(section("Commands")) if cells[0].startswith("`make ")}
    assert table == {f"make {target}" for target in targets}
    assert set(re.findall(r"\bmake ([a-z]+)\b", code(README))) <= targets


# --- HTTP ---------------------------------------------------------------------------------------


@cache
def openapi() -> Json:
    return create_app(cast(Runtime, None), cast(Intake, None), b"").openapi()


def operations() -> list[tuple[str, str, Json]]:
    return [
        (method.upper(), path, operation)
        for path, methods in openapi()["paths"].items()
        for method, operation in methods.items()
    ]


def test_every_call_is_listed_and_no_other() -> None:
    listed = {cells[0].strip("`"): cells[1] for cells in rows(API)}
    described = {f"{method} {path}": operation["summary"] for method, path, operation in operations()}
    hidden = {
        f"GET {route.path.replace(':path', '')}"
        for route in pages.router.routes
        if isinstance(route, APIRoute)
    }
    assert {call: listed.get(call) for call in described} == described
    beside = set(listed) - set(described)
    assert beside == hidden | {"GET /static/…", "GET /docs", "GET /openapi.json"}


def test_every_operation_says_what_it_does_takes_and_answers() -> None:
    for method, path, operation in operations():
        missing = [] if operation.get("summary") else ["summary"]
        missing += [
            f"description of parameter {parameter['name']}"
            for parameter in operation.get("parameters", [])
            if not parameter.get("description")
        ]
        body = operation.get("requestBody")
        if body is not None and not any(_has_example(content) for content in body["content"].values()):
            missing.append("example of the body")
        assert missing == [], (method, path)
        if path.startswith("/api/v1"):
            _refuses_in_words(method, path, operation)


def _refuses_in_words(method: str, path: str, operation: Json) -> None:
    expected = {"401", "422"} | ({"404"} if "{" in path else set())
    if any(parameter["name"].lower() == "if-match" for parameter in operation.get("parameters", [])):
        expected.add("412")
    assert expected <= operation["responses"].keys(), (method, path)
    for status, answer in operation["responses"].items():
        if int(status) >= 400:
            assert list(answer["content"]) == ["application/problem+json"], (method, path, status)
            assert answer["description"], (method, path, status)


def _has_example(content: Json) -> bool:
    """An example of the whole, or one for each field that must be there."""
    schema = _resolved(content["schema"])
    if content.keys() & {"example", "examples"} or schema.keys() & {"example", "examples"}:
        return True
    choices = [choice for key in ("oneOf", "anyOf") for choice in schema.get(key, [])]
    if choices:
        return all(_has_example({"schema": choice}) for choice in choices if choice.get("type") != "null")
    fields = schema.get("properties", {})
    required = schema.get("required", [])
    return bool(required) and all(_exemplary(fields[name]) for name in required)


def _exemplary(field: Json) -> bool:
    field = {**_resolved(field), **field}
    return bool(field.keys() & {"example", "examples", "enum", "const"})


def _resolved(schema: Json) -> Json:
    reference = schema.get("$ref")
    if reference is None:
        return schema
    found: Json = openapi()["components"]["schemas"][reference.rsplit("/", 1)[1]]
    return found


def test_every_field_is_described() -> None:
    silent = [
        (name, field)
        for name, schema in openapi()["components"]["schemas"].items()
        for field, message in schema.get("properties", {}).items()
        if not _is_described(message)
    ]
    assert silent == []


def _is_described(field: Json) -> bool:
    """By its own words, or by those of the one model it holds."""
    if field.get("description"):
        return True
    below = [field, *field.get("anyOf", []), *field.get("allOf", []), field.get("items", {})]
    models = [part for part in below if "$ref" in part]
    return len(models) == 1 and bool(_resolved(models[0]).get("description"))


def test_every_operation_has_a_name_of_its_own() -> None:
    names = [operation["operationId"] for _, _, operation in operations()]
    assert len(set(names)) == len(names)


# --- the set-up ---------------------------------------------------------------------------------


def calls() -> list[tuple[str, str, str | None]]:
    """The README's `call METHOD PATH [BODY]` lines, as the shell would read them."""
    script = code(section("Use it"))
    found = []
    for statement in re.split(r"\n(?=\S)", script):
        if statement.startswith("call "):
            _, method, path, *body = shlex.split(statement)
            assert len(body) <= 1, statement
            found.append((method, path, body[0] if body else None))
    return found


async def test_the_set_up_of_the_readme_works_from_top_to_bottom(world: World, clock: Clock) -> None:
    """Only the trackers' addresses and secrets are replaced, by those of the simulated ones."""
    clock.now = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
    world.site.create("SHOP", "Checkout in two steps", labels=["checkout"])
    world.host.create("acme/shop", "Faster search", labels=["epic"])
    replaced = {
        "https://acme.atlassian.net": world.jira_url,
        "northing@acme.example": world.site.bot.email,
        "$JIRA_TOKEN": world.site.bot.token,
        "https://api.github.com": world.github_url,
        "$GITHUB_TOKEN": world.host.bot.token,
        "$WEBHOOK_SECRET": "a secret made for this test",
    }
    answers: list[tuple[str, Json]] = []
    assert len(calls()) > 15
    for method, path, body in calls():
        for message, meant in replaced.items():
            body = body.replace(message, meant) if body else body
        answer = await world.api.request(
            method, f"/api/v1/{path}", content=body, headers={"Content-Type": "application/json"}
        )
        assert answer.is_success, (method, path, answer.text)
        answers.append((f"{method} {path}", answer.json()))
        await world.drain()
    reported = dict(answers)
    assert [run["state"] for run in reported["GET runs?source=acme-jira"]["items"]] == ["succeeded"]
    assert [epic["key"] for epic in reported["GET epics?source=acme-jira&alignment=unaligned"]["items"]] == [
        "SHOP-1"
    ]
    notices = [answer["items"] for call, answer in answers if call == "GET notices?state=shadow"]
    assert len(notices[-1]) == 2
    assert reported["GET epics/acme-jira/SHOP-1"]["alignment"] == "aligned"
    assert world.site.issue("SHOP-1").comments == []
    live = reported["PATCH sources/acme-jira"]["notices"]
    assert (live["mode"], live["projects"]) == ("live", ["SHOP"])
