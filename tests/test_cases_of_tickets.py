"""What people do on a ticket, each the whole way to a link or an answer: a description, a label or a comment,
then a sync or a webhook, then what stands on the ticket and what the API says.

Written from what people are promised, not from the code. The tickets of one test share a world.
"""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import FastAPI

from connectors.sandbox.github.records import Role
from tests.support.clock import Clock
from tests.support.tracker_drivers import GitHubDriver, JiraDriver, TrackerDriver, both, on_github, on_jira
from tests.support.webhook_deliveries import doors, process_everything
from tests.support.webhook_posts import SECRET
from tests.support.world import World

pytestmark = pytest.mark.database

THANKS = "Aligned with KR-1 (Checkout conversion). Thank you."
WAITING = "Disputed; waiting for a decision."


@pytest.fixture
async def heard(driver: TrackerDriver, world: World) -> TrackerDriver:
    """A source that hears of comments; Jira says who may edit a ticket."""
    await world.send("PATCH", f"/sources/{driver.kind}", {"webhook_secret": SECRET})
    if isinstance(driver, JiraDriver):
        driver.site.administrators.add(driver.site.bot.account_id)
    return driver


async def _links(driver: TrackerDriver, key: str) -> set[tuple[str, str]]:
    return {(link["key_result"], link["origin"]) for link in (await driver.epic(key))["links"]}


def _ours(driver: TrackerDriver, key: str) -> str:
    """The first comment, which is ours, as one line of plain words."""
    text = driver.comments(key)[0].replace("\u2060", "").replace("`", "").replace("\\", "")
    return " ".join(text.split())


async def _finding(driver: TrackerDriver, key: str) -> Any:
    (found,) = (await driver.epic(key))["findings"]
    return found


# --- from the text of the ticket ----------------------------------------------------------------

# Each names KR-1, in another form.
NAMING = [
    "Key-Result: KR-1",
    "key result: kr-1",
    "Words before.\n\nKey-Result: KR-1\n\nWords after.",
    "Key-Result: `KR-1`",
    "Key\u2011Result: KR\u20111",
    "Key-Result: KR-1\u200b",
    # What could not be read once.
    'Key-Result: "KR-1"',
    "Key Result: KR-1",
    "Key-Result：KR-1",
    "A short line.\n" * 2_000 + "Key-Result: KR-1",
]
# In Markdown alone.
NAMING_IN_MARKDOWN = [
    '<img src="plan.png" width="400">\nKey-Result: KR-1',
    "<p>Words<br>Key-Result: KR-1</p>",
    "- [ ] Key-Result: KR-1",
    "Words.\n" * 2_500 + "Key-Result: KR-1",
]
LABELS = ["kr:KR-1", "\ufeffkr:KR-1", "kr:KR-1,KR-2"]
# Prose, code and quotations: nothing is declared there, and nothing is said of it.
PROSE = [
    "We talked about KR-1 and the key result behind it.",
    "    Key-Result: KR-1",
    "> Key-Result: KR-1",
]


@both
async def test_a_description_names_a_key_result(driver: TrackerDriver) -> None:
    texts = NAMING + (NAMING_IN_MARKDOWN if driver.kind == "github" else [])
    named = [driver.add(description=text) for text in texts]
    labelled = [driver.add(labels=[label]) for label in LABELS]
    await driver.sync()
    for key, text in zip(named, texts, strict=True):
        assert await _links(driver, key) == {("KR-1", "ticket")}, text[-60:]
        assert driver.comments(key) == [], text[-60:]
    for key, label in zip(labelled, LABELS, strict=True):
        assert await _links(driver, key) == {("KR-1", "ticket")}, label


@on_github
async def test_prose_names_none_and_is_told_nothing_of_it(driver: TrackerDriver) -> None:
    keys = [driver.add(description=text) for text in PROSE]
    await driver.sync()
    for key, text in zip(keys, PROSE, strict=True):
        assert await _links(driver, key) == set(), text
        assert "does not exist" not in _ours(driver, key), text


@both
async def test_a_key_that_does_not_exist_is_told(driver: TrackerDriver) -> None:
    key = driver.add(description="Key-Result: KR-99")
    await driver.sync()
    assert "KR-99" in _ours(driver, key)
    assert len(driver.comments(key)) == 1


@both
async def test_no_key_that_is_not_suggested_stands_in_a_line_to_type(driver: TrackerDriver) -> None:
    key = driver.add("Paint the office green")
    await driver.sync()
    assert "KR-1" not in _ours(driver, key)
    assert "/northing link <key>" in _ours(driver, key)


@on_github
async def test_a_key_of_many_digits_can_be_copied_from_the_ticket(driver: GitHubDriver, world: World) -> None:
    await world.goal("KR-20261201", "Fewer returns")
    key = driver.add(labels=["kr:KR-20261201"])
    open_key = driver.add()
    await driver.sync()
    driver.describe(open_key, "Key-Result: KR-20261201")
    await driver.sync()
    assert driver.comments(key) == []
    assert "KR-20261201" in driver.comments(open_key)[0], "nothing invisible is in it"
    assert _ours(driver, open_key) == "Aligned with KR-20261201 (Fewer returns). Thank you."


# --- from a comment -----------------------------------------------------------------------------


@both
async def test_a_command_links_by_the_webhook_and_by_the_next_sync(
    heard: TrackerDriver, world: World, application: FastAPI, clock: Clock
) -> None:
    await world.goal("KR-2", "Faster search")
    forms = [
        "/northing link KR-1",
        "/Northing LINK kr-1.",
        "/northing link to KR-1 please",
        "/northing link KR-1 instead of KR-2",
        "/northing link KR-1\u200b",
    ]
    keys = [heard.add() for _ in forms]
    await heard.sync()
    async with doors(application, world):
        for key, text in zip(keys, forms, strict=True):
            heard.say(key, text)
        await process_everything(world)
    for key, text in zip(keys, forms, strict=True):
        assert await _links(heard, key) == {("KR-1", "command")}, text
        assert heard.comments(key) == [THANKS, text]


@both
async def test_a_dispute_and_a_waiver_typed_on_the_ticket(
    heard: TrackerDriver, world: World, application: FastAPI, clock: Clock
) -> None:
    disputed, waived = heard.add(), heard.add()
    await heard.sync()
    until = clock().date().replace(month=12, day=31)
    async with doors(application, world):
        heard.say(disputed, "/northing dispute It is an office move")
        heard.say(waived, f"/northing waive until {until} because the law asks for it")
        await process_everything(world)
        assert heard.comments(disputed)[0] == WAITING
        assert _ours(heard, waived).startswith(f"Waived until {until}: ")
        assert "the law asks for it" in _ours(heard, waived)
        heard.say(disputed, "/northing snooze 14d")
        await process_everything(world)
        found = await _finding(heard, disputed)
        assert (found["state"], found["reason"]) == ("disputed", "It is an office move")
        assert found["by"].startswith(f"{heard.kind}: ")
        await world.send("POST", f"/findings/{found['id']}/uphold")
        await process_everything(world)
    assert (await _finding(heard, disputed))["state"] == "open"
    assert "/northing" in _ours(heard, disputed)
    assert (await _finding(heard, waived))["state"] == "waived"


@both
async def test_who_may_not_steer_changes_nothing_and_is_answered_once(
    heard: TrackerDriver, world: World, application: FastAPI
) -> None:
    key = heard.add()
    await heard.sync()
    async with doors(application, world):
        heard.say(key, "Nice work, everybody.")
        await process_everything(world)
        warned = heard.comments(key)[0]
        heard.say(key, "/northing link KR-1", outsider=True)
        await process_everything(world)
        answered = heard.comments(key)[0]
        heard.say(key, "/northing snooze 14d", outsider=True)
        await process_everything(world)
    assert await _links(heard, key) == set()
    assert (await _finding(heard, key))["state"] == "open"
    assert answered.startswith("A command here changed nothing")
    assert answered.endswith(warned)
    assert heard.comments(key) == [
        answered, "Nice work, everybody.", "/northing link KR-1", "/northing snooze 14d",
    ]  # fmt: skip


@on_github
async def test_the_right_to_steer_is_asked_of_the_repository(
    heard: GitHubDriver, world: World, application: FastAPI
) -> None:
    roles = heard.host.repository("acme/shop").roles
    asked = {"CONTRIBUTOR": Role("push"), "MEMBER": Role("pull"), "NONE": Role("triage")}
    keys = {association: heard.add() for association in asked}
    await heard.sync()
    async with doors(application, world):
        for association, role in asked.items():
            person = heard.host.account(f"a-{association}".lower())
            heard.host.associations[person.login], roles[person.login] = association, role
            heard.host.comment(keys[association], "/northing link KR-1", person)
        await process_everything(world)
    assert {one for one, key in keys.items() if await _links(heard, key)} == {"CONTRIBUTOR", "NONE"}


@on_github
async def test_a_person_whose_comment_an_app_relays_gives_commands(
    heard: GitHubDriver, world: World, application: FastAPI
) -> None:
    key = heard.add()
    await heard.sync()
    async with doors(application, world):
        heard.host.comment(key, "/northing link KR-1", relayed_by="helper")
        await process_everything(world)
    assert await _links(heard, key) == {("KR-1", "command")}


@both
async def test_a_comment_that_comes_before_its_ticket(
    heard: TrackerDriver, world: World, application: FastAPI
) -> None:
    async with doors(application, world):
        key = heard.add()
        heard.say(key, "/northing link KR-1")
        await process_everything(world)
    assert await _links(heard, key) == {("KR-1", "command")}
    assert heard.comments(key) == ["/northing link KR-1"]


@on_jira
async def test_what_not_everybody_sees_is_repeated_nowhere(
    heard: JiraDriver, world: World, application: FastAPI
) -> None:
    key = heard.add()
    await heard.sync()
    async with doors(application, world):
        heard.site.comment(key, "/northing link PROJECT-X", role="Administrators")
        await process_everything(world)
    assert "PROJECT" not in _ours(heard, key)
    assert "There is no such key result." in _ours(heard, key)


@both
async def test_a_near_miss_is_answered_in_our_comment(
    heard: TrackerDriver, world: World, application: FastAPI
) -> None:
    key = heard.add()
    await heard.sync()
    async with doors(application, world):
        heard.say(key, "/northing lnk KR-1")
        await process_everything(world)
    assert await _links(heard, key) == set()
    assert len(heard.comments(key)) == 2, "the answer is in our one comment"
    assert "link" in _ours(heard, key)
    assert "lnk" in _ours(heard, key)
