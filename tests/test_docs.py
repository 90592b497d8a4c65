"""What is written for people is true: the documents and OpenAPI against the code.

`tests/test_docs_commands.py` runs the commands of the documents.
"""

from __future__ import annotations

import re
import shlex
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import quote

import jsonschema_rs
import pytest
import typer
from fastapi.routing import APIRoute, iter_route_contexts
from packaging.utils import canonicalize_name

from app.cli.main import cli
from app.cli.terminal import TOKEN_VARIABLE
from app.runtime import Runtime
from app.server.application import create_app
from app.settings import Settings, default_data_dir
from app.web import login, oidc, site, why
from app.webhooks.door import Intake
from mappings.clock import DatabaseClock
from tests.support.documents import DOCUMENTS, ROOT, anchor, code, headings, links, read, rows, section, spans

README = read("README.md")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LONG = 150  # lines: a longer document has a table of contents

Json = dict[str, Any]

each = pytest.mark.parametrize("name", DOCUMENTS)


# --- files --------------------------------------------------------------------------------------


def test_the_readme_leads_to_every_document() -> None:
    expected = {"admin", "api", "architecture", "bounds", "connectors", "coverage", "files"}
    expected |= {"operations", "pages", "performance", "steering", "threats", "ticket"}
    assert {path.stem for path in (ROOT / "docs").glob("*.md")} == expected
    led_to = {target.partition("#")[0] for _, target in links(section("Where to read on", README))}
    top = {name for name in DOCUMENTS if "/" not in name} - {"README.md"}
    assert led_to == {f"docs/{name}.md" for name in expected} | {"docs/decisions/README.md"} | top


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 300


@each
def test_every_link_to_a_file_leads_somewhere(name: str) -> None:
    file = ROOT / name
    for _, target in links(read(name)):
        if re.match(r"https?://", target):
            continue
        path, _, fragment = target.partition("#")
        there = (file.parent / path) if path else file
        assert there.is_file(), target
        if fragment:
            assert fragment in {anchor(title) for _, title in headings(there.read_text("utf-8"))}, target


@each
def test_a_long_document_has_a_table_of_contents_which_is_its_headings(name: str) -> None:
    text = read(name)
    titles = [(level, title) for level, title in headings(text) if level > 1]
    if (2, "Contents") not in titles:
        assert len(text.splitlines()) <= LONG
        return
    titles = titles[titles.index((2, "Contents")) + 1 :]
    listed = links(section("Contents", text))
    assert [target for _, target in listed] == [f"#{anchor(label)}" for label, _ in listed]
    shown = [label for label, _ in listed]
    assert shown in ([title for level, title in titles if level <= deepest] for deepest in (2, 3))
    if name == "README.md":
        assert shown == [title for _, title in titles]


@each
def test_no_two_headings_of_a_document_have_one_anchor(name: str) -> None:
    anchors = [anchor(title) for _, title in headings(read(name))]
    assert len(anchors) == len(set(anchors))


NAMED_FILE = re.compile(
    r"(?:(?:app|connectors|mappings|migrations|tests|docs|\.ci)/[\w./-]*|\w[\w.-]*\.(?:toml|yaml))"
)


def test_every_file_that_is_named_is_there() -> None:
    named = {(name, span) for name in DOCUMENTS for span in spans(read(name)) if NAMED_FILE.fullmatch(span)}
    assert len(named) > 100
    assert {one for one in named if "NAME" not in one[1] and not (ROOT / one[1]).exists()} == set()


def test_every_test_file_that_is_named_is_there() -> None:
    named = {test for name in DOCUMENTS for test in re.findall(r"\btest_\w+\.py", read(name))}
    assert {test for test in named if not (ROOT / "tests" / test).is_file()} == set()


def test_the_changelog_begins_with_this_version() -> None:
    found = re.search(r"^## (\d\S*)", read("CHANGELOG.md"), re.MULTILINE)
    assert found
    assert found[1] == PROJECT["version"]


def test_the_licence_is_the_one_pyproject_names() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert PROJECT["license"] == "Apache-2.0"
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


# --- decisions ----------------------------------------------------------------------------------


def test_every_decision_has_a_number_three_parts_and_a_line_in_the_index() -> None:
    files = sorted(path for path in (ROOT / "docs/decisions").glob("*.md") if path.name != "README.md")
    assert len(files) > 12
    assert [int(path.name[:4]) for path in files] == list(range(1, len(files) + 1))
    index = re.findall(
        r"^\| \[(\d+)\]\(([^)]+)\) \| (.+) \|$", read("docs/decisions/README.md"), re.MULTILINE
    )
    found = []
    for number, path in enumerate(files, 1):
        (_, title), *parts = headings(path.read_text("utf-8"))
        assert parts == [(2, "Context"), (2, "Decision"), (2, "Cost")], path.name
        found.append((str(number), path.name, title.removeprefix(f"{number}. ")))
    assert index == found


def test_every_version_named_is_the_locked_one() -> None:
    locked = dict(
        re.findall(
            r"^([\w.-]+)(?:\[[^\]]*\])?==([^\s;]+)",
            (ROOT / "requirements-dev.lock").read_text(),
            re.MULTILINE,
        )
    )
    locked = {canonicalize_name(name): version for name, version in locked.items()}
    table = section("Libraries", read("docs/decisions/README.md"))
    named = re.findall(r"`([\w-]+)` \| (\d[^ |]*) ", table)
    assert len(named) > 20
    assert {name: version for name, version in named if locked[canonicalize_name(name)] != version} == {}


# --- settings -----------------------------------------------------------------------------------


def test_the_table_of_settings_is_complete_and_its_defaults_are_true(monkeypatch: pytest.MonkeyPatch) -> None:
    table = {cells[0].strip("`"): cells[1] for cells in rows(section("Settings", README))}
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
    named = {found for name in DOCUMENTS for found in re.findall(r"\bNORTHING_[A-Z_]+[A-Z]\b", read(name))}
    known = {f"NORTHING_{name.upper()}" for name in Settings.model_fields}
    own = {cells[0].strip("`") for cells in rows(section("How tests are organised", read("CONTRIBUTING.md")))}
    names = ("ALL", "DATABASE_URL", "EXAMPLES", "RENEW")
    assert own == {f"NORTHING_TEST_{name}" for name in names}
    given = {option.envvar for _, command in commands_below() for option in command.params if option.envvar}
    assert len(given) == 9
    assert named - known - given - {TOKEN_VARIABLE} == own  # the tests' own
    assert named >= known


# --- commands -----------------------------------------------------------------------------------


def commands_below() -> Iterator[tuple[str, Any]]:
    """Every command by its words."""
    waiting: list[tuple[str, Any]] = [("northing", typer.main.get_command(cli))]
    while waiting:
        path, command = waiting.pop()
        if hasattr(command, "commands"):
            waiting += [(f"{path} {name}", below) for name, below in command.commands.items()]
        else:
            yield path, command


def commands() -> Iterator[tuple[str, set[str]]]:
    """Every command with the names of its options."""
    for path, command in commands_below():
        yield path, {option for parameter in command.params for option in parameter.opts}


def test_every_command_and_option_is_in_the_table_and_no_other() -> None:
    arguments = re.compile(r" \[?[A-Z]+\]?")
    table = rows(section("Commands", read("docs/admin.md")))
    reported = {arguments.sub("", cells[0].strip("`")): cells[1] for cells in table}
    known = dict(commands())
    assert reported.keys() == known.keys()
    for name, options in known.items():
        flags = {option for option in options if option.startswith("--")} - {"--help"}
        assert {flag for flag in flags if f"`{flag}`" not in reported[name]} == set(), name


COMMAND_LINE = re.compile(
    r"(?:[A-Z_]+=\S+ |\.venv/bin/|docker compose exec northing )*northing( [^-\n][^\n]*)"
)


def named_commands(text: str) -> Iterator[list[str]]:
    """The words after `northing` in each command line, in code marks or in a block of the shell's."""
    for line in (*spans(text), *code(text).splitlines()):
        if found := COMMAND_LINE.fullmatch(line):
            yield shlex.split(found[1])


def test_every_command_that_is_named_is_there_with_its_options() -> None:
    known = {tuple(name.split()[1:]): options for name, options in commands()}
    future = section("Not in this build", README)
    named = [words for name in DOCUMENTS for words in named_commands(read(name).replace(future, ""))]
    assert len(named) > 30
    for words in named:
        options = known.get(tuple(words[:1])) or known.get(tuple(words[:2]))
        assert options is not None, words
        flags = {word for word in words if word.startswith("--")}
        assert flags <= options | {"--help"}, words
    assert all(tuple(words[:1]) not in known for words in named_commands(future))


def targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_every_make_target_is_in_the_table_and_no_other() -> None:
    table = {cells[0].strip("`") for cells in rows(section("Commands", read("CONTRIBUTING.md")))}
    assert table == {f"make {target}" for target in targets()}


@each
def test_every_make_target_that_is_named_is_there(name: str) -> None:
    text = read(name)
    lines = [*spans(text), *code(text).splitlines()]
    named = {target for line in lines for target in re.findall(r"(?:^|[\w\"'] )make ([a-z]+)\b", line)}
    assert named <= targets()


# --- what the log says ----------------------------------------------------------------------------


def test_every_line_of_the_log_that_is_named_is_written_somewhere() -> None:
    named = {
        event
        for cells in rows(section("Logs", read("docs/operations.md")))
        for event in re.findall(r"`(\w+(?: \w+)+)`", " ".join(cells))
    }
    assert len(named) >= 6
    written = "".join(path.read_text("utf-8") for path in (ROOT / "app").rglob("*.py"))
    assert {event for event in named if f'"{event}"' not in written} == set()


# --- HTTP ---------------------------------------------------------------------------------------


@cache
def openapi() -> Json:
    return create_app(
        cast(Runtime, SimpleNamespace(clock=DatabaseClock(), settings=Settings(_env_file=None))),
        cast(Intake, None),
        b"",
    ).openapi()


def operations() -> list[tuple[str, str, Json]]:
    return [
        (method.upper(), path, operation)
        for path, methods in openapi()["paths"].items()
        for method, operation in methods.items()
    ]


def test_every_call_is_listed_and_no_other() -> None:
    table = rows(section("The calls", read("docs/api.md")))
    listed = {cells[0].strip("`"): cells[1] for cells in table}
    described = {f"{method} {path}": operation["summary"] for method, path, operation in operations()}
    assert {call: listed.get(call) for call in described} == described
    assert set(listed) - set(described) == {"GET /docs", "GET /openapi.json"}


def test_every_page_is_listed_and_no_other() -> None:
    listed = [cells[0].strip("`") for cells in rows(section("Addresses", read("docs/pages.md")))]
    assert sorted(listed) == sorted(_pages())


def _pages() -> set[str]:
    """Each page and each form, as `GET /epics`."""
    routers = (site.router, login.router, oidc.router, why.router)
    routes = [found.route for router in routers for found in iter_route_contexts(router.routes)]
    return {
        f"{method} {route.path.replace(':path', '')}"
        for route in routes
        if isinstance(route, APIRoute)
        for method in route.methods or ()
        if method != "HEAD"
    }


NAMED_CALL = re.compile(r"(GET|POST|PUT|PATCH|DELETE) (/?[\w{][^ ?#]*)(?:\?[^ ]*)?")


def test_every_call_that_is_named_is_there() -> None:
    """In code marks, with or without `/api/v1/`; a word in capitals stands for a name or number."""
    known = {(method, _shape(path)) for method, path, _ in operations()}
    beside = {("GET", f"/{name}") for name in ("docs", "openapi.json")}
    beside |= {(call.partition(" ")[0], _shape(call.partition(" ")[2])) for call in _pages()}
    named = [
        (name, found[1], _shape(found[2]))
        for name in DOCUMENTS
        for span in spans(read(name))
        if (found := NAMED_CALL.fullmatch(span))
    ]
    assert len(named) > 60
    assert {one for one in named if one[1:] not in known | beside} == set()


def _shape(path: str) -> str:
    """A path with `*` for each parameter, below `/api/v1` where it names no other place."""
    path = path if path.startswith("/") else f"/api/v1/{path}"
    return "/".join("*" if re.match(r"\{|[A-Z]+$", part) else part for part in path.split("/"))


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


def test_every_example_is_what_its_schema_says() -> None:
    registry = jsonschema_rs.Registry([("urn:openapi", openapi())])
    examples = list(_examples(openapi(), "#"))
    assert len(examples) > 100
    for place, schema, example in examples:
        reference = {"$ref": f"urn:openapi{schema}"}
        found = jsonschema_rs.Draft202012Validator(reference, registry=registry).iter_errors(example)
        assert [error.message for error in found] == [], place


def _examples(node: Any, at: str) -> Iterator[tuple[str, str, Any]]:
    """Each example below a place of the description, with the place of its schema."""
    if isinstance(node, list):
        for number, item in enumerate(node):
            yield from _examples(item, f"{at}/{number}")
    if not isinstance(node, dict):
        return
    given = node.get("examples")
    if isinstance(given, list):
        yield from ((at, at, example) for example in given)
    elif isinstance(given, dict) and "schema" in node:
        yield from ((at, f"{at}/schema", example["value"]) for example in given.values())
    if "example" in node and "schema" in node:
        yield at, f"{at}/schema", node["example"]
    for name, value in node.items():
        if name not in ("example", "examples"):
            yield from _examples(value, f"{at}/{quote(name.replace('~', '~0').replace('/', '~1'))}")


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
