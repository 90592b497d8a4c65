"""`northing connect`: from a tracker's address to what would be said; what is wrong is asked for again."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from app.cli.connect import WrongOption, chosen, connect
from app.cli.terminal import MissingAnswer, NoTerminal, Terminal
from app.diagnostics.kind_probe import kind_at
from app.runtime import Runtime
from app.settings import Settings
from app.shadow_report import Preview, lines_of
from app.source_answers import Answers, name_for, names_in
from connectors.base import Unavailable
from connectors.diagnostics import Choice
from connectors.network import DIRECT
from connectors.pasted import Pasted, page_of_server, tracker_pasted
from connectors.registry import check_base_url
from connectors.sandbox import faults
from mappings.tables import SourceRow
from tests.support.processes import LONGEST, environment_of, northing, on_terminal
from tests.support.queries import number_of
from tests.support.world import World

# --- addresses, choices and names: pure -----------------------------------------------------------

SITE = "https://acme.atlassian.net"
PASTED = [
    (f"{SITE}/browse/SHOP-12?focusedId=7", Pasted("jira", SITE, "SHOP")),
    (f"{SITE}/jira/software/c/projects/SHOP/boards/1", Pasted("jira", SITE, "SHOP")),
    (f"{SITE}/jira/your-work", Pasted("jira", SITE)),
    ("acme.atlassian.net", Pasted("jira", SITE)),
    ("https://acme.example/tracker/browse/core-1", Pasted("jira", "https://acme.example/tracker", "CORE")),
    ("https://github.com/acme/shop/issues/7", Pasted("github", "https://api.github.com", "acme/shop")),
    ("github.com/acme", Pasted("github", "https://api.github.com", "acme/*")),
    ("https://api.github.com/", Pasted("github", "https://api.github.com")),
    ("https://api.github.com/repos/acme/shop", Pasted("github", "https://api.github.com", "acme/shop")),
    ("https://github.com/orgs/acme/projects/3", Pasted("github", "https://api.github.com", "acme/*")),
    ("https://github.com/acme/shop.git", Pasted("github", "https://api.github.com", "acme/shop")),
    ("https://github.com/settings/tokens", Pasted("github", "https://api.github.com")),
    ("https://ACME.Atlassian.net/browse/SHOP-1", Pasted("jira", SITE, "SHOP")),
    ("https://acme.ghe.com/acme/shop", Pasted("github", "https://api.acme.ghe.com", "acme/shop")),
    ("https://code.acme.example/api/v3/meta", Pasted("github", "https://code.acme.example/api/v3")),
    ("https://code.acme.example/", Pasted(None, "https://code.acme.example")),
    ("localhost:8080", Pasted(None, "http://localhost:8080")),
    ("ftp://acme.example", None),
    ("no address", None),
    ("", None),
]  # fmt: skip


@pytest.mark.parametrize(("text", "tracker"), PASTED)
def test_a_page_of_a_tracker_names_the_tracker(text: str, tracker: Pasted | None) -> None:
    assert tracker_pasted(text) == tracker


@pytest.mark.parametrize(
    "page", [f"{SITE}/browse/SHOP-1", f"{SITE}/jira", "http://127.0.0.1:1/browse/SHOP-1"]
)
def test_a_page_is_refused_as_an_address_and_the_site_is_named(page: str) -> None:
    with pytest.raises(ValueError, match=r"the site is (https://acme|http://127)[^/]*$"):
        check_base_url("jira", page)
    assert check_base_url("jira", f"{SITE}/") == SITE
    assert check_base_url("jira", "https://Acme.atlassian.net") == "https://Acme.atlassian.net"


def test_a_page_of_a_server_names_its_site_and_repository() -> None:
    site = "https://code.acme.example"
    assert page_of_server(f"{site}/acme/shop/issues/3") == Pasted(None, site, "acme/shop")
    assert page_of_server(site) is None


LIST = [Choice("CORE", "Core systems"), Choice("SHOP", "Web shop"), Choice("SHOW", "Shows")]


@pytest.mark.parametrize(
    ("text", "keys", "shown"),
    [
        ("2", ["SHOP"], LIST),
        ("shop, 1, SHOP", ["SHOP", "CORE"], LIST),
        ("core sys", ["CORE"], LIST),
        ("sho", None, LIST[1:]),
        ("9", None, []),
        ("*", ["*"], LIST),
        ("acme/shop", ["acme/shop"], LIST),
        (" , ", None, LIST),
    ],
)
def test_projects_are_chosen_by_number_key_or_part(
    text: str, keys: list[str] | None, shown: Sequence[Choice]
) -> None:
    assert chosen(text, LIST) == (keys, shown)


def test_names_of_a_list_come_once() -> None:
    assert names_in(" a, b,,a ") == ["a", "b"]


@pytest.mark.parametrize(
    ("kind", "base_url", "projects", "name"),
    [
        ("jira", SITE, ["SHOP"], "acme-jira"),
        ("jira", "http://127.0.0.1:1", ["SHOP"], "jira"),
        ("jira", "http://localhost:1", ["SHOP"], "jira"),
        ("github", "https://api.github.com", ["acme/shop"], "acme-github"),
    ],
)
def test_a_source_is_named_after_its_tracker(
    kind: str, base_url: str, projects: list[str], name: str
) -> None:
    assert name_for(Answers(kind=kind, base_url=base_url, projects=projects)) == name


def preview(*, total: int = 3, unaligned: int = 3, live: int = 0, prepared: int = 0) -> str:
    epics = {"unaligned": unaligned, "aligned": total - unaligned} if total else {}
    return " ".join(lines_of(Preview("jira", epics, live, prepared, (), ())))


def test_what_would_be_written_is_true() -> None:
    assert "There is no live key result yet, so no epic can be aligned" in preview()
    assert "no live key result" not in preview(live=1)
    assert "3 of the unaligned would get none: while `since`" in preview()
    assert "2 comments are prepared" in preview(prepared=2)
    assert "1 of the unaligned would get none" in preview(prepared=2)
    assert "would get none" not in preview(prepared=3)
    assert preview(total=0, unaligned=0).startswith("No epic was found")
    assert "nothing would be said" in preview(unaligned=0, live=1)


# --- which kind answers ------------------------------------------------------------------------------


async def test_the_kind_of_a_tracker_is_found_out_without_a_login(world: World) -> None:
    assert await kind_at(DIRECT, world.jira_url) == ("jira", world.jira_url)
    assert await kind_at(DIRECT, world.github_url) == ("github", world.github_url)
    world.github.faults.add("GET /meta", faults.answer(404, {}), times=None)
    assert await kind_at(DIRECT, world.github_url) == ("github", f"{world.github_url}/api/v3")
    by_accident = faults.answer(500, {"versionNumbers": [1]})
    elsewhere = faults.redirect(f"{world.jira_url}/rest/api/3/serverInfo")
    for answer in (by_accident, elsewhere, faults.answer(200, [["words"] * 9])):
        world.github.faults.clear()
        world.github.faults.add("*", answer, times=None)
        assert await kind_at(DIRECT, world.github_url) is None
    world.github.faults.clear()
    world.github.faults.add("*", faults.drop(), times=None)
    with pytest.raises(Unavailable, match="did not answer"):
        await kind_at(DIRECT, world.github_url)


# --- the whole way ----------------------------------------------------------------------------------


@dataclass
class Person:
    """Answers each question by what it is about, the next of the given answers each time."""

    answers: dict[str, list[str]]
    asked: list[str] = field(default_factory=list)
    read: list[str] = field(default_factory=list)
    interactive: bool = True
    hears: Callable[[str], object] = str  # is given each line that is shown

    async def ask(self, question: str, option: str, *, default: str = "", hidden: bool = False) -> str:
        about = option.partition(",")[0]
        self.asked.append(about)
        assert hidden == (about == "NORTHING_CONNECT_TOKEN")
        return self.answers[about].pop(0) if self.answers.get(about) else default

    def say(self, line: str) -> None:
        self.read.append(line)
        self.hears(line)


def jira_answers(world: World, **more: list[str]) -> dict[str, list[str]]:
    return {
        "--base-url": [f"{world.jira_url}/browse/SHOP-1"],
        "--email": [world.site.bot.email],
        "NORTHING_CONNECT_TOKEN": [world.site.bot.token],
        **more,
    }


@pytest.fixture
def prepared(world: World) -> World:
    world.site.add_project("CORE", "Core systems")
    world.site.create("SHOP", "One-page checkout")
    world.site.create("SHOP", "Coupons")
    world.host.create("acme/shop", "Gift cards", labels=["epic"])
    return world


@pytest.mark.database
async def test_from_an_address_to_what_would_be_written(
    prepared: World, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    person = Person(jira_answers(prepared, **{"--name": ["acme-jira"]}))
    assert await connect(settings, Answers(), person) == 0
    assert person.asked == ["--base-url", "--email", "NORTHING_CONNECT_TOKEN", "--projects", "--name"]
    assert f"{prepared.jira_url}/browse/SHOP-1 is taken as {prepared.jira_url}." in person.read
    assert "   1 CORE  Core systems" in person.read
    assert "Epics: There are some, about 2, of the types Epic." in person.read
    made = await prepared.send("GET", "/sources/acme-jira")
    assert made["scope"] == {"projects": ["SHOP"], "jql": None}
    assert (made["notices"]["mode"], made["last_run"]["state"]) == ("shadow", "succeeded")
    shown = capsys.readouterr().out
    assert "acme-jira: succeeded. Epics: 2 seen" in shown
    assert "2 epics: 2 unaligned." in shown
    assert "no live key result yet" in shown
    assert "SHOP-2 Coupons" in shown
    assert "Which key result does this epic serve?" in shown
    assert f"{settings.links_base}/epics/acme-jira/SHOP-" in shown
    assert prepared.site.bot.token not in shown + "".join(person.read)
    assert prepared.jira.log.count("POST */comment") == 0


@pytest.mark.database
async def test_each_wrong_thing_alone_is_asked_for_again(prepared: World, settings: Settings) -> None:
    token = prepared.host.bot.token
    person = Person(
        {
            "--base-url": ["no address", f"{prepared.github_url}/acme/shop/issues/1"],
            "NORTHING_CONNECT_TOKEN": ["wrong", token],
            "--repositories": ["shopp", "acme/shopp", "1"],
            "--labels": ["epic"],
            "--name": ["not a name", "github"],
        }
    )
    assert await connect(settings, Answers(labels=["initiative"]), person) == 0
    asked = {about: person.asked.count(about) for about in person.asked}
    assert asked == {
        "--base-url": 2,
        "NORTHING_CONNECT_TOKEN": 2,
        "--repositories": 3,
        "--labels": 1,
        "--name": 2,
    }
    reported = "\n".join(person.read)
    assert "base_url: is no address" in reported
    assert f"/acme/shop/issues/1 is taken as {prepared.github_url}." in reported
    assert "credentials.token: GitHub does not accept the token." in reported
    assert "Nothing that the login sees is named like shopp." in reported
    assert "scope.repositories: project (acme/shopp):" in reported
    assert "epics.labels: label initiative:" in reported
    made = await prepared.send("GET", "/sources/github")
    assert (made["scope"]["repositories"], made["epics"]["labels"]) == (["acme/shop"], ["epic"])


@pytest.mark.database
async def test_a_token_that_the_check_refuses_is_asked_for_and_nothing_else(
    prepared: World, settings: Settings
) -> None:
    bot = prepared.site.bot
    person = Person({"NORTHING_CONNECT_TOKEN": [bot.token]})  # the address given before is the default
    given = Answers(
        base_url=f"{prepared.jira_url}/secure/Dashboard.jspa",
        email=bot.email,
        token=SecretStr("wrong"),
        projects=["SHOP"],
        name="jira",
    )
    assert await connect(settings, given, person) == 0
    assert person.asked == ["--email", "NORTHING_CONNECT_TOKEN"]


@pytest.mark.parametrize("questions", [Terminal, NoTerminal])
def test_a_tracker_s_words_control_no_terminal(
    questions: type[Terminal | NoTerminal], capsys: pytest.CaptureFixture[str]
) -> None:
    questions().say("Signed in as \x1b[2Jnobody.\nAll is well.")
    assert capsys.readouterr().err == "Signed in as [2Jnobody. All is well.\n"


@pytest.mark.database
async def test_what_is_wrong_without_a_terminal_ends_it_and_nothing_is_made(
    prepared: World, settings: Settings, runtime: Runtime, capsys: pytest.CaptureFixture[str]
) -> None:
    bot = prepared.site.bot
    whole: dict[str, Any] = {
        "base_url": prepared.jira_url,
        "email": bot.email,
        "token": SecretStr(bot.token),
        "projects": ["SHOP"],
        "name": "jira",
    }
    for member, option in (("base_url", "--base-url"), ("email", "--email"), ("projects", "--projects"),
                           ("token", "NORTHING_CONNECT_TOKEN")):  # fmt: skip
        with pytest.raises(MissingAnswer, match=f"^{option}.* is missing") as missing:
            await connect(settings, Answers(**{**whole, member: None}), NoTerminal())
        assert missing.value.code == 2
    for member, value in (
        ("email", "nobody"),
        ("name", "a b"),
        ("projects", ["S-1"]),
        ("base_url", "http://x.example"),
    ):
        with pytest.raises(WrongOption) as wrong:
            await connect(settings, Answers(**{**whole, member: value}), NoTerminal())
        assert (wrong.value.code, str(wrong.value).startswith("--")) == (2, True)
    assert await connect(settings, Answers(**{**whole, "jql": "colour = red"}), NoTerminal()) == 1
    assert "\nscope.jql: Jira says: Field 'colour'" in capsys.readouterr().err
    assert await number_of(runtime, SourceRow) == 0


@pytest.mark.database
async def test_a_source_that_was_made_and_not_read_is_said_so(
    prepared: World, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    refused = faults.answer(403, {"errorMessages": ["Not today"], "errors": {}})
    prepared.jira.faults.add("POST */search/jql", refused, skip=1, times=None)
    person = Person(jira_answers(prepared))
    assert await connect(settings, Answers(), person) == 1
    assert any("Go on with `northing sync jira --full`" in line for line in person.read)
    assert "No epic was found" not in capsys.readouterr().out


@pytest.mark.database
async def test_stopped_while_it_reads_it_says_what_is_made_and_how_to_go_on(
    prepared: World, settings: Settings, runtime: Runtime
) -> None:
    def stop(line: str) -> None:
        if "is made, in shadow" in line:
            working.cancel()

    person = Person(jira_answers(prepared), hears=stop)
    working = asyncio.create_task(connect(settings, Answers(), person))
    with pytest.raises(asyncio.CancelledError):
        await working
    assert person.read[-1].startswith("jira is made, but not read to its end. Go on with `northing sync jira")
    assert await number_of(runtime, SourceRow) == 1


def talk(dialogue: Sequence[tuple[str, str]], env: dict[str, str], cwd: Path) -> tuple[str, int | None]:
    """All that a terminal shows while the questions that hold these words are answered; and the exit code."""
    seen = b""
    with on_terminal("connect", env=env, cwd=cwd) as (process, shown):
        for words, answer in dialogue:
            start = len(seen)
            while words.encode() not in seen[start:]:
                more = _read(shown.fileno())
                assert more, seen.decode()
                seen += more
            os.write(shown.fileno(), answer.encode())
        while more := _read(shown.fileno()):
            seen += more
        process.join(LONGEST)
        return seen.decode(), process.exitcode


def _read(screen: int) -> bytes:
    try:
        return os.read(screen, 1000)
    except OSError:  # the last process on the terminal has ended
        return b""


@pytest.mark.database
async def test_on_a_terminal_the_token_is_not_shown(
    prepared: World, settings: Settings, runtime: Runtime, tmp_path: Path
) -> None:
    env, bot = environment_of(settings), prepared.site.bot
    dialogue = [
        ("as in the browser: ", f"{prepared.jira_url}\n"),
        ("E-mail address of the account: ", f"{bot.email}\n"),
        ("it is not shown): ", f"{bot.token}\n"),
        ("* for all: ", "SHOP\n"),
        ("Name of the source [jira]: ", "\n"),
    ]
    shown, code = await asyncio.to_thread(talk, dialogue, env, tmp_path)
    assert code == 0, shown
    assert bot.token not in shown
    assert f"Signed in as {bot.name}." in shown
    assert "2 epics: 2 unaligned." in shown
    for end in ("\x03", "\x04"):  # Ctrl-C, Ctrl-D
        shown, code = await asyncio.to_thread(
            talk, [*dialogue[:2], ("it is not shown): ", end)], env, tmp_path
        )
        assert (code, "nothing was made" in shown) == (1, True)
    assert await number_of(runtime, SourceRow) == 1


@pytest.mark.database
async def test_a_script_gives_all_by_options_and_the_token_by_the_environment(
    prepared: World, settings: Settings, tmp_path: Path
) -> None:
    env = environment_of(settings, connect_token=prepared.host.bot.token, connect_labels="epic")
    options = ("--base-url", prepared.github_url, "--repositories", "acme/shop")
    ended = await asyncio.to_thread(northing, "connect", *options, env=env, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert "1 epic: 1 unaligned." in ended.stdout
    assert "acme/shop#1 Gift cards" in ended.stdout
    ended = await asyncio.to_thread(northing, "connect", *options[:2], env=env, cwd=tmp_path)
    assert ended.returncode == 2
    assert ended.stderr == "northing: --repositories is missing, and there is no terminal to ask for it on\n"
